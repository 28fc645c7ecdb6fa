package moving

import (
	"testing"

	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/internal/testenv/leak"
	"github.com/anycert/anycert/internal/testenv/world"
)

// What a cluster holds is brought into Vault and from there to every place; no order
// is made, then or later, and the cluster that it came from is only read.
func TestImport(t *testing.T) {
	w := world.New(t, world.Options{Clusters: []string{"old"}})
	w.Must(w.Clusters["old"].CreateNamespaces(t.Context(), "web"))
	config := w.Config("hub.yaml", `version: 1
owner: hub
store: {{.Store (.Token "hub" .HubPolicy)}}
issuers: [{{.Issuer "pebble"}}]
certificates:
  - {name: example, domains: [example.com, "*.example.com"], issuer: pebble}
sinks:
  - {name: files, type: file, certificates: ["*"], config: {dir: {{.Files}}}}
`, w)
	kubeconfig := "KUBECONFIG=" + contexts(w, "old")
	bring := func(args ...string) world.Result {
		cmd := w.Command(config, append([]string{"import", "example"}, args...)...)
		cmd.Env = append(cmd.Env, kubeconfig)
		return w.Do(cmd)
	}
	if got := bring("--from", "kubernetes://old/web/example-tls"); got.Code != 1 || !got.Says("cluster old has no Secret web/example-tls: check the name, the namespace and the cluster") {
		t.Error(got)
	}
	pair := aged(t, w, 40*day)
	keep(w, "old", pair)
	start := w.Now()
	got := bring("--from", "kubernetes://old/web/example-tls")
	if got.Code != 0 || !got.Says("example: version 1 in the store, from Secret web/example-tls of cluster old") ||
		!got.Says("issuer pebble obtains the next one at "+pair.Leaf().NotBefore.Add(60*day).UTC().Format("2006-01-02")) {
		t.Error(got)
	}
	if err := w.Stored("example").Same(pair.ChainPEM, pair.KeyPEM); err != nil {
		t.Errorf("Vault has %v", err)
	}
	for _, from := range []string{"kubernetes://old/web/example-tls", "kubernetes:///web/example-tls"} {
		m := w.Now()
		if got := bring("--from", from); got.Code != 0 || !got.Says("the store has it already, as version 1: nothing was written") {
			t.Error(got)
		}
		w.WroteNothing("the same once more", m)
	}
	w.Kept(w.Report(0, config, "sync"))
	if chain, key := w.InFiles(w.Files, "example"); w.Stored("example").Same(chain, key) != nil {
		t.Error("it did not come into the files")
	}
	m := w.Now()
	w.Kept(w.Report(0, config, "sync"))
	w.WroteNothing("a second sync", m)

	newer := aged(t, w, 10*day)
	keep(w, "old", newer)
	if got := bring("--from", "kubernetes://old/web/example-tls"); got.Code != 1 || !got.Says("the store has another one, version 1, valid from") || !got.Says("to replace it, say --replace") {
		t.Error(got)
	}
	if got := bring("--replace", "--from", "kubernetes://old/web/example-tls"); got.Code != 0 || !got.Says("example: version 2 in the store") {
		t.Error(got)
	}
	w.Kept(w.Report(0, config, "sync"))
	if n := len(w.ACME.Orders()); n != 0 {
		t.Errorf("%d orders were made at the CA", n)
	}
	if writes := kubeserver.Writes(w.ClusterSince(start, "old")); len(writes) != 0 {
		t.Errorf("the cluster that it came from was written to: %+v", writes)
	}
}

// A key is in nothing that import says or leaves behind, whatever it refuses.
func TestImportShowsNoKey(t *testing.T) {
	w := world.New(t, world.Options{Clusters: []string{"old"}})
	w.Must(w.Clusters["old"].CreateNamespaces(t.Context(), "web"))
	config := w.Config("hub.yaml", `version: 1
owner: hub
store: {{.Store (.Token "hub" .HubPolicy)}}
certificates: [{name: example, domains: [example.com, "*.example.com"]}, {name: shop, domains: [example.org]}]
`, w)
	pair, other := aged(t, w, 40*day), aged(t, w, 40*day)
	search, err := leak.New(leak.Secret{Name: "the key", PEM: pair.KeyPEM}, leak.Secret{Name: "another key", PEM: other.KeyPEM})
	w.Must(err)
	for what, test := range map[string]struct {
		name       string
		chain, key []byte
		code       int
	}{
		"a good one":          {"example", pair.ChainPEM, pair.KeyPEM, 0},
		"for other names":     {"shop", pair.ChainPEM, pair.KeyPEM, 1},
		"another's key":       {"example", pair.ChainPEM, other.KeyPEM, 1},
		"the fields mixed up": {"example", pair.KeyPEM, pair.ChainPEM, 1},
		"a key that is cut":   {"example", pair.ChainPEM, pair.KeyPEM[:len(pair.KeyPEM)/2], 1},
	} {
		keep(w, "old", certs.Pair{ChainPEM: test.chain, KeyPEM: test.key})
		cmd := w.Command(config, "--log-level", "debug", "import", test.name, "--from", "kubernetes://old/web/example-tls")
		cmd.Env = append(cmd.Env, "KUBECONFIG="+contexts(w, "old"), "GODEBUG=http2debug=2")
		got := w.Do(cmd)
		if got.Code != test.code {
			t.Errorf("%s: %v", what, got)
		}
		for _, found := range search.Bytes(what, []byte(got.Stdout+got.Stderr)) {
			t.Error(found)
		}
	}
}

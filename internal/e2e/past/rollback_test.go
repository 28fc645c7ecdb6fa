package past

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/vaultserver"
	"github.com/anycert/anycert/internal/testenv/world"
)

const hub = `version: 1
owner: hub
store: {{.Store .Root}}
issuers: [{{.Issuer "pebble"}}]
certificates:
  - {name: example, domains: [example.com, "*.example.com"], issuer: pebble}
sinks:
  - {name: files, type: file, certificates: ["*"], config: {dir: {{.Files}}}}
  - {name: edge, type: fastly, certificates: ["*"], config: { {{.AtFastly}} }}{{range $name, $_ := .Clusters}}
  - {name: {{$name}}, type: kubernetes, certificates: ["*"], config: { {{$.Admin $name}}, namespaces: [web]}}{{end}}
reconcile: {schedule: "@every 5s"}
http: {listen: "127.0.0.1:0"}
`

// replace imports another certificate than the store has, and returns it.
func replace(w *world.World, config string) certs.Pair {
	w.T.Helper()
	pair := testenv.IssueFrom(w.T, w.Strangers, certs.Options{Names: []string{"example.com", "*.example.com"}, Intermediate: true})
	got := w.Run(config, "import", "example", "--replace", "--cert", w.File("new.crt", string(pair.ChainPEM)), "--key", w.File("new.key", string(pair.KeyPEM)))
	if got.Code != 0 {
		w.T.Fatal(got)
	}
	w.Kept(w.Report(0, config, "sync"))
	return pair
}

// An older version is written as the newest, every place follows by a daemon that runs,
// and no order is made because of it.
func TestRollback(t *testing.T) {
	t.Parallel()
	w := world.New(t, world.Options{Clusters: []string{"prod"}})
	w.Must(w.Clusters["prod"].CreateNamespaces(t.Context(), "web"))
	config := w.Config("hub.yaml", hub, w)
	w.Kept(w.Report(0, config, "sync"))
	first := w.Stored("example")
	replace(w, config)
	daemon := w.Daemon(config)
	daemon.AwaitReady()

	got := w.Run(config, "rollback", "example", "--to", "1")
	if got.Code != 0 || !got.Says("example: version 3 in the store, which is version 1 again") || !got.Says("issuer pebble obtains the next one at 20") {
		t.Error(got)
	}
	if err := w.Stored("example").Same(first.Chain, first.Key); err != nil {
		t.Errorf("Vault has %v", err)
	}
	daemon.Await("pushes the older one", func() error {
		files, filesKey := w.InFiles(w.Files, "example")
		secret, secretKey := w.InCluster("prod", "web", "example-tls")
		return errors.Join(first.Same(files, filesKey), first.Same(secret, secretKey))
	})
	daemon.End()
	w.Kept(w.Report(0, config, "audit")) // Fastly shows serial numbers alone
	w.Kept(w.Report(0, config, "sync"))  // which may ask the CA for its advice, and keep that
	m := w.Now()
	if got := w.Run(config, "rollback", "example", "--to", "1"); got.Code != 0 || !got.Says("version 3 is the current one already: nothing was written") {
		t.Error(got)
	}
	w.Kept(w.Report(0, config, "sync"))
	w.WroteNothing("the same once more", m)
	if n := len(w.ACME.Orders()); n != 1 {
		t.Errorf("%d orders were made at the CA, want the first alone", n)
	}
}

// Whoever may read metadata alone sees the past, whose hand wrote it, and what was
// deleted. What was deleted or has expired is not gone back to.
func TestHistory(t *testing.T) {
	t.Parallel()
	w := world.New(t, world.Options{})
	config := w.Config("hub.yaml", hub, w)
	w.Kept(w.Report(0, config, "sync"))
	replace(w, config)
	w.Put("example", testenv.IssueFrom(t, w.Strangers, certs.Options{Names: []string{"example.com", "*.example.com"}}))
	w.Kept(w.Report(0, config, "sync"))
	if got := w.Run(config, "rollback", "example", "--to", "1"); got.Code != 0 {
		t.Error(got)
	}
	w.Must(w.Vault.Client().KVv2("secret").DeleteVersions(t.Context(), "anycert/certs/example", []int{2}))

	auditor := w.Config("auditor.yaml", `version: 1
owner: hub
store: {{.Store (.Token "auditor" "path \"secret/metadata/anycert/certs/*\" { capabilities = [\"read\"] }")}}
`, w)
	m := w.Now()
	got := w.Run(auditor, "history", "example")
	for _, says := range []string{"rollback to 1 (of issuer pebble)", "4 (current) ", "by hand", ": import", "2 (deleted) ", "issuer pebble"} {
		if got.Code != 0 || !got.Says(says) {
			t.Errorf("it does not say %q: %v", says, got)
		}
	}
	if strings.Contains(got.Stdout, " -") { // every version is known
		t.Error(got)
	}
	var asked []string
	for _, r := range w.VaultSince(m) {
		if !strings.HasPrefix(r.Path, "auth/") { // how long the token lives is asked once
			asked = append(asked, r.Operation+" "+r.Path)
		}
	}
	if want := "[read secret/metadata/anycert/certs/example]"; fmt.Sprint(asked) != want {
		t.Errorf("Vault was asked %v, want %s", asked, want)
	}

	m = w.Now()
	if got := w.Run(config, "rollback", "example", "--to", "2"); got.Code != 1 || !got.Says("version 2 was deleted: ask why; `vault kv undelete` brings it back") {
		t.Error(got)
	}
	if got := w.Run(auditor, "history", "other"); got.Code != 1 || !got.Says("permission denied") && !got.Says("declares no certificate other") {
		t.Error(got)
	}
	if writes := vaultserver.Writes(w.VaultSince(m)); len(writes) != 0 {
		t.Errorf("what was refused has written %+v", writes)
	}
}

// A version that is served nowhere any more is revoked at the CA. One that is served
// needs a second word.
func TestRevoke(t *testing.T) {
	t.Parallel()
	w := world.New(t, world.Options{ACME: acmeserver.Options{RejectNonces: -1}}) // a refused nonce is a second request
	config := w.Config("hub.yaml", hub, w)
	w.Kept(w.Report(0, config, "sync"))
	revoked := func() int { return w.ACME.Count()[acmeserver.KindRevoke] }
	for _, args := range [][]string{{}, {"--version", "1"}} {
		got := w.Run(config, append([]string{"revoke", "example", "--reason", "superseded", "--yes"}, args...)...)
		if got.Code != 1 || !got.Says("served: "+w.Files+"/example at sink files") || !got.Says("at sink edge") || !got.Says("nothing was revoked") || !got.Says("renew example --reason superseded") {
			t.Error(got)
		}
	}
	replace(w, config)
	if got := w.Run(config, "revoke", "example", "--version", "1", "--reason", "superseded"); got.Code != 0 || !got.Says("no target serves it") || !got.Says("--yes revokes it") {
		t.Error(got)
	}
	if n := revoked(); n != 0 {
		t.Errorf("the CA was asked %d times to revoke what was only shown", n)
	}
	if got := w.Run(config, "revoke", "example", "--version", "1", "--reason", "superseded", "--yes"); got.Code != 0 || !got.Says("revoked: ") {
		t.Error(got)
	}
	if n := revoked(); n != 1 {
		t.Errorf("the CA was asked %d times", n)
	}
	if got := w.Run(config, "revoke", "example", "--version", "1", "--reason", "superseded", "--yes"); got.Code != 0 { // it is revoked already
		t.Error(got)
	}
}

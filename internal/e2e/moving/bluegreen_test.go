package moving

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/anycert/anycert/internal/testenv/world"
)

// A cluster is filled before DNS moves to it, and the one before it is retired by being
// taken out of the configuration: its Secrets stay as they are, nothing is ordered, and
// no alarm is left.
func TestBlueAndGreen(t *testing.T) {
	w := world.New(t, world.Options{Clusters: []string{"blue", "green"}})
	for _, cluster := range w.Clusters {
		w.Must(cluster.CreateNamespaces(t.Context(), "web", "api"))
	}
	text := `version: 1
owner: hub
store: {{.Store (.Token "hub" .HubPolicy)}}
issuers: [{{.Issuer "pebble"}}]
certificates: [{name: example, domains: [example.com, "*.example.com"], issuer: pebble}]
sinks:
  - {name: blue, type: kubernetes, certificates: ["*"], config: { {{.Admin "blue"}}, namespaces: [web, api]}}
  - {name: green, type: kubernetes, certificates: ["*"], config: { {{.Admin "green"}}, namespaces: [web, api]}}
reconcile: {schedule: "@every 5s"}
http: {listen: "127.0.0.1:0"}
`
	without := func(sinks ...string) string {
		var lines []string
		for line := range strings.Lines(text) {
			for _, name := range sinks {
				if strings.Contains(line, "{name: "+name+",") {
					line = ""
				}
			}
			lines = append(lines, line)
		}
		return strings.Join(lines, "")
	}
	config := w.Config("hub.yaml", without("green"), w)
	d := w.Daemon(config)
	d.AwaitReady()
	d.Await("fills blue", func() error { return bothHold(w, "blue") })
	if n := len(w.ACME.Orders()); n != 1 {
		t.Fatalf("%d orders for one certificate", n)
	}

	// Green is filled while the world still asks blue.
	w.Config("hub.yaml", text, w)
	d.HangUp()
	d.Await("fills green", func() error { return bothHold(w, "green") })
	d.AwaitReady()
	read := w.Kubectl("green", "", "get", "secret", "example-tls", "-n", "web", "-o", `jsonpath={.data.tls\.crt}`)
	if chain, err := base64.StdEncoding.DecodeString(read.Stdout); err != nil || string(chain) != string(w.Stored("example").Chain) {
		t.Errorf("kubectl does not find in green what is in Vault: %v", read)
	}
	w.Kept(w.Report(0, config, "audit"))

	// Blue is retired while it still runs.
	m := w.Now()
	before := []*corev1.Secret{secret(w, "blue", "web", "example-tls"), secret(w, "blue", "api", "example-tls")}
	w.Config("hub.yaml", without("blue"), w)
	d.HangUp()
	d.Await("takes the configuration over", func() error {
		if strings.Count(string(d.Logged()), "the configuration was taken over") < 2 {
			return errors.New("not yet")
		}
		return nil
	})
	retired := w.Now()
	calm(w, d, config, "with blue retired")
	if asked := w.ClusterSince(retired, "blue"); len(asked) != 0 {
		t.Errorf("a retired cluster is still asked: %+v", asked)
	}
	after := []*corev1.Secret{secret(w, "blue", "web", "example-tls"), secret(w, "blue", "api", "example-tls")}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("what blue serves was touched (-before +after):\n%s", diff)
	}
	// And when it is gone.
	w.Clusters["blue"].Close()
	calm(w, d, config, "with blue gone")
	w.Kept(w.Report(0, config, "sync"))
	if n := len(w.ACME.Orders()); n != 1 {
		t.Errorf("%d orders in all, want the first alone", n)
	}
	delete(w.Clusters, "blue")
	w.WroteNothing("since blue was retired", m)
	d.End()
}

// A namespace that is taken out of a cluster that stays is listed, for `prune`, and is
// no alarm either.
func TestRetiredNamespace(t *testing.T) {
	w := world.New(t, world.Options{Clusters: []string{"only"}})
	w.Must(w.Clusters["only"].CreateNamespaces(t.Context(), "web", "api"))
	text := `version: 1
owner: hub
store: {{.Store (.Token "hub" .HubPolicy)}}
certificates: [{name: example, domains: [example.com, "*.example.com"]}]
sinks:
  - {name: web, type: kubernetes, certificates: ["*"], config: { {{.Admin "only"}}, namespaces: [web, api]}}
`
	w.Put("example", aged(t, w, day))
	config := w.Config("hub.yaml", text, w)
	w.Kept(w.Report(0, config, "sync"))
	m := w.Now()
	// The Secret of another name in a namespace that is still looked at.
	config = w.Config("hub.yaml", strings.Replace(text, "namespaces: [web, api]", `namespaces: [web, api], secret: "{{"{{ .Name }}"}}-cert"`, 1), w)
	got := w.Run(config, "audit")
	if got.Code != 2 || !got.Says("web/example-tls") {
		t.Errorf("an audit does not list what is no longer declared: %v", got)
	}
	w.WroteNothing("an audit", m)
	w.Kept(w.Report(0, config, "sync"))
	if got := w.Run(config, "audit"); got.Code != 0 || !got.Says("web/example-tls") || !got.Says("api/example-tls") {
		t.Errorf("what is no longer declared is not listed, or is an alarm: %v", got)
	}
	secret(w, "only", "api", "example-tls") // still there
}

// bothHold tells whether the two Secrets of a cluster are what Vault has.
func bothHold(w *world.World, cluster string) error {
	for _, namespace := range []string{"web", "api"} {
		chain, key := w.InCluster(cluster, namespace, "example-tls")
		if chain == nil {
			return errors.New("nothing is there")
		}
		if err := w.Stored("example").Same(chain, key); err != nil {
			return err
		}
	}
	return nil
}

// calm waits for two passes and expects that everybody is content.
func calm(w *world.World, d *world.Daemon, config, when string) {
	w.T.Helper()
	m := w.Now()
	d.Await("goes on "+when, func() error {
		if n := len(w.ClusterSince(m, "green")); n < 6 {
			return errors.New("not two passes yet")
		}
		return nil
	})
	d.AwaitReady()
	r := w.Report(0, config, "audit")
	w.Kept(r)
	if len(r.Notes) != 0 {
		w.T.Errorf("%s: an audit notes %q", when, r.Notes)
	}
	if got := w.Run(config, "status"); got.Code != 0 || strings.Contains(got.Stdout+got.Stderr, "blue") {
		w.T.Errorf("%s: %v", when, got)
	}
}

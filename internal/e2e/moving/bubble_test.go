package moving

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/internal/testenv/world"
)

// bubbling is the configuration of a hub that distributes before it issues. In the old
// cluster it may get one Secret and nothing else.
const bubbling = `version: 1
owner: hub
store: {{.World.Store (.World.Token "hub" .World.HubPolicy)}}
issuers:
  - {name: old-cluster, type: kubernetes, config: { {{.Old}}, secret: "web/{{"{{ .Name }}"}}-tls"}}
certificates:
  - {name: example, domains: [example.com, "*.example.com"], issuer: old-cluster}
sinks:
  - {name: new, type: kubernetes, certificates: ["*"], config: { {{.World.Admin "new"}}, namespaces: [web]}}
reconcile: {schedule: "@every 5s"}
http: {listen: "127.0.0.1:0"}
`

func newBubbling(t *testing.T) (w *world.World, config string) {
	t.Helper()
	w = world.New(t, world.Options{Clusters: []string{"old", "new"}})
	for _, cluster := range w.Clusters {
		w.Must(cluster.CreateNamespaces(t.Context(), "web"))
	}
	reader := kubeserver.Account{Namespace: "web", Name: "anycert", Rules: map[string][]rbacv1.PolicyRule{"web": {
		{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"example-tls"}, Verbs: []string{"get"}}}}}
	return w, w.Config("hub.yaml", bubbling, struct {
		World *world.World
		Old   string
	}{w, w.Account("old", reader)})
}

// arrives waits until the new cluster and Vault hold a pair in a version.
func arrives(w *world.World, d *world.Daemon, version int, pair certs.Pair) {
	w.T.Helper()
	d.Await(fmt.Sprintf("brings version %d to the new cluster", version), func() error {
		chain, key := w.InCluster("new", "web", "example-tls")
		if string(chain) != string(pair.ChainPEM) || string(key) != string(pair.KeyPEM) {
			return errors.New("it holds another, or none")
		}
		told := 0 // of each push there is an Event, after it
		for _, r := range kubeserver.Writes(w.ClusterSince(world.Moment{}, "new")) {
			if r.Resource == "events" {
				told++
			}
		}
		if told < version {
			return fmt.Errorf("of %d pushes %d were told", version, told)
		}
		return nil
	})
	if got := w.Stored("example"); got.Version != version || got.Same(pair.ChainPEM, pair.KeyPEM) != nil {
		w.T.Errorf("Vault has version %d, want %d of the pair", got.Version, version)
	}
}

// Each newer certificate of the old cluster comes to the new one, by two hubs and
// without one order; what is wrong there changes nothing here.
func TestBubbleUp(t *testing.T) {
	w, config := newBubbling(t)
	start := w.Now()
	d := w.Daemon(config)
	d.Answers("/health/ready", 503, "certificate example: it could not be obtained yet: obtaining certificate example from issuer old-cluster: "+
		"cluster 127.0.0.1:")
	first := aged(t, w, 40*day)
	keep(w, "old", first)
	arrives(w, d, 1, first)
	d.AwaitReady()
	if got := w.Run(config, "status"); got.Code != 0 || !got.Says("is looked at in each pass") || !got.Says("Secret web/example-tls of cluster 127.0.0.1:") {
		t.Error(got)
	}

	newer := aged(t, w, 10*day)
	keep(w, "old", newer)
	arrives(w, d, 2, newer)

	// Nothing newer: nothing is written, by whoever looks.
	m := w.Now()
	for range 2 {
		w.Kept(w.Report(0, config, "sync"))
	}
	w.WroteNothing("with nothing newer there", m)
	if asked := w.ClusterSince(m, "old"); len(asked) < 2 {
		t.Errorf("the old cluster was looked at %d times", len(asked))
	}

	// What must not be served is not taken.
	keep(w, "old", testenv.IssueFrom(t, w.Strangers, certs.Options{Names: []string{"other.example.com"}}))
	if got := w.Run(config, "sync"); got.Code != 1 || !got.Says("order failed") || !got.Says("has another certificate, which is not taken: not fit to be served: it does not cover example.com, *.example.com") {
		t.Error(got)
	}
	w.Kept(w.Report(1, config, "sync"))
	arrives(w, d, 2, newer)

	// Two hubs that find the same make one version of it.
	second := w.Daemon(config)
	second.AwaitReady()
	newest := aged(t, w, day)
	keep(w, "old", newest)
	arrives(w, d, 3, newest)
	m = w.Now()
	d.Await("and another look again", func() error {
		if n := len(w.ClusterSince(m, "old")); n < 4 {
			return fmt.Errorf("%d looks", n)
		}
		return nil
	})
	if got := w.Stored("example").Version; got != 3 {
		t.Errorf("two hubs made version %d of it, want 3", got)
	}
	if n := len(w.ACME.Orders()); n != 0 {
		t.Errorf("%d orders were made at the CA", n)
	}
	for _, request := range w.ClusterSince(start, "old") {
		if request.Verb != "get" || request.Name != "example-tls" {
			t.Errorf("in the old cluster anycert did %+v", request)
		}
	}
	d.End()
	second.End()
}

// An old cluster that is gone is told of, and takes nothing with it: the promises are
// kept, and mended.
func TestSourceGone(t *testing.T) {
	w, config := newBubbling(t)
	pair := aged(t, w, 10*day)
	keep(w, "old", pair)
	d := w.Daemon(config)
	arrives(w, d, 1, pair)
	d.AwaitReady()
	w.Clusters["old"].Close()
	w.Must(w.Clusters["new"].Client().CoreV1().Secrets("web").Delete(t.Context(), "example-tls", metav1.DeleteOptions{}))
	arrives(w, d, 1, pair)
	d.Await("says that the old cluster is gone", func() error {
		if d.Said("order failed") == nil {
			return errors.New("not yet")
		}
		return nil
	})
	d.AwaitReady() // what is promised is kept
	got := w.Run(config, "sync")
	if got.Code != 1 || !got.Says("1 promise: 1 kept") || !got.Says("reading Secret web/example-tls in 127.0.0.1:") || !got.Says("unavailable") {
		t.Error(got)
	}
	if got := w.Run(config, "audit"); got.Code != 0 {
		t.Error(got)
	}
	if said := strings.Count(string(d.Logged()), `"msg":"order failed"`); said != 1 {
		t.Errorf("it is said %d times, want once", said)
	}
	d.End()
}

// What we put somewhere does not come back as news, be it by another address.
func TestNoCircle(t *testing.T) {
	w := world.New(t, world.Options{Clusters: []string{"only"}})
	w.Must(w.Clusters["only"].CreateNamespaces(t.Context(), "web"))
	const text = `version: 1
owner: hub
store: {{.Store .Root}}
issuers: [{name: old, type: kubernetes, config: { {{.Admin "only"}}, secret: "web/example-tls"}}]
certificates: [{name: example, domains: [example.com, "*.example.com"], issuer: old}]
`
	sink := `sinks: [{name: only, type: kubernetes, certificates: ["*"], config: { {{.Admin "only"}}, namespaces: [web]}}]
`
	if got := w.Run(w.Config("circle.yaml", text+sink, w), "check"); got.Code != 1 || !got.Says("circle.yaml:4:") || !got.Says("where sink only puts certificate example: it would come from itself") {
		t.Error(got)
	}
	// The same cluster by another name cannot be known before it is asked.
	w.Put("example", aged(t, w, 40*day))
	by := strings.ReplaceAll(sink, `{{.Admin "only"}}`, `kubeconfig: {{.World.Path "other.kubeconfig"}}`)
	other := *w.Clusters["only"]
	other.Host = strings.Replace(other.Host, "127.0.0.1", "localhost", 1)
	w.Must(kubeserver.WriteKubeconfig(w.Path("other.kubeconfig"), kubeserver.Entry{Context: "other", Server: &other, Token: other.AdminToken}))
	config := w.Config("hidden.yaml", text+strings.ReplaceAll(by, ".World.", "."), w)
	if got := w.Run(config, "sync", "--no-issue"); got.Code != 0 {
		t.Fatal(got)
	}
	m := w.Now()
	if got := w.Run(config, "sync"); got.Code != 1 || !got.Says("it is a copy that this hub (owner hub) made, so nothing new comes from there") {
		t.Error(got)
	}
	w.WroteNothing("in a circle", m)
}

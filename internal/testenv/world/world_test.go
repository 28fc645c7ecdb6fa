package world_test

import (
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/internal/testenv/world"
)

func TestMain(m *testing.M) { world.Main(m) }

// Two clusters, a configuration of every part, and a second one that follows.
func TestWorld(t *testing.T) {
	w := world.New(t, world.Options{Clusters: []string{"blue", "green"}})
	for _, cluster := range w.Clusters {
		w.Must(cluster.CreateNamespaces(t.Context(), "web"))
	}
	hub := w.Config("hub.yaml", `version: 1
owner: hub
store: {{.Store (.ServiceAccount "hub" "blue" "web" "hub" .HubPolicy)}}
issuers: [{{.Issuer "pebble"}}]
certificates:
  - {name: example, domains: [example.com, "*.example.com"], issuer: pebble}
sinks:
  - {name: blue, type: kubernetes, certificates: ["*"], config: { {{.Admin "blue"}}, namespaces: [web]}}
  - {name: edge, type: fastly, certificates: ["*"], config: { {{.AtFastly}} }}
  - {name: app, type: fly, certificates: ["*"], config: { {{.AtFly "example-web"}}, hostnames: [example.com]}}
http: {listen: "127.0.0.1:0"}
`, w)
	w.Kept(w.Report(0, hub, "sync"))
	account := kubeserver.Account{Namespace: "web", Name: "anycert", Rules: map[string][]rbacv1.PolicyRule{"web": {
		{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get", "create", "patch"}}}}}
	follower := w.Config("follower.yaml", `version: 1
owner: follower
store: {{.World.Store (.World.AppRole "follower" .World.FollowerPolicy)}}
certificates:
  - {name: example, domains: [example.com, "*.example.com"]}
sinks:
  - {name: green, type: kubernetes, certificates: ["*"], config: { {{.Green}}, namespaces: [web]}}
  - {name: nginx, type: file, certificates: ["*"], config: {dir: {{.World.Files}}}}
reconcile: {schedule: "@every 5s"}
http: {listen: "127.0.0.1:0"}
`, struct {
		World *world.World
		Green string
	}{w, w.Account("green", account)})
	d := w.Daemon(follower)
	d.AwaitReady()
	d.Answers("/health/live", 200, "ok")
	if d.Said("started") == nil {
		t.Error("the daemon does not tell that it started")
	}
	want := w.Stored("example")
	for _, cluster := range []string{"blue", "green"} {
		if chain, key := w.InCluster(cluster, "web", "example-tls"); string(chain) != string(want.Chain) || string(key) != string(want.Key) {
			t.Errorf("%s does not hold what is in Vault", cluster)
		}
	}
	if chain, key := w.InFiles(w.Files, "example"); string(chain) != string(want.Chain) || string(key) != string(want.Key) {
		t.Error("the files do not hold what is in Vault")
	}
	m := w.Now()
	w.Kept(w.Report(0, hub, "sync"))
	w.WroteNothing("a second sync", m)
	d.End()

	w.Put("example", testenv.IssueFrom(t, w.Strangers, certs.Options{Names: []string{"example.com", "*.example.com"}}))
	w.Kept(w.Report(0, hub, "sync"))
	if writes := kubeserver.Writes(w.ClusterSince(m, "blue")); len(writes) == 0 {
		t.Error("what is put into Vault by hand is not pushed, or not seen")
	}
	if got := w.Kubectl("green", "", "get", "secret", "-n", "web", "example-tls"); got.Code != 0 || !got.Says("kubernetes.io/tls 2") {
		t.Error(got)
	}
	if got := w.Helm("version"); got.Code != 0 || !got.Says("v3.19.0") {
		t.Error(got)
	}
}

//go:build linux

package deploy

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anycert/anycert/internal/testenv/world"
)

// The chart's README, to the letter: from two clusters and a Vault that know nothing of
// anycert to a daemon that keeps every promise, under the rights that its commands
// grant and no others.
func TestInstallByTheReadme(t *testing.T) {
	w := world.New(t, world.Options{Raft: true, Clusters: []string{"hub", "europe"}})
	w.Must(w.Clusters["hub"].CreateNamespaces(t.Context(), "web", "api"))
	w.Must(w.Clusters["europe"].CreateNamespaces(t.Context(), "web"))
	startControllers(w)
	p := newPage(w)
	before, after, ok := strings.Cut(p.script, "kubectl -n anycert rollout status")
	if !ok {
		t.Fatal("the page does not wait for the deployment")
	}
	start, since := time.Now(), w.Now()

	notes := p.run(before)
	p.noted(notes)
	k := newKubelet(w, "hub")
	deployment := k.deployment(t, "anycert")
	pod, err := k.admit(deployment)
	w.Must(err)
	daemon, err := k.run(t, pod)
	w.Must(err)
	probes := pod.Spec.Containers[0]
	w.Must(daemon.WaitUntil(t.Context(), "has started", daemon.passes(probes.StartupProbe)))
	w.Must(daemon.WaitUntil(t.Context(), "is ready", daemon.passes(probes.ReadinessProbe)))
	w.Must(daemon.WaitUntil(t.Context(), "is alive", daemon.passes(probes.LivenessProbe)))
	k.tellAvailable(t, deployment)
	p.run("kubectl -n anycert rollout status" + after)
	w.Must(daemon.WaitUntil(t.Context(), "has filled every place", func(context.Context) error { return empty(w) }))
	w.Must(daemon.WaitUntil(t.Context(), "is ready", daemon.passes(probes.ReadinessProbe)))
	t.Logf("from the first command to a certificate in every place: %s", time.Since(start).Round(time.Second/10))

	servesEverywhere(w)
	refusedNothing(w, since)
	confined(t, daemon)
	p.isScraped(daemon)
	p.refusesOtherTokens()
	t.Logf("the daemon needs %s", usage(t, daemon.PID()))
	p.upgrades(k, deployment)
	p.uninstalls(k)
	endsWell(t, daemon, pod)
	servesEverywhere(w)
}

// noted holds what helm says after the installation against what the page does.
func (p *page) noted(printed string) {
	p.T.Helper()
	_, notes, _ := strings.Cut(printed, "NOTES:\n")
	for _, want := range []string{
		"runs as anycert/anycert. It issues, and keeps 2 sink(s) in step.\n",
		"  kubectl -n anycert rollout status deployment/anycert\n",
		"auth/kubernetes/role/anycert:\n",
		"  bound_service_account_names=anycert\n  bound_service_account_namespaces=anycert\n  audience=vault\n",
	} {
		if !strings.Contains(notes, want) {
			p.T.Errorf("helm's notes do not say %q:\n%s", want, notes)
		}
	}
}

// isScraped asks for what a PodMonitor would.
func (p *page) isScraped(r *running) {
	p.T.Helper()
	status, body, err := r.get(p.T.Context(), "/metrics")
	if err != nil || status != http.StatusOK || !strings.Contains(body, "\nanycert_promises{") {
		p.T.Errorf("/metrics: %d, %v:\n%s", status, err, body)
	}
}

// refusesOtherTokens expects that Vault takes a token of the pod's account and for
// Vault, and neither one for the API server nor one of another account.
func (p *page) refusesOtherTokens() {
	p.T.Helper()
	const login = "kubectl -n anycert create token %s --audience=%s | vault write auth/kubernetes/login role=anycert jwt=-"
	p.run(fmt.Sprintf(login, "anycert", "vault"))
	p.run("kubectl -n anycert create serviceaccount other")
	for _, test := range []struct{ account, audience, says string }{
		{"anycert", "https://kubernetes.default.svc", "invalid audience (aud) claim"},
		{"other", "vault", "service account name not authorized"},
	} {
		if text, err := p.try(fmt.Sprintf(login, test.account, test.audience)); err == nil || !strings.Contains(text, test.says) {
			p.T.Errorf("a token of %s for %s at Vault: %v, want %q\n%s", test.account, test.audience, err, test.says, text)
		}
	}
}

// upgrades expects a new pod for a new configuration.
func (p *page) upgrades(k *kubelet, before *appsv1.Deployment) {
	p.T.Helper()
	p.change("config.yaml", func(config map[string]any) {
		config["reconcile"] = map[string]any{"schedule": "@every 10s"}
	})
	p.run("helm upgrade anycert deploy/chart --namespace anycert --values values.yaml --set-file config=config.yaml")
	after := k.deployment(p.T, "anycert")
	if after.Generation == before.Generation || before.Spec.Template.Annotations["checksum/config"] == after.Spec.Template.Annotations["checksum/config"] {
		p.T.Error("a changed configuration makes no new pod")
	}
}

// uninstalls expects that nothing of the release is left but the certificates.
func (p *page) uninstalls(k *kubelet) {
	p.T.Helper()
	p.run("helm uninstall anycert --namespace anycert")
	for _, namespace := range []string{"web", "api"} {
		roles, err := k.api.RbacV1().Roles(namespace).List(p.T.Context(), metav1.ListOptions{})
		p.Must(err)
		if len(roles.Items) > 0 {
			p.T.Errorf("uninstalling leaves the Role %s/%s", namespace, roles.Items[0].Name)
		}
	}
}

// places are where the page's configuration puts the certificate.
var places = []struct{ cluster, namespace string }{{"hub", "web"}, {"hub", "api"}, {"europe", "web"}}

// empty tells of a place where nothing is yet.
func empty(w *world.World) error {
	for _, at := range places {
		if chain, _ := w.InCluster(at.cluster, at.namespace, "example-tls"); chain == nil {
			return fmt.Errorf("there is no %s/example-tls in the cluster %s", at.namespace, at.cluster)
		}
	}
	return nil
}

// servesEverywhere expects what Vault holds in every place, and that one order was made
// for all of them.
func servesEverywhere(w *world.World) {
	w.T.Helper()
	stored := w.Stored("example")
	for _, at := range places {
		chain, key := w.InCluster(at.cluster, at.namespace, "example-tls")
		if !bytes.Equal(chain, stored.Chain) || !bytes.Equal(key, stored.Key) {
			w.T.Errorf("%s/example-tls in the cluster %s does not hold what Vault holds", at.namespace, at.cluster)
		}
	}
	if n := len(w.ACME.Orders()); n != 1 {
		w.T.Errorf("%d orders were made, want 1", n)
	}
}

// refusedNothing expects that every request of the daemon was allowed, at the clusters
// and at Vault, and that each came from the account that the page made.
func refusedNothing(w *world.World, since world.Moment) {
	w.T.Helper()
	for name := range w.Clusters {
		asked := w.ClusterSince(since, name)
		if len(asked) == 0 {
			w.T.Errorf("nobody asked the cluster %s", name)
		}
		for _, r := range asked {
			if r.User != "system:serviceaccount:anycert:anycert" || r.Status == 401 || r.Status == 403 {
				w.T.Errorf("the cluster %s was asked by %s: %s %s %s/%s: %d", name, r.User, r.Verb, r.Resource, r.Namespace, r.Name, r.Status)
			}
		}
	}
	asked := 0
	for _, r := range w.VaultSince(since) {
		if r.DisplayName != "kubernetes-anycert-anycert" {
			continue // of the page's commands
		}
		asked++
		if r.Error != "" {
			w.T.Errorf("Vault refused to %s %s: %s", r.Operation, r.Path, r.Error)
		}
	}
	if asked == 0 {
		w.T.Error("nobody asked Vault with the pod's token")
	}
}

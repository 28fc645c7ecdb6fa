package e2e

import (
	"os"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/kubeserver"
)

// startKubernetes gives anycert a service account with the rights that its page
// names and no others.
func (w *world) startKubernetes() {
	w.t.Helper()
	w.kube = testenv.Kubernetes(w.t)
	w.must(w.kube.CreateNamespaces(w.t.Context(), "anycert", "web", "api"))
	rules := w.documentedRules("example-tls", "api-tls")
	token, err := w.kube.Login(w.t.Context(), kubeserver.Account{
		Namespace: "anycert", Name: "anycert",
		Rules: map[string][]rbacv1.PolicyRule{"web": rules, "api": rules},
	})
	w.must(err)
	w.settings.Cluster = &clusterSettings{
		Server: w.kube.Host,
		CA:     w.file("cluster-ca.pem", string(w.kube.CAPEM)),
		Token:  w.file("cluster-token", token),
		Labels: map[string]string{"team": "platform"},
	}
}

// documentedRules are those of the Role in docs/sinks/kubernetes.md, for other
// Secrets than the one it names.
func (w *world) documentedRules(secrets ...string) []rbacv1.PolicyRule {
	w.t.Helper()
	const page = "../../docs/sinks/kubernetes.md"
	text, err := os.ReadFile(page)
	w.must(err)
	_, block, _ := strings.Cut(string(text), "```yaml\n# rights: sync\n")
	block, _, _ = strings.Cut(block, "```")
	for document := range strings.SplitSeq(block, "---\n") {
		var role rbacv1.Role
		if !strings.Contains(document, "kind: Role\n") {
			continue
		}
		w.must(yaml.UnmarshalStrict([]byte(document), &role))
		for i, rule := range role.Rules {
			if len(rule.ResourceNames) > 0 {
				role.Rules[i].ResourceNames = secrets
			}
		}
		return role.Rules
	}
	w.t.Fatalf("%s shows no Role under \"rights: sync\"", page)
	return nil
}

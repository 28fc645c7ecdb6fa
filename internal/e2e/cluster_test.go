package e2e

import (
	"os"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/anycert/anycert/internal/testenv/kubeserver"
)

// openCluster gives anycert a service account with the rights that its page names
// and no others.
func (w *scene) openCluster() {
	w.T.Helper()
	w.Must(w.Clusters["prod"].CreateNamespaces(w.T.Context(), "anycert", "web", "api"))
	rules := w.documentedRules("example-tls", "api-tls")
	w.settings.Labels = map[string]string{"team": "platform"}
	w.settings.Cluster = w.Account("prod", kubeserver.Account{
		Namespace: "anycert", Name: "anycert",
		Rules: map[string][]rbacv1.PolicyRule{"web": rules, "api": rules},
	})
}

// documentedRules are those of the Role in docs/sinks/kubernetes.md, for other
// Secrets than the one it names.
func (w *scene) documentedRules(secrets ...string) []rbacv1.PolicyRule {
	w.T.Helper()
	const page = "../../docs/sinks/kubernetes.md"
	text, err := os.ReadFile(page)
	w.Must(err)
	_, block, _ := strings.Cut(string(text), "```yaml\n# rights: sync\n")
	block, _, _ = strings.Cut(block, "```")
	for document := range strings.SplitSeq(block, "---\n") {
		var role rbacv1.Role
		if !strings.Contains(document, "kind: Role\n") {
			continue
		}
		w.Must(yaml.UnmarshalStrict([]byte(document), &role))
		for i, rule := range role.Rules {
			if len(rule.ResourceNames) > 0 {
				role.Rules[i].ResourceNames = secrets
			}
		}
		return role.Rules
	}
	w.T.Fatalf("%s shows no Role under \"rights: sync\"", page)
	return nil
}

package kubernetes_test

import (
	"os"
	"regexp"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

const page = "../../docs/sinks/kubernetes.md"

// apply creates what the page shows under "rights: sync", for another namespace.
func (r *rig) apply(namespace string) {
	r.t.Helper()
	for text := range strings.SplitSeq(strings.ReplaceAll(r.block("# rights: sync"), "namespace: web", "namespace: "+namespace), "---\n") {
		var kind metav1.TypeMeta
		r.must(yaml.Unmarshal([]byte(text), &kind))
		var err error
		switch kind.Kind {
		case "ServiceAccount":
			var account corev1.ServiceAccount
			r.must(yaml.UnmarshalStrict([]byte(text), &account))
			_, err = r.Client().CoreV1().ServiceAccounts(account.Namespace).Create(r.ctx(), &account, metav1.CreateOptions{})
		case "Role":
			var role rbacv1.Role
			r.must(yaml.UnmarshalStrict([]byte(text), &role))
			_, err = r.Client().RbacV1().Roles(role.Namespace).Create(r.ctx(), &role, metav1.CreateOptions{})
		case "RoleBinding":
			var binding rbacv1.RoleBinding
			r.must(yaml.UnmarshalStrict([]byte(text), &binding))
			_, err = r.Client().RbacV1().RoleBindings(binding.Namespace).Create(r.ctx(), &binding, metav1.CreateOptions{})
		default:
			r.t.Fatalf("the page shows a %q, which this test does not know", kind.Kind)
		}
		if err != nil && !apierrors.IsAlreadyExists(err) {
			r.t.Fatal(err)
		}
	}
}

// block is the code block of the page that begins with a line.
func (r *rig) block(first string) string {
	r.t.Helper()
	text, err := os.ReadFile(page)
	r.must(err)
	_, rest, ok := strings.Cut(string(text), "```yaml\n"+first+"\n")
	if !ok {
		r.t.Fatalf("%s has no block %q", page, first)
	}
	block, _, _ := strings.Cut(rest, "```")
	return block
}

var ruleOnPage = regexp.MustCompile("`(\\{apiGroups: .*?, verbs: .*?\\})`")

// rule is the further rule of the page for a verb on a resource.
func (r *rig) rule(resource, verb string) rbacv1.PolicyRule {
	r.t.Helper()
	text, err := os.ReadFile(page)
	r.must(err)
	for _, match := range ruleOnPage.FindAllStringSubmatch(string(text), -1) {
		var rule rbacv1.PolicyRule
		r.must(yaml.UnmarshalStrict([]byte(match[1]), &rule))
		if rule.Resources[0] == resource && rule.Verbs[0] == verb {
			return rule
		}
	}
	r.t.Fatalf("%s has no rule to %s %s", page, verb, resource)
	return rbacv1.PolicyRule{}
}

// grant gives the account the page's rights, and further rules, in these namespaces,
// and takes what it has in web and api otherwise.
func (r *rig) grant(namespaces []string, further ...rbacv1.PolicyRule) {
	r.t.Helper()
	for _, namespace := range []string{"web", "api"} {
		if !slices.Contains(namespaces, namespace) {
			r.revoke(namespace)
		}
	}
	for _, namespace := range namespaces {
		rules := append(r.rules(), further...)
		if apiequality.Semantic.DeepEqual(r.granted(namespace), rules) {
			continue
		}
		r.revoke(namespace)
		r.apply(namespace)
		role, err := r.Client().RbacV1().Roles(namespace).Get(r.ctx(), "anycert", metav1.GetOptions{})
		r.must(err)
		role.Rules = rules
		_, err = r.Client().RbacV1().Roles(namespace).Update(r.ctx(), role, metav1.UpdateOptions{})
		r.must(err)
		for _, rule := range role.Rules {
			for _, verb := range rule.Verbs {
				r.awaitOn(namespace, verb, rule.APIGroups[0], rule.Resources[0], append(rule.ResourceNames, "")[0], true)
			}
		}
	}
}

// rules are those of the page's Role.
func (r *rig) rules() []rbacv1.PolicyRule {
	r.t.Helper()
	for text := range strings.SplitSeq(r.block("# rights: sync"), "---\n") {
		var role rbacv1.Role
		if strings.Contains(text, "kind: Role\n") {
			r.must(yaml.UnmarshalStrict([]byte(text), &role))
			return role.Rules
		}
	}
	r.t.Fatalf("%s shows no Role", page)
	return nil
}

// granted are the rules of the account's Role in a namespace; none without a Role.
func (r *rig) granted(namespace string) []rbacv1.PolicyRule {
	r.t.Helper()
	role, err := r.Client().RbacV1().Roles(namespace).Get(r.ctx(), "anycert", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	r.must(err)
	return role.Rules
}

// revoke takes all of the account's rights in a namespace.
func (r *rig) revoke(namespace string) {
	r.t.Helper()
	if r.granted(namespace) == nil {
		return
	}
	for _, err := range []error{
		r.Client().RbacV1().RoleBindings(namespace).DeleteCollection(r.ctx(), metav1.DeleteOptions{}, metav1.ListOptions{}),
		r.Client().RbacV1().Roles(namespace).DeleteCollection(r.ctx(), metav1.DeleteOptions{}, metav1.ListOptions{}),
	} {
		r.must(err)
	}
	r.await(namespace, "get", "example-tls", false)
}

// await waits until the authorizer has seen a change of the account's rights.
func (r *rig) await(namespace, verb, name string, want bool) {
	r.t.Helper()
	r.awaitOn(namespace, verb, "", "secrets", name, want)
}

func (r *rig) awaitOn(namespace, verb, group, resource, name string, want bool) {
	r.t.Helper()
	r.until("the account's right to "+verb+" "+resource+" changes", func() bool {
		review, err := r.Client().AuthorizationV1().SubjectAccessReviews().Create(r.ctx(), &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{
				User:               "system:serviceaccount:anycert:anycert",
				ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: namespace, Verb: verb, Group: group, Resource: resource, Name: name},
			}}, metav1.CreateOptions{})
		r.must(err)
		return review.Status.Allowed == want
	})
}

// allow adds a rule to the account's Role in a namespace.
func (r *rig) allow(namespace string, rule rbacv1.PolicyRule) {
	r.t.Helper()
	role, err := r.Client().RbacV1().Roles(namespace).Get(r.ctx(), "anycert", metav1.GetOptions{})
	r.must(err)
	role.Rules = append(role.Rules, rule)
	_, err = r.Client().RbacV1().Roles(namespace).Update(r.ctx(), role, metav1.UpdateOptions{})
	r.must(err)
	r.await(namespace, rule.Verbs[0], append(rule.ResourceNames, "")[0], true)
}

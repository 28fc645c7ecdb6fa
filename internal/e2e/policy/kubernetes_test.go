package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/world"
)

// cluster is a world with one cluster, and a hub that fills it.
type cluster struct {
	*world.World
	namespaces string // of the sink: "[web, api]"
	sink       string // fields of the sink's config beside those, and those that reach the cluster
}

// sourceConfig brings certificates from Secrets that somebody else renews.
const sourceConfig = `version: 1
owner: hub
store: {{.Store .Root}}
issuers:
  - {name: before, type: kubernetes, config: { {{.Reach}}, secret: "old/{{"{{"}} .Name {{"}}"}}-source" }}
certificates:
  - {name: one, domains: [example.com], issuer: before}
  - {name: two, domains: [shop.example.com], issuer: before}
`

const kubernetesConfig = `version: 1
owner: hub
store: {{.Store .Root}}
certificates:
  - {name: example, domains: [example.com]}
  - {name: shop, domains: [shop.example.com]}{{.More}}
sinks:
  - {name: prod, type: kubernetes, certificates: ["*"], config: { {{.Reach}}, namespaces: {{.Namespaces}}{{.Sink}} }}
`

// write writes a configuration that reaches the cluster by a token. more are further
// certificates.
func (c cluster) write(name, token, more string) (path string) {
	c.T.Helper()
	return c.Config(name+".yaml", kubernetesConfig, struct {
		*world.World
		Reach, Namespaces, Sink, More string
	}{c.World, c.Reach("prod", token), c.namespaces, c.sink, more})
}

// grants applies what anycert prints, with the commands that it names for the account.
func (c cluster) grants(subject string, args ...string) {
	c.T.Helper()
	printed := c.Run(c.write("print", "x", ""), append([]string{"policy", "--only", "prod", "--subject", subject}, args...)...)
	if got := c.Kubectl("prod", printed.Stdout, "apply", "-f", "-"); printed.Code != 0 || got.Code != 0 {
		c.T.Fatal(printed, got)
	}
}

// account makes a service account in the namespace anycert and logs in as it.
func (c cluster) account(name string) (token string) {
	c.T.Helper()
	if got := c.Kubectl("prod", "", "-n", "anycert", "create", "serviceaccount", name); got.Code != 0 {
		c.T.Fatal(got)
	}
	token, err := c.Clusters["prod"].Token(c.T.Context(), "anycert", name)
	c.Must(err)
	return token
}

// empty deletes all Secrets, so that a sync has to make them.
func (c cluster) empty() {
	c.T.Helper()
	for _, namespace := range []string{"web", "api"} {
		c.Must(c.Clusters["prod"].Client().CoreV1().Secrets(namespace).DeleteCollection(c.T.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}))
	}
}

// right is one verb, or one name, of a rule.
type right struct {
	role, namespace string
	rule            int
	verb, name      string // one of them
}

func (r right) String() string {
	if r.name != "" {
		return fmt.Sprintf("`%s` from resourceNames in `%s`", r.name, r.namespace)
	}
	return fmt.Sprintf("`%s` on secrets in `%s`", r.verb, r.namespace)
}

// rights are those of all Roles of a name.
func (c cluster) rights(role string) (all []right) {
	c.T.Helper()
	roles, err := c.Clusters["prod"].Client().RbacV1().Roles("").List(c.T.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + role})
	c.Must(err)
	for _, r := range roles.Items {
		for i, rule := range r.Rules {
			for _, verb := range rule.Verbs {
				all = append(all, right{role, r.Namespace, i, verb, ""})
			}
			if len(rule.ResourceNames) < 2 {
				continue // without its only name the rule is for all: see the verbs
			}
			for _, name := range rule.ResourceNames {
				all = append(all, right{role, r.Namespace, i, "", name})
			}
		}
	}
	if len(all) == 0 {
		c.T.Fatalf("there is no Role %s", role)
	}
	return all
}

// without takes a right away for the time of do, and waits until the API server knows.
func (c cluster) without(user string, taken right, do func()) {
	c.T.Helper()
	roles := c.Clusters["prod"].Client().RbacV1().Roles(taken.namespace)
	was, err := roles.Get(c.T.Context(), taken.role, metav1.GetOptions{})
	c.Must(err)
	less := was.DeepCopy()
	rule := &less.Rules[taken.rule]
	verb, name := taken.verb, append(slices.Clone(rule.ResourceNames), "")[0]
	if taken.name != "" {
		verb, name = rule.Verbs[0], taken.name
	}
	rule.Verbs = slices.DeleteFunc(rule.Verbs, func(v string) bool { return v == taken.verb })
	rule.ResourceNames = slices.DeleteFunc(rule.ResourceNames, func(n string) bool { return n == taken.name })
	less.Rules = slices.DeleteFunc(less.Rules, func(r rbacv1.PolicyRule) bool { return len(r.Verbs) == 0 })
	less, err = roles.Update(c.T.Context(), less, metav1.UpdateOptions{})
	c.Must(err)
	c.await(user, taken.namespace, verb, name, false)
	do()
	less.Rules = was.Rules
	_, err = roles.Update(c.T.Context(), less, metav1.UpdateOptions{})
	c.Must(err)
	c.await(user, taken.namespace, verb, name, true)
}

// await waits until the API server lets an account do something, or does not.
func (c cluster) await(user, namespace, verb, name string, want bool) {
	c.T.Helper()
	c.until(fmt.Sprintf("%s may %s %s/%s: %t", user, verb, namespace, name, want), func() bool {
		review, err := c.Clusters["prod"].Client().AuthorizationV1().SubjectAccessReviews().Create(c.T.Context(), &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{User: "system:serviceaccount:anycert:" + user,
				ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: namespace, Verb: verb, Resource: "secrets", Name: name}}}, metav1.CreateOptions{})
		c.Must(err)
		return review.Status.Allowed == want
	})
}

func (c cluster) until(what string, done func() bool) {
	c.T.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.T.Fatalf("waited in vain until %s", what)
		}
	}
}

func newCluster(t *testing.T) cluster {
	t.Helper()
	w := world.New(t, world.Options{Clusters: []string{"prod"}})
	w.Must(w.Clusters["prod"].CreateNamespaces(t.Context(), "anycert", "web", "api"))
	w.Put("example", testenv.IssueFrom(t, w.Strangers, fresh))
	w.Put("shop", testenv.IssueFrom(t, w.Strangers, shop))
	w.Put("old", testenv.IssueFrom(t, w.Strangers, certs.Options{Names: []string{"old.example.com"}}))
	return cluster{World: w, namespaces: "[web, api]"}
}

// said is the part of what a verb said that tells what a Role lacks.
func (c cluster) said(got world.Result, taken right) (string, bool) {
	verb, names := taken.verb, ""
	if taken.name != "" {
		verb, names = "", taken.name
	}
	for text := range strings.SplitSeq(got.Stdout+got.Stderr, "\n") {
		at := strings.Index(text, "the Role in namespace "+taken.namespace+" needs the rule {")
		if at < 0 {
			continue
		}
		rule, _, _ := strings.Cut(text[at:], "}")
		if strings.Contains(rule, "verbs: ["+verb) && strings.Contains(rule, names) {
			from := strings.LastIndex(text[:at], anycert.ErrForbidden.Error())
			return normal(c.World, text[max(from, 0):at]+rule+"}"), true
		}
	}
	return "", false
}

// proves runs a verb without each right of a Role, from the same beginning, and expects
// that it fails and names the right.
func (c cluster) proves(user, role, path string, begin func(), args ...string) (rows []row) {
	c.T.Helper()
	begin()
	if got := c.Run(path, args...); got.Code != 0 {
		c.T.Fatalf("with exactly what is printed: %v", got)
	}
	for _, taken := range c.rights(role) {
		begin()
		c.without(user, taken, func() {
			got := c.Run(path, args...)
			said, named := c.said(got, taken)
			if got.Code == 0 || !named {
				c.T.Errorf("without %v: %v", taken, got)
				return
			}
			rows = append(rows, row{taken.String(), "`" + strings.Join(args, " ") + "`", said})
		})
	}
	seen := map[string]bool{}
	for _, right := range c.rights(role) {
		if !seen[right.namespace] {
			begin()
			rows = append(rows, c.withoutBinding(user, role, right.namespace, path, args))
		}
		seen[right.namespace] = true
	}
	return rows
}

// withoutBinding is proves for the RoleBinding.
func (c cluster) withoutBinding(user, role, namespace, path string, args []string) row {
	c.T.Helper()
	bindings := c.Clusters["prod"].Client().RbacV1().RoleBindings(namespace)
	was, err := bindings.Get(c.T.Context(), role, metav1.GetOptions{})
	c.Must(err)
	c.Must(bindings.Delete(c.T.Context(), role, metav1.DeleteOptions{}))
	first := c.rights(role)[0]
	c.await(user, namespace, first.verb, c.nameOf(role, namespace), false)
	got := c.Run(path, args...)
	_, err = bindings.Create(c.T.Context(), &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: role}, Subjects: was.Subjects, RoleRef: was.RoleRef}, metav1.CreateOptions{})
	c.Must(err)
	c.await(user, namespace, first.verb, c.nameOf(role, namespace), true)
	said, named := c.said(got, right{namespace: namespace})
	if got.Code == 0 || !named {
		c.T.Errorf("without the RoleBinding in %s: %v", namespace, got)
	}
	return row{"the RoleBinding in `" + namespace + "`", "`" + strings.Join(args, " ") + "`", said}
}

// nameOf is the first name of the first rule of a Role.
func (c cluster) nameOf(role, namespace string) string {
	c.T.Helper()
	r, err := c.Clusters["prod"].Client().RbacV1().Roles(namespace).Get(c.T.Context(), role, metav1.GetOptions{})
	c.Must(err)
	return r.Rules[0].ResourceNames[0]
}

func TestKubernetes(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	syncer, lister, auditor := c.account("anycert"), c.account("lister"), c.account("anycert-auditor")
	c.grants("anycert/anycert", "follower")
	c.await("anycert", "web", "patch", "shop-tls", true)
	head := "Two certificates in the namespaces `web` and `api`, from nothing."
	proof(c.World, "Kubernetes: hub and follower", head, c.proves("anycert", "anycert.hub.prod", c.write("hub", syncer, ""), c.empty, "sync"))

	listing := c
	listing.sink = ", list: true"
	listing.grants("anycert/lister", "follower")
	c.await("lister", "web", "list", "", true)
	rows := listing.proves("lister", "anycert.hub.prod", listing.write("list", lister, ""), listing.empty, "sync")
	rows = slices.DeleteFunc(rows, func(r row) bool { return !strings.HasPrefix(r.taken, "`list`") })
	proof(c.World, "Kubernetes: with list: true", "What is there beside the rights above.", rows)

	full := func() {
		if got := c.Run(c.write("all", c.Clusters["prod"].AdminToken, "\n  - {name: old, domains: [old.example.com]}"), "sync"); got.Code != 0 {
			t.Fatal(got)
		}
	}
	c.fromSource()

	c.grants("anycert/anycert-auditor", "auditor")
	c.await("anycert-auditor", "web", "get", "shop-tls", true)
	proof(c.World, "Kubernetes: auditor", "All is well, and nothing may be changed.",
		c.proves("anycert-auditor", "anycert.hub.prod.auditor", c.write("auditor", auditor, ""), full, "audit"))

	c.grants("anycert/anycert", "follower", "--prune", "old")
	c.await("anycert", "web", "delete", "old-tls", true)
	proof(c.World, "Kubernetes: pruning", "With `--prune old`, when the certificate `old` is no longer declared and its copies are still there.",
		c.proves("anycert", "anycert.hub.prod.prune", c.write("hub", syncer, ""), full, "prune", "--yes"))
}

// fromSource proves the Role of an issuer that fetches certificates from a cluster.
func (c cluster) fromSource() {
	c.T.Helper()
	c.Must(c.Clusters["prod"].CreateNamespaces(c.T.Context(), "old"))
	for name, options := range map[string]certs.Options{"one-source": fresh, "two-source": shop} {
		pair := testenv.IssueFrom(c.T, c.Strangers, options)
		_, err := c.Clusters["prod"].Client().CoreV1().Secrets("old").Create(c.T.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name},
			Type: corev1.SecretTypeTLS, Data: map[string][]byte{"tls.crt": pair.ChainPEM, "tls.key": pair.KeyPEM}}, metav1.CreateOptions{})
		c.Must(err)
	}
	path := c.Config("source.yaml", sourceConfig, struct {
		*world.World
		Reach string
	}{c.World, c.Reach("prod", c.account("fetcher"))})
	printed := c.Run(path, "policy", "hub", "--only", "before", "--subject", "anycert/fetcher")
	if got := c.Kubectl("prod", printed.Stdout, "apply", "-f", "-"); got.Code != 0 {
		c.T.Fatal(printed, got)
	}
	c.await("fetcher", "old", "get", "two-source", true)
	begin := func() {
		for _, name := range []string{"one", "two"} {
			c.Must(c.Vault.Client().KVv2("secret").DeleteMetadata(c.T.Context(), "anycert/certs/"+name))
		}
	}
	proof(c.World, "Kubernetes: an issuer of type kubernetes", "Two certificates that somebody else renews in the namespace `old`, and nothing in the store.",
		c.proves("fetcher", "anycert.hub.before.source", path, begin, "sync"))
}

// What is printed is what kubectl takes: each document by itself as well.
func TestPrintedIsYAML(t *testing.T) {
	t.Parallel()
	w := world.New(t, world.Options{})
	path := w.Config("config.yaml", `version: 1
owner: hub
store: {{.Store .Root}}
certificates: [{name: example, domains: [example.com]}]
sinks: [{name: prod, type: kubernetes, certificates: ["*"], config: {context: prod, namespaces: [web]}}]
`, w)
	for _, args := range [][]string{{"policy", "--only", "prod"}, {"policy", "--lock"}} {
		got := w.Run(path, args...)
		for document := range strings.SplitSeq(got.Stdout, "---\n") {
			var into map[string]any
			if err := yaml.Unmarshal([]byte(document), &into); err != nil {
				t.Errorf("%v: %v\n%s", args, err, document)
			}
		}
	}
}

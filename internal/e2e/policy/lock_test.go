package policy

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
)

// locked is a cluster whose Secrets are under the lock.
type locked struct {
	cluster
	admin kubernetes.Interface // a user in system:masters
	hub   string               // configuration of the hub, which comes as anycert/anycert
}

// trial is something that somebody does to a Secret. It changes nothing.
type trial func(ctx context.Context) error

// edit is a trial of the administrator.
func (l locked) edit(namespace, name string, change func(*corev1.Secret)) trial {
	return func(ctx context.Context) error {
		secret, err := l.admin.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
		l.Must(err)
		change(secret)
		_, err = l.admin.CoreV1().Secrets(namespace).Update(ctx, secret, metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
}

func (l locked) delete(namespace, name string) trial {
	return func(ctx context.Context) error {
		return l.admin.CoreV1().Secrets(namespace).Delete(ctx, name, metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}})
	}
}

func (l locked) deleteAll(namespace string) trial {
	return func(ctx context.Context) error {
		return l.admin.CoreV1().Secrets(namespace).DeleteCollection(ctx, metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}, metav1.ListOptions{})
	}
}

// ourOwn is a write of anycert itself, of a version that is new each time.
func (l locked) ourOwn(context.Context) error {
	l.Put("example", testenv.IssueFrom(l.T, l.Strangers, fresh))
	if got := l.Run(l.hub, "sync", "--only", "prod/web/example-tls"); got.Code != 0 {
		return fmt.Errorf("%s", got.Stdout+got.Stderr)
	}
	return nil
}

// What is changed of a Secret.
func data(s *corev1.Secret)         { s.Data["tls.crt"] = []byte("typed by hand") }
func stripLabel(s *corev1.Secret)   { delete(s.Labels, "app.kubernetes.io/managed-by") }
func stripMark(s *corev1.Secret)    { s.Annotations = nil }
func addFinalizer(s *corev1.Secret) { s.Finalizers = append(s.Finalizers, "example.com/wait") }
func freeze(s *corev1.Secret)       { yes := true; s.Immutable = &yes }
func nothing(*corev1.Secret)        {}
func addOwner(s *corev1.Secret) {
	s.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "x", UID: "0e0a4bd7-2f1c-4c8b-9b1c-2a3f0f6c1b9e"}}
}
func noFinalizers(s *corev1.Secret) { s.Finalizers = nil }

// says is the lock's message, which tells where the truth is kept.
func says(namespace, name, certificate string) string {
	return fmt.Sprintf("%[1]s/%[2]s holds a copy of certificate %[3]s, which is kept in Vault at secret/anycert/certs/%[3]s: write there, and every place follows. anycert with the owner hub keeps this copy as it is.", namespace, name, certificate)
}

// clause is a part of the lock, what is tried, and what is wrong without it.
type clause struct {
	name     string
	old, new string // in the text
	try      trial
	refused  bool // with the lock as it is printed
	failed   string
}

func (l locked) clauses() []clause {
	edits := func(name, term string, change func(*corev1.Secret)) clause {
		return clause{"comparing " + name, term, "true", l.edit("web", "example-tls", change), true, "an administrator changes the " + name}
	}
	return []clause{
		{"the label that opens a namespace", "{key: anycert.dev/unlocked, operator: DoesNotExist}", "{key: kubernetes.io/metadata.name, operator: Exists}", l.edit("opened", "example-tls", data), false, "nobody can change a Secret in need"},
		{"`UPDATE`", "operations: [UPDATE, DELETE]", "operations: [DELETE]", l.edit("web", "example-tls", data), true, "an administrator edits the Secret"},
		{"`DELETE`", "operations: [UPDATE, DELETE]", "operations: [UPDATE]", l.delete("web", "example-tls"), true, "an administrator deletes the Secret"},
		{"the condition `declared`: namespaces", "oldObject.metadata.namespace in ['api', 'ending', 'opened', 'web']", "true", l.edit("copies", "example-tls", data), false, "a tool that copies Secrets to other namespaces cannot keep its copies"},
		{"the condition `declared`: names", "oldObject.metadata.name in ['example-tls', 'shop-tls']", "true", l.edit("web", "copied-tls", data), false, "a tool that copies Secrets under other names cannot keep its copies"},
		{"the condition `ours`", "oldObject.metadata.?annotations[?'anycert.dev/owner'].orValue('') == 'hub'", "true", l.edit("web", "shop-tls", data), false, "who keeps a Secret where we may not write cannot change his own"},
		{"the condition `another-account`", "!(request.userInfo.username in ['system:serviceaccount:anycert:anycert'])", "true", l.ourOwn, false, "anycert itself cannot write"},
		{"letting a namespace end", "has(namespaceObject.metadata.deletionTimestamp)", "false", l.deleteAll("ending"), false, "a namespace that is deleted stays for ever"},
		{"letting a Secret end", "has(oldObject.metadata.deletionTimestamp)", "false", l.edit("api", "shop-tls", noFinalizers), false, "a Secret that is being deleted stays for ever"},
		{"letting through what changes nothing", "request.operation == 'UPDATE' &&", "false &&", l.edit("web", "example-tls", nothing), false, "Secrets cannot be encrypted anew with another key of the cluster"},
		edits("data", "object.?data == oldObject.?data", data),
		edits("`immutable`", "object.?immutable == oldObject.?immutable", freeze),
		edits("labels", "object.metadata.?labels == oldObject.metadata.?labels", stripLabel),
		edits("annotations", "object.metadata.?annotations == oldObject.metadata.?annotations", stripMark),
		edits("finalizers", "object.metadata.?finalizers == oldObject.metadata.?finalizers", addFinalizer),
		edits("owners", "object.metadata.?ownerReferences == oldObject.metadata.?ownerReferences", addOwner),
		{"`Deny` of the binding", "validationActions: [Deny]", "validationActions: [Warn]", l.edit("web", "example-tls", data), true, "an administrator is warned, and edits the Secret"},
	}
}

// apply applies a text and waits until a trial goes as is wanted.
func (l locked) apply(text string, try trial, refused bool) (last error) {
	l.T.Helper()
	if got := l.Kubectl("prod", text, "apply", "-f", "-"); got.Code != 0 {
		l.T.Fatal(got)
	}
	l.until(fmt.Sprintf("the lock is in force, and the trial refused: %t; it ended with %v", refused, last), func() bool {
		last = try(l.T.Context())
		return (last != nil) == refused
	})
	return last
}

func newLocked(t *testing.T) locked {
	t.Helper()
	c := newCluster(t)
	admin := c.Clusters["prod"].Client()
	c.Must(c.Clusters["prod"].CreateNamespaces(t.Context(), "copies", "opened", "ending"))
	c.namespaces = "[web, api, opened, ending]"
	l := locked{cluster: c, admin: admin}
	token := c.account("anycert")
	l.hub = l.write("lock", token, "")
	l.grants("anycert/anycert", "follower")
	l.await("anycert", "web", "patch", "shop-tls", true)
	// Others keep a Secret where shop would go, before anycert comes.
	theirs := testenv.IssueFrom(t, c.Strangers, certs.Options{Names: []string{"shop.example.com"}})
	l.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: "shop-tls"}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{"tls.crt": theirs.ChainPEM, "tls.key": theirs.KeyPEM}})
	l.Run(l.hub, "sync") // it refuses that one, and makes the others
	ours, err := admin.CoreV1().Secrets("web").Get(t.Context(), "example-tls", metav1.GetOptions{})
	c.Must(err)
	for _, place := range [][2]string{{"copies", "example-tls"}, {"web", "copied-tls"}} { // as a tool that copies Secrets does
		l.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: place[0], Name: place[1], Labels: ours.Labels, Annotations: ours.Annotations}, Type: ours.Type, Data: ours.Data})
	}
	return l
}

func (l locked) create(secret *corev1.Secret) {
	l.T.Helper()
	_, err := l.admin.CoreV1().Secrets(secret.Namespace).Create(l.T.Context(), secret, metav1.CreateOptions{})
	l.Must(err)
}

// begin brings about what the trials are about: an opened namespace, one that is being
// deleted, and a Secret that is being deleted and waits for its finalizer.
func (l locked) begin() {
	l.T.Helper()
	if got := l.Kubectl("prod", "", "label", "namespace", "opened", "anycert.dev/unlocked=true"); got.Code != 0 {
		l.T.Fatal(got)
	}
	going, err := l.admin.CoreV1().Secrets("api").Get(l.T.Context(), "shop-tls", metav1.GetOptions{})
	l.Must(err)
	addFinalizer(going)
	_, err = l.admin.CoreV1().Secrets("api").Update(l.T.Context(), going, metav1.UpdateOptions{})
	l.Must(err)
	l.Must(l.admin.CoreV1().Secrets("api").Delete(l.T.Context(), "shop-tls", metav1.DeleteOptions{}))
	l.Must(l.Clusters["prod"].TerminateNamespace(l.T.Context(), "ending"))
}

func TestLock(t *testing.T) {
	t.Parallel()
	l := newLocked(t)
	l.begin()
	printed := l.Run(l.write("print", "x", ""), "policy", "--lock", "--subject", "anycert/anycert")
	if printed.Code != 0 {
		t.Fatal(printed)
	}
	l.apply(printed.Stdout, l.edit("web", "example-tls", data), true)
	l.administrator()
	l.others()

	clauses := l.clauses()
	said := make([]error, len(clauses))
	for i, c := range clauses {
		if said[i] = c.try(t.Context()); (said[i] != nil) != c.refused {
			t.Errorf("%s: with the lock as it is printed: %v", c.name, said[i])
		}
	}
	var rows []row
	for i, c := range clauses {
		less := strings.Replace(printed.Stdout, c.old, c.new, 1)
		if less == printed.Stdout {
			t.Fatalf("there is no %q to take away", c.old)
		}
		if err := l.apply(less, c.try, !c.refused); err != nil {
			said[i] = err
		}
		rows = append(rows, row{c.name, c.failed, normal(l.World, shortened(said[i].Error()))})
	}
	proof(l.World, "Kubernetes: the lock", "What `anycert policy --lock` prints, in force. An administrator is a user in `system:masters`.", rows)

	l.apply(printed.Stdout, l.edit("web", "example-tls", data), true)
	l.Must(l.Clusters["prod"].FinishNamespace(t.Context(), "ending"))
}

// shortened is what speaks of the refusal itself.
func shortened(text string) string {
	for line := range strings.SplitSeq(text, "\n") {
		if at := strings.Index(line, "permission denied by the ValidatingAdmissionPolicy"); at >= 0 {
			return line[at:]
		}
	}
	_, said, _ := strings.Cut(text, "denied request: ")
	if said, _, fallback := strings.Cut(said, " has("); fallback { // no certificate is named there
		return said + " …"
	}
	return said
}

// administrator tries with kubectl what a person would, and is told where to go.
func (l locked) administrator() {
	l.T.Helper()
	truth := says("web", "example-tls", "example")
	for _, args := range [][]string{
		{"patch", "secret", "example-tls", "--type=merge", "-p", `{"stringData": {"tls.key": "mine"}}`},
		{"annotate", "secret", "example-tls", "anycert.dev/owner-"},
		{"label", "secret", "example-tls", "app.kubernetes.io/managed-by-"},
		{"label", "secret", "example-tls", "mine=yes"},
		{"delete", "secret", "example-tls"},
		{"replace", "--force", "--filename", l.File("mine.yaml", "{apiVersion: v1, kind: Secret, metadata: {name: example-tls}, type: kubernetes.io/tls, stringData: {tls.crt: '', tls.key: ''}}")},
	} {
		if got := l.Kubectl("prod", "", append([]string{"-n", "web"}, args...)...); got.Code == 0 || !got.Says(truth) {
			l.T.Errorf("want %q: %v", truth, got)
		}
	}
	if err := l.deleteAll("web")(l.T.Context()); err == nil || !strings.Contains(err.Error(), truth) {
		l.T.Errorf("all Secrets of the namespace at once: %v", err)
	}
	if got := l.Run(l.hub, "audit", "--only", "prod/web/example-tls"); got.Code != 0 {
		l.T.Errorf("nothing was to be changed: %v", got)
	}
}

// others do what they may, through and beside the lock.
func (l locked) others() {
	l.T.Helper()
	unchanged := l.Kubectl("prod", "", "-n", "web", "get", "secrets", "-o", "json")
	for _, args := range [][]string{
		{"-n", "web", "replace", "-f", "-"}, // the documented way to encrypt all Secrets anew
		{"-n", "web", "create", "secret", "generic", "other"},
		{"-n", "web", "label", "secret", "other", "mine=yes"},
		{"-n", "web", "delete", "secret", "other"},
		{"-n", "opened", "label", "secret", "example-tls", "mine=yes"},
		{"label", "namespace", "opened", "anycert.dev/unlocked-"},
	} {
		if got := l.Kubectl("prod", unchanged.Stdout, args...); got.Code != 0 {
			l.T.Error(got)
		}
	}
	closed := l.edit("opened", "example-tls", data)
	l.until("the namespace is closed again", func() bool { return closed(l.T.Context()) != nil })
	if got := l.Kubectl("prod", "", "label", "namespace", "opened", "anycert.dev/unlocked=true"); got.Code != 0 {
		l.T.Fatal(got)
	}
	l.until("the namespace is open again", func() bool { return closed(l.T.Context()) == nil })
	l.Must(l.ourOwn(l.T.Context()))
	chain, _ := l.InCluster("prod", "web", "example-tls")
	if err := l.Stored("example").Same(chain, l.Stored("example").Key); err != nil {
		l.T.Errorf("anycert's own write did not arrive: %v", err)
	}
}

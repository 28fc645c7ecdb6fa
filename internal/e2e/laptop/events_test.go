package laptop

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/leak"
	"github.com/anycert/anycert/internal/testenv/world"
)

const eventful = `version: 1
owner: hub
store: {{.Store .Root}}
certificates:
  - {name: example, domains: [example.com]}
sinks:
  - {name: prod, type: kubernetes, certificates: ["*"], config: { {{.Reach "prod" .Token}}, namespaces: [web]}}
reconcile: {schedule: "@every 5s"}
http: {listen: "127.0.0.1:0"}
`

// cluster is a world in which anycert has exactly the rights that it prints.
type cluster struct {
	*world.World
	config string
}

func newCluster(t *testing.T, options world.Options) cluster {
	t.Helper()
	options.Clusters = []string{"prod"}
	w := world.New(t, options)
	w.Must(w.Clusters["prod"].CreateNamespaces(t.Context(), "anycert", "web"))
	if got := w.Kubectl("prod", "", "-n", "anycert", "create", "serviceaccount", "anycert"); got.Code != 0 {
		t.Fatal(got)
	}
	token, err := w.Clusters["prod"].Token(t.Context(), "anycert", "anycert")
	w.Must(err)
	c := cluster{World: w}
	c.config = w.Config("hub.yaml", eventful, struct {
		*world.World
		Token string
	}{w, token})
	printed := w.Run(c.config, "policy", "follower", "--only", "prod")
	if got := w.Kubectl("prod", printed.Stdout, "apply", "-f", "-"); printed.Code != 0 || got.Code != 0 {
		t.Fatal(printed, got)
	}
	c.may(true)
	return c
}

// may waits until the API server lets anycert make Events, or does not.
func (c cluster) may(want bool) {
	c.T.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		review, err := c.Clusters["prod"].Client().AuthorizationV1().SubjectAccessReviews().Create(c.T.Context(), &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{User: "system:serviceaccount:anycert:anycert",
				ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: "web", Verb: "patch", Group: "events.k8s.io", Resource: "events"}}}, metav1.CreateOptions{})
		c.Must(err)
		if review.Status.Allowed == want {
			return
		}
		if time.Now().After(deadline) {
			c.T.Fatalf("waited in vain until Events are allowed: %t", want)
		}
	}
}

// events are those in the namespace.
func (c cluster) events() (all []eventsv1.Event) {
	c.T.Helper()
	list, err := c.Clusters["prod"].Client().EventsV1().Events("web").List(c.T.Context(), metav1.ListOptions{})
	c.Must(err)
	return list.Items
}

// says fails unless there are n Events, and one of a reason whose note holds a text: soon,
// for a daemon tells what it did after it did it.
func (c cluster) says(n int, reason, text string) {
	c.T.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		all := c.events()
		counted, said := tally(all, reason, text)
		if said && counted == n {
			return
		}
		if time.Now().Before(deadline) {
			continue
		}
		c.T.Errorf("want %d Events and a %s with %q, there are:", n, reason, text)
		for _, event := range all {
			c.T.Errorf("  %s: %s", event.Reason, event.Note)
		}
		return
	}
}

// tally counts Events, and tells whether one of a reason has a note that holds a text.
// What is said again in another hour of the clock is another Event, and counts as one.
func tally(all []eventsv1.Event, reason, text string) (counted int, said bool) {
	hours := map[string]time.Time{}
	for _, event := range all {
		about, _, _ := strings.Cut(event.Note, ": ")
		hour := event.EventTime.Truncate(time.Hour)
		if was, known := hours[event.Reason+about]; !known || was.Equal(hour) {
			counted++
		}
		hours[event.Reason+about] = hour
		said = said || event.Reason == reason && strings.Contains(event.Note, text)
	}
	return counted, said
}

// passes waits until the daemon has looked at our Secret n times more.
func (c cluster) passes(d *world.Daemon, n int) {
	c.T.Helper()
	m := c.Now()
	d.Await("makes passes", func() error {
		looks := 0
		for _, r := range c.ClusterSince(m, "prod") {
			if r.Verb == "get" && r.Name == "example-tls" {
				looks++
			}
		}
		if looks < n {
			return fmt.Errorf("it looked %d times", looks)
		}
		return nil
	})
}

// holds waits until the Secret holds a pair.
func (c cluster) holds(d *world.Daemon, pair certs.Pair) {
	c.T.Helper()
	d.Await("has pushed", func() error {
		if chain, _ := c.InCluster("prod", "web", "example-tls"); !bytes.Equal(chain, pair.ChainPEM) {
			return errors.New("the Secret holds another certificate")
		}
		return nil
	})
}

// Somebody else keeps changing the Secret back, then the store goes back: both are told
// once, however many passes the daemon makes, in every place where people look.
func TestEventsOfADaemon(t *testing.T) {
	t.Parallel()
	c := newCluster(t, world.Options{Raft: true})
	issue := func() certs.Pair {
		return testenv.IssueFrom(t, c.Strangers, certs.Options{Names: []string{"example.com"}})
	}
	first, second, rival := issue(), issue(), issue()
	c.Put("example", first)
	d := c.Daemon(c.config)
	c.holds(d, first)
	for range 3 {
		secrets := c.Clusters["prod"].Client().CoreV1().Secrets("web")
		secret, err := secrets.Get(t.Context(), "example-tls", metav1.GetOptions{})
		c.Must(err)
		secret.Data["tls.crt"], secret.Data["tls.key"] = rival.ChainPEM, rival.KeyPEM
		_, err = secrets.Update(t.Context(), secret, metav1.UpdateOptions{FieldManager: "cert-manager"})
		c.Must(err)
		c.holds(d, first)
	}
	c.passes(d, 2) // the first look may be for the Event about the last push
	c.says(2, "Contested", "version 1 of certificate example was pushed once more: ")
	c.says(2, "Contested", "contested by cert-manager, 2 times within the hour: let one of the two go")
	m := c.Now()
	c.passes(d, 2)
	c.WroteNothing("passes in which nobody changed anything", m)

	snapshot, err := c.Vault.Snapshot(t.Context())
	c.Must(err)
	until := time.Now().Truncate(time.Second).Add(time.Second) // marks know whole seconds
	time.Sleep(time.Until(until))
	c.Put("example", second)
	c.holds(d, second)
	c.Must(c.Vault.Restore(t.Context(), snapshot))
	d.Await("holds", func() error {
		if got := c.Kubectl("prod", "", "-n", "web", "get", "events", "--field-selector", "reason=Held"); !got.Says("secret/example-tls") {
			return errors.New(got.String())
		}
		return nil
	})
	m = c.Now()
	c.passes(d, 2)
	c.WroteNothing("passes in which it is held", m)
	c.says(4, "Pushed", "version 2 of certificate example was pushed: ")
	c.says(4, "Held", "version 1 of certificate example is not pushed: ")

	keys, err := leak.New(leak.Secret{Name: "the first key", PEM: first.KeyPEM}, leak.Secret{Name: "the second", PEM: second.KeyPEM}, leak.Secret{Name: "the rival's", PEM: rival.KeyPEM})
	c.Must(err)
	if found := keys.Bytes("Events", []byte(fmt.Sprint(c.events()))); len(found) > 0 {
		t.Error(found)
	}
	for _, look := range [][]string{
		{"events", "--for", "secret/example-tls"},
		{"get", "events", "--field-selector", "involvedObject.kind=Secret,involvedObject.name=example-tls"},
	} {
		if got := c.Kubectl("prod", "", append([]string{"-n", "web"}, look...)...); got.Code != 0 || !got.Says("Contested") || !got.Says("Held") {
			t.Error(got)
		}
	}
}

// What a pass did is told in the namespace; a pass that did nothing says nothing.
func TestEvents(t *testing.T) {
	t.Parallel()
	c := newCluster(t, world.Options{})
	pair := testenv.IssueFrom(t, c.Strangers, certs.Options{Names: []string{"example.com"}})
	c.Put("example", pair)
	c.Kept(c.Report(0, c.config, "sync"))
	c.says(1, "Pushed", "version 1 of certificate example was pushed: ")

	m := c.Now()
	c.Kept(c.Report(0, c.config, "sync"))
	c.WroteNothing("an unchanged pass", m)

	label := []string{"-n", "web", "label", "secret", "example-tls", "app.kubernetes.io/managed-by-", "--overwrite"}
	for range 3 { // broken again and again: one Event
		if got := c.Kubectl("prod", "", label...); got.Code != 0 {
			t.Fatal(got)
		}
		c.Kept(c.Report(0, c.config, "sync"))
	}
	c.says(2, "Mended", "version 1 of certificate example was there, and mended: ")

	// As after a snapshot of Vault was restored: the mark tells of what came later.
	if got := c.Kubectl("prod", "", "-n", "web", "annotate", "secret", "example-tls", "--overwrite", "anycert.dev/digest=sha256:"+strings.Repeat("0", 64),
		"anycert.dev/version-time="+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)); got.Code != 0 {
		t.Fatal(got)
	}
	c.Report(1, c.config, "sync")
	c.Report(1, c.config, "sync")
	c.says(3, "Held", "version 1 of certificate example is not pushed: ")

	keys, err := leak.New(leak.Secret{Name: "the key", PEM: pair.KeyPEM})
	c.Must(err)
	if found := keys.Bytes("Events", []byte(fmt.Sprint(c.events()))); len(found) > 0 {
		t.Error(found)
	}
	if got := c.Kubectl("prod", "", "-n", "web", "events", "--for", "secret/example-tls"); got.Code != 0 || !got.Says("Pushed") || !got.Says("Held") {
		t.Error(got)
	}
}

// The right is optional: without it nothing fails, and it is said where one looks for it.
func TestEventsWithoutTheRight(t *testing.T) {
	t.Parallel()
	c := newCluster(t, world.Options{})
	if got := c.Run(c.config, "check", "--connect"); got.Code != 0 || !strings.Contains(got.Stdout, "sink prod: ok\n") {
		t.Error(got)
	}
	c.Must(c.Clusters["prod"].Client().RbacV1().RoleBindings("web").Delete(t.Context(), "anycert.hub.prod.events", metav1.DeleteOptions{}))
	c.may(false)
	c.Put("example", testenv.IssueFrom(t, c.Strangers, certs.Options{Names: []string{"example.com"}}))
	m := c.Now()
	got := c.Run(c.config, "sync", "--log-level", "debug")
	for _, r := range c.ClusterSince(m, "prod") { // nobody who reads the audit log is alarmed
		if r.Status == 403 {
			t.Errorf("the API server denied %+v", r)
		}
	}
	if got.Code != 0 || strings.Count(got.Stderr, "the people at a sink could not be told") != 1 || !got.Says("verbs: [create, patch]") {
		t.Error(got)
	}
	c.Put("example", testenv.IssueFrom(t, c.Strangers, certs.Options{Names: []string{"example.com"}}))
	if got := c.Run(c.config, "sync"); got.Code != 0 || !got.Says("replaced") || got.Says("Event") || got.Says("could not be told") {
		t.Errorf("without debug, of what nobody has to allow: %v", got)
	}
	if all := c.events(); len(all) != 0 {
		t.Errorf("there are Events: %v", all)
	}
	if got := c.Run(c.config, "check", "--connect"); got.Code != 0 || !got.Says("sink prod: ok, but no Events are made about its Secrets in web: ") {
		t.Error(got)
	}
}

package kubernetes_test

import (
	"strings"
	"testing"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/sinks/kubernetes"
)

// events are those of a namespace, without those of tests before: they are deleted.
func (r *rig) events(namespace string) []eventsv1.Event {
	r.t.Helper()
	list, err := r.Client().EventsV1().Events(namespace).List(r.ctx(), metav1.ListOptions{})
	r.must(err)
	return list.Items
}

func (r *rig) noEvents() {
	r.t.Helper()
	for _, namespace := range []string{"web", "api"} {
		r.must(r.Client().EventsV1().Events(namespace).DeleteCollection(r.ctx(), metav1.DeleteOptions{}, metav1.ListOptions{}))
	}
}

func TestTell(t *testing.T) {
	r := cluster(t)
	r.noEvents()
	r.grant([]string{"web"}, r.rule("events", "create"))
	config := r.config()
	config.Namespaces = []string{"web"}
	sink := r.open("hub", config)
	target := targets(t, sink)[0]
	one, _ := versions(t)
	mustPush(t, sink, target, one)
	hour := time.Now().Truncate(time.Hour)
	for _, kind := range []anycert.EventKind{anycert.Pushed, anycert.Mended, anycert.Contested, anycert.Held} {
		event := anycert.Event{Kind: kind, Reason: "because of " + string(kind), Version: one.Entry.Version, Time: one.Entry.Time}
		for range 5 { // again and again
			r.must(sink.Tell(t.Context(), target, event))
		}
		r.must(r.open("hub", config).Tell(t.Context(), target, event)) // another process says the same
	}
	secret := r.get("web", "example-tls")
	found := map[string]eventsv1.Event{}
	for _, event := range r.events("web") {
		found[event.Reason] = event
		if event.ReportingController != "anycert.dev" || event.ReportingInstance != "anycert/hub" ||
			event.Regarding.Kind != "Secret" || event.Regarding.Name != "example-tls" || event.Regarding.UID != secret.UID {
			t.Errorf("%+v", event)
		}
		if text := string(encode(t, event)); strings.Contains(text, r.token) || strings.Contains(text, "PRIVATE KEY") || strings.Contains(text, string(secret.Data["tls.key"][40:80])) {
			t.Errorf("an Event shows a secret: %s", text)
		}
	}
	for reason, want := range map[string]struct{ kind, note string }{
		"Pushed":    {"Normal", "version 1 of certificate example was pushed: because of pushed"},
		"Mended":    {"Normal", "version 1 of certificate example was there, and mended: because of mended"},
		"Contested": {"Warning", "version 1 of certificate example was pushed once more: because of contested"},
		"Held":      {"Warning", "version 1 of certificate example is not pushed: because of held"},
	} {
		if got := found[reason]; got.Type != want.kind || got.Note != want.note {
			t.Errorf("%s: %s %q, want %s %q", reason, got.Type, got.Note, want.kind, want.note)
		}
	}
	if n := len(r.events("web")); n != 4 && time.Now().Truncate(time.Hour).Equal(hour) { // the next hour's are others
		t.Errorf("there are %d Events, want one of each kind", n)
	}
}

// What comes up again and again is counted in the Event that is there.
func TestTellCounts(t *testing.T) {
	r := cluster(t)
	r.noEvents()
	r.grant([]string{"web"}, r.rule("events", "create"))
	config := r.config()
	config.Namespaces = []string{"web"}
	sink := r.open("hub", config)
	target := targets(t, sink)[0]
	one, _ := versions(t)
	mustPush(t, sink, target, one)
	tell := func() {
		t.Helper()
		r.must(sink.Tell(t.Context(), target, anycert.Event{Kind: anycert.Mended, Reason: "a label is missing", Version: 1}))
	}
	for range 5 {
		tell()
	}
	sink.Later(10 * time.Minute)
	tell()
	tell()
	sink.Later(10 * time.Minute)
	tell()
	events := r.events("web")
	if len(events) != 1 || events[0].Series == nil || events[0].Series.Count != 8 || time.Since(events[0].Series.LastObservedTime.Time) > time.Minute {
		t.Errorf("%+v", events)
	}
}

// Without the right, that is said once, and nothing else fails.
func TestTellWithoutTheRight(t *testing.T) {
	r := cluster(t)
	r.noEvents()
	r.grant([]string{"web"})
	config := r.config()
	config.Namespaces = []string{"web"}
	sink := r.open("hub", config)
	target := targets(t, sink)[0]
	one, _ := versions(t)
	mustPush(t, sink, target, one)
	event := anycert.Event{Kind: anycert.Pushed, Version: 1}
	wants(t, sink.Tell(t.Context(), target, event), anycert.ErrForbidden, "writing an Event about Secret web/example-tls", "verbs: [create, patch]", "`anycert policy` prints")
	event.Kind = anycert.Mended
	r.must(sink.Tell(t.Context(), target, event))
	if n := len(r.events("web")); n != 0 {
		t.Errorf("%d Events were made without the right", n)
	}
	r.must(sink.Probe(t.Context()))
	advice, err := sink.Advise(t.Context())
	if err != nil || !strings.HasPrefix(advice, "no Events are made about its Secrets in web") {
		t.Error(advice, err)
	}
}

// An Event about what is gone is not made, and the rest of the pass is told.
func TestTellOfWhatIsGone(t *testing.T) {
	r := cluster(t)
	r.noEvents()
	r.grant([]string{"web"}, r.rule("events", "create"))
	config := r.config()
	config.Namespaces = []string{"web"}
	sink := r.open("hub", config)
	r.must(sink.Tell(t.Context(), targets(t, sink)[0], anycert.Event{Kind: anycert.Pushed, Version: 1}))
	if n := len(r.events("web")); n != 0 {
		t.Errorf("%d Events were made", n)
	}
	advice, err := sink.Advise(t.Context())
	if err != nil || advice != "" {
		t.Error(advice, err)
	}
}

var _ anycert.Teller = (*kubernetes.Sink)(nil)

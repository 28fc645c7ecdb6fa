package canary

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/hookserver"
	"github.com/anycert/anycert/internal/testenv/vaultserver"
	"github.com/anycert/anycert/internal/testenv/world"
)

const dozen = `version: 1
owner: hub
store: {{.Store .Root}}
issuers: [{{.Issuer "pebble"}}]
certificates:
  - {name: example, domains: [example.com, "*.example.com"], issuer: pebble}
sinks:
  - {name: app, type: fly, certificates: [example], config: { {{.AtFly "example-web"}}, hostnames: [example.com, "*.example.com"]}}
  - {name: edge, type: fastly, certificates: [example], config: { {{.AtFastly}} }}
  - {name: one, type: file, certificates: [example], config: {dir: {{.Files}}/one}}
  - {name: prod, type: kubernetes, certificates: [example], config: { {{.Admin "prod"}}, namespaces: [a, b, c, d, e, f]}}
  - {name: two, type: file, certificates: [example], config: {dir: {{.Files}}/two}}
notify: [{name: oncall, webhook: {url: {{.Reference .Hook.URL}}, secret: {{.Reference .Hook.Secret}}}}]
reconcile: {schedule: "@every 5s"}
http: {listen: "127.0.0.1:0"}
`

const targets = 12

// braked is a certificate at a dozen targets.
type braked struct {
	*estate
	Hook *hookserver.Server
}

func newBraked(t *testing.T) *braked {
	t.Helper()
	b := &braked{estate: &estate{World: world.New(t, world.Options{Clusters: []string{"prod"}})}}
	b.Hook = hookserver.Start("hook-"+rand.Text(), []byte(rand.Text()+rand.Text()))
	t.Cleanup(b.Hook.Close)
	b.Must(b.Clusters["prod"].CreateNamespaces(t.Context(), "a", "b", "c", "d", "e", "f"))
	b.config = b.Config("hub.yaml", dozen, b)
	b.everywhere("at first", b.Report(0, b.config, "sync"))
	return b
}

// another is a certificate that is as good as the issuer's, and not its.
func (b *braked) another() certs.Pair {
	b.T.Helper()
	return b.issue(time.Hour, 90*day, "example.com", "*.example.com")
}

// lies is what lies at a target.
func (b *braked) lies(p world.Promise) []byte {
	if p.Sink == "one" || p.Sink == "two" {
		chain, _ := b.InFiles(filepath.Join(b.Files, p.Sink), p.Certificate)
		return chain
	}
	return b.at(p)
}

// everywhere expects that a report keeps a dozen promises, and that they are kept.
func (b *braked) everywhere(when string, r world.Report) {
	b.T.Helper()
	b.Kept(r)
	stored := b.Stored("example")
	for _, p := range r.Promises {
		if !bytes.Equal(b.lies(p), stored.Chain) {
			b.T.Errorf("%s: another chain than that of version %d lies at %v", when, stored.Version, p)
		}
	}
	if len(r.Promises) != targets {
		b.T.Errorf("%s: %d promises", when, len(r.Promises))
	}
}

// still expects that all promises are held by the brake, and that a chain lies everywhere.
func (b *braked) still(when string, r world.Report, old world.Stored) {
	b.T.Helper()
	for _, p := range r.Promises {
		if p.Verdict != "held" || p.Action != "" || p.Pushed || !strings.HasPrefix(p.Reason, "brake: 12 of 12 valid certificates would be replaced at once by what no issuer just made") ||
			!strings.Contains(p.Reason, "`anycert sync --yes`") {
			b.T.Errorf("%s: %v", when, p)
		}
		if !bytes.Equal(b.lies(p), old.Chain) {
			b.T.Errorf("%s: another chain than that of version %d lies at %v", when, old.Version, p)
		}
	}
	if len(r.Promises) != targets {
		b.T.Errorf("%s: %d promises", when, len(r.Promises))
	}
}

// wroteNothing expects that no place was written to. Vault may be told by the first who
// sees it what a person wrote there by hand.
func (b *braked) wroteNothing(when string, m moment, files map[string]string) {
	b.T.Helper()
	if got := since(b.World, m); got != (pushes{}) {
		b.T.Errorf("%s: places were written to: %+v", when, got)
	}
	if diff := cmp.Diff(files, b.ListFiles()); diff != "" {
		b.T.Errorf("%s: files were touched (-before +after):\n%s", when, diff)
	}
	for _, r := range vaultserver.Writes(b.VaultSince(m.Moment)) {
		if !strings.HasPrefix(r.Path, "secret/metadata/") && !strings.Contains(r.Path, "/alarms/") && !strings.Contains(r.Path, "/renewals/") {
			b.T.Errorf("%s: Vault was asked to %s %s", when, r.Operation, r.Path)
		}
	}
}

// A person writes another certificate into the store, as good as the one that is served at
// a dozen targets. Nobody takes it there until a person says that it is right.
func TestTheBrakeHolds(t *testing.T) {
	t.Parallel()
	b := newBraked(t)
	old := b.Stored("example")
	b.Put("example", b.another()) // vault kv put
	m, files := mark(b.World), b.ListFiles()
	b.still("sync", b.Report(1, b.config, "sync"), old)
	b.still("another sync", b.Report(1, b.config, "sync"), old)
	b.still("audit", b.Report(2, b.config, "audit"), old)
	b.still("status", b.Report(0, b.config, "status"), old)
	for _, verb := range []string{"sync", "audit"} {
		if got := b.Run(b.config, verb); !got.Says("12 promises: 12 held") || !got.Says("held brake: 12 of 12 valid certificates") || !got.Says("(here: version 2, written by hand at ") {
			t.Error(got)
		}
	}
	b.wroteNothing("verbs", m, files)

	d := b.Daemon(b.config)
	alarm := told(d, b.Hook, "start critical promise/prod/example")
	if !strings.Contains(alarm.Alarm.Text, "brake: 12 of 12 valid certificates") || !strings.Contains(alarm.Alarm.Text, "anycert sync --yes") {
		t.Errorf("the alarm says %s", alarm.Alarm.Text)
	}
	passes(b.World, d, "prod", 3)
	d.AwaitUnready("brake: ")
	b.wroteNothing("three passes of the daemon", m, files)
	b.eventsHeld(2)

	b.everywhere("with a person's word", b.Report(0, b.config, "sync", "--yes"))
	d.AwaitReady()
	told(d, b.Hook, "end critical promise/prod/example")

	// The same by a verb, under the eyes of the daemon.
	old = b.Stored("example")
	pair := b.another()
	m, files = mark(b.World), b.ListFiles()
	got := b.Run(b.config, "import", "example", "--replace", "--cert", b.File("new.crt", string(pair.ChainPEM)), "--key", b.File("new.key", string(pair.KeyPEM)))
	if got.Code != 0 {
		t.Fatal(got)
	}
	d.AwaitUnready("brake: ")
	passes(b.World, d, "prod", 3)
	if writes := since(b.World, m); writes != (pushes{}) {
		t.Errorf("the daemon wrote to places: %+v", writes)
	}
	if diff := cmp.Diff(files, b.ListFiles()); diff != "" {
		t.Errorf("the daemon touched files (-before +after):\n%s", diff)
	}
	b.still("sync of what was imported", b.Report(1, b.config, "sync"), old)
	b.eventsHeld(3)
	b.everywhere("with a person's word again", b.Report(0, b.config, "sync", "--yes"))
	d.AwaitReady()
	d.End()
}

// eventsHeld expects an Event in each namespace that says that a version is held.
func (b *braked) eventsHeld(version int) {
	b.T.Helper()
	for _, namespace := range []string{"a", "b", "c", "d", "e", "f"} {
		events, err := b.Clusters["prod"].Client().EventsV1().Events(namespace).List(b.T.Context(), metav1.ListOptions{FieldSelector: "reason=Held"})
		b.Must(err)
		found := false
		for _, e := range events.Items {
			found = found || strings.HasPrefix(e.Note, fmt.Sprintf("version %d of certificate example is not pushed: brake: ", version)) && e.Regarding.Name == "example-tls" && e.Type == "Warning"
		}
		if !found {
			b.T.Errorf("no Event in namespace %s says that version %d is held: %+v", namespace, version, events.Items)
		}
	}
}

// What an issuer just made is everywhere in one pass, and so is what a person goes back
// to, and what is missing.
func TestTheBrakeLetsThrough(t *testing.T) {
	t.Parallel()
	b := newBraked(t)
	first := b.Stored("example")
	if got := b.Run(b.config, "renew", "example"); got.Code != 0 {
		t.Error(got)
	}
	b.everywhere("a renewal", b.Report(0, b.config, "sync"))
	if now := b.Stored("example"); now.Version != 2 {
		t.Errorf("version %d is in Vault", now.Version)
	}

	if got := b.Run(b.config, "rollback", "example", "--to", "1"); got.Code != 0 {
		t.Error(got)
	}
	r := b.Report(0, b.config, "sync")
	b.everywhere("going back", r)
	if n := len(r.Acted()); n != targets {
		t.Errorf("%d targets were written to by going back", n)
	}
	if err := first.Same(b.InCluster("prod", "f", "example-tls")); err != nil {
		t.Error(err)
	}

	for _, namespace := range []string{"a", "b", "c", "d", "e", "f"} {
		b.Must(b.Clusters["prod"].Client().CoreV1().Secrets(namespace).Delete(t.Context(), "example-tls", metav1.DeleteOptions{}))
	}
	r = b.Report(0, b.config, "sync")
	b.everywhere("every Secret was deleted", r)
	if n := len(r.Acted()); n != 6 {
		t.Errorf("%d Secrets are back", n)
	}
}

// What is missing is created with what the brake holds elsewhere.
func TestTheBrakeCreatesWhatIsMissing(t *testing.T) {
	t.Parallel()
	b := newBraked(t)
	old := b.Stored("example")
	b.Put("example", b.another())
	b.Must(b.Clusters["prod"].Client().CoreV1().Secrets("c").Delete(t.Context(), "example-tls", metav1.DeleteOptions{}))
	fresh := b.Stored("example")
	for _, p := range b.Report(1, b.config, "sync").Promises {
		want, verdict := old, "held"
		if p.Target == "c/example-tls" {
			want, verdict = fresh, "kept"
		}
		if p.Verdict != verdict || !bytes.Equal(b.lies(p), want.Chain) {
			t.Errorf("want %s: %v", verdict, p)
		}
	}
}

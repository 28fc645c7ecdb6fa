package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/certs"
)

// teller is a sink that notes what it is told.
type teller struct {
	anycert.Sink
	mu   sync.Mutex
	told []string
	err  error
}

func (s *teller) Tell(_ context.Context, target anycert.Target, event anycert.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, fmt.Sprintf("%s %s %d", event.Kind, target.Label, event.Version))
	return s.err
}

// heard returns what was told since it was asked last.
func (s *teller) heard() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	told := s.told
	s.told = nil
	slices.Sort(told)
	return told
}

// telling is a world whose one sink is a teller.
func telling(t *testing.T) (*world, *teller) {
	t.Helper()
	w := newWorld(t, "prod")
	sink := &teller{Sink: w.sides["prod"].Sink("prod")}
	parts := w.hub.Parts
	parts.Agents = []Agent{{Name: "prod", Type: "memory", Sink: sink, Certificates: parts.Certificates}}
	w.hub = w.hub.With(parts)
	return w, sink
}

func TestTell(t *testing.T) {
	w, sink := telling(t)
	expect := func(what string, want ...string) {
		t.Helper()
		w.hub.Sync(t.Context(), SyncOptions{NoIssue: true})
		if got := sink.heard(); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	labels := func(kind string, version int) (all []string) {
		targets, err := sink.Targets(example.Name, example.Domains)
		if err != nil {
			t.Fatal(err)
		}
		for _, target := range targets {
			all = append(all, fmt.Sprintf("%s %s %d", kind, target.Label, version))
		}
		slices.Sort(all)
		return all
	}
	expect("first", labels("pushed", 1)...)
	expect("an unchanged pass")
	w.put("example", certs.Options{})
	expect("a new version", labels("pushed", 2)...)
	expect("an unchanged pass")
	w.hub.Audit(t.Context(), Only{})
	if got := sink.heard(); len(got) > 0 {
		t.Errorf("an audit told %q", got)
	}
}

// What a promise became decides what is told; one that goes on being held is told once.
func TestTellKinds(t *testing.T) {
	var memory told
	entry := &anycert.Entry{Name: "example", Version: 3, Time: time.Now()}
	base := Promise{Certificate: "example", Sink: "prod", Key: "k", Version: 3, sighting: &sighting{known: Known{Entry: entry}}}
	with := func(change func(*Promise)) Promise {
		p := base
		change(&p)
		return p
	}
	held := with(func(p *Promise) { p.Verdict, p.Reason = Held, "older" })
	tests := []struct {
		what string
		p    Promise
		want anycert.EventKind
	}{
		{"kept", with(func(p *Promise) { p.Verdict = Kept }), ""},
		{"pushed", with(func(p *Promise) { p.Verdict, p.Pushed, p.Action = Kept, true, Replace }), anycert.Pushed},
		{"mended", with(func(p *Promise) { p.Verdict, p.Pushed, p.Action = Kept, true, Mend }), anycert.Mended},
		{"contested", with(func(p *Promise) { p.Verdict, p.Pushed, p.Action, p.contested = Kept, true, Mend, "x" }), anycert.Contested},
		{"failed", with(func(p *Promise) { p.Verdict, p.Pushed, p.Err = Broken, true, errors.New("x") }), ""},
		{"pushed, and broken again", with(func(p *Promise) { p.Verdict, p.Pushed = Broken, true }), ""},
		{"held", held, anycert.Held},
		{"still held", held, ""},
		{"unknown for once", with(func(p *Promise) { p.Verdict = Kept }), ""},
		{"held anew", held, anycert.Held},
	}
	for _, test := range tests {
		event, worth := memory.event(test.p)
		if event.Kind != test.want || worth != (test.want != "") || worth && (event.Version != 3 || !event.Time.Equal(entry.Time)) {
			t.Errorf("%s: %+v, %t, want %q", test.what, event, worth, test.want)
		}
	}
}

// Telling is a courtesy: that it fails, or panics, changes no verdict.
func TestTellThatFails(t *testing.T) {
	w, sink := telling(t)
	sink.err = fmt.Errorf("no Events: %w", anycert.ErrForbidden)
	report := w.hub.Sync(t.Context(), SyncOptions{NoIssue: true})
	if report.SyncExit() != ExitOK || len(sink.heard()) != 2 {
		t.Errorf("%+v", report.Promises)
	}
	if strings.Contains(w.log.String(), "could not be told") {
		t.Error("a right that nobody has to give is told above debug")
	}
	parts := w.hub.Parts
	parts.Agents = []Agent{{Name: "prod", Type: "memory", Sink: panicking{sink.Sink}, Certificates: parts.Certificates}}
	w.put("example", certs.Options{})
	if report := w.hub.With(parts).Sync(t.Context(), SyncOptions{NoIssue: true}); report.SyncExit() != ExitOK {
		t.Errorf("%+v", report.Promises)
	}
}

// That a promise is held is told once, which is when somebody has heard it.
func TestTellHeldUntilItIsHeard(t *testing.T) {
	w, sink := telling(t)
	var memory told
	held := []Promise{{Certificate: "example", Sink: "prod", Key: "k", Verdict: Held, Reason: "older", sighting: new(sighting)}}
	for i, test := range []struct {
		err   error
		heard int
	}{
		{errors.New("connection refused"), 1},
		{nil, 1}, // once more, for nobody heard it
		{nil, 0},
	} {
		sink.err = test.err
		memory.tell(t.Context(), Agent{Name: "prod", Sink: sink}, held, w.hub.log)
		if got := sink.heard(); len(got) != test.heard {
			t.Errorf("pass %d: told %q, want %d", i+1, got, test.heard)
		}
	}
}

type panicking struct{ anycert.Sink }

func (panicking) Tell(context.Context, anycert.Target, anycert.Event) error { panic("told") }

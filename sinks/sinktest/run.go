package sinktest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/anycert/anycert"
)

// law is one promise of a sink. check fails t when it is broken.
type law struct {
	name  string
	says  string // for the person who adds a sink
	check func(t testing.TB, s *side)
	needs func(h *Harness) bool // nil: every sink has it
}

// Run holds a sink to all laws. newHarness is called once for each law.
func Run(t *testing.T, newHarness func(t testing.TB) *Harness) {
	t.Run("Harness", func(t *testing.T) { checkHarness(t, newHarness(t)) })
	for _, law := range laws() {
		t.Run(law.name, func(t *testing.T) { law.run(t, newHarness(t)) })
	}
	for _, law := range tamperLaws(newHarness(t)) {
		t.Run(law.name, func(t *testing.T) { law.run(t, newHarness(t)) })
	}
}

// run checks one law, and tells the newcomer what it says when it is broken.
func (l law) run(t testing.TB, h *Harness) {
	if l.needs != nil && !l.needs(h) {
		t.Log("left out: the harness says why in Without")
		return
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("are you adding a new sink? The law %q says: %s", l.name, l.says)
		}
	})
	l.check(t, newSide(t, h))
}

// checkHarness fails unless every hook that is missing has its reason.
func checkHarness(t testing.TB, h *Harness) {
	required := map[string]bool{
		"New":         h.New != nil,
		"Certificate": h.Certificate != "",
		"Names":       len(h.Names) > 0,
		"Served":      h.Served != nil,
		"Writes":      h.Writes != nil,
		"Tamper":      len(h.Tamper) > 0,
	}
	for name, there := range required {
		if !there {
			t.Errorf("Harness.%s is missing: every sink has it", name)
		}
	}
	if t.Failed() {
		return
	}
	for name, there := range optional(h) {
		reason := strings.TrimSpace(h.Without[name])
		switch {
		case there && reason != "":
			t.Errorf("Harness.Without[%q] gives a reason (%s) for what is there: take it out", name, reason)
		case !there && reason == "":
			t.Errorf("the harness has no %s: fill it in, or say in Harness.Without[%q] why this sink cannot have it", name, name)
		case !there:
			t.Logf("left out: %s: %s", name, reason)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(h.Without)) {
		if _, ok := optional(h)[name]; !ok {
			t.Errorf("Harness.Without[%q]: there is nothing of that name to leave out", name)
		}
	}
}

func optional(h *Harness) map[string]bool {
	sink := h.New(Owner)
	_, lists := sink.(anycert.OrphanLister)
	_, removes := sink.(anycert.OrphanRemover)
	return map[string]bool{
		"Foreign":     len(h.Foreign) > 0,
		"FailWrite":   h.FailWrite != nil,
		"Forbid":      h.Forbid != nil,
		"Unavailable": h.Unavailable != nil,
		"Hang":        h.Hang != nil,
		"Orphans":     lists,
		"Remove":      removes,
		// What only an answer can tell is held against the reason by the laws.
		"Mark": h.Without["Mark"] == "",
		"Key":  h.Without["Key"] == "",
	}
}

// side is one harness at work: a client, its targets and three versions to push.
type side struct {
	*Harness
	sink    anycert.Sink
	targets []anycert.Target
	make    *maker
	older   Pair
	newer   Pair
	newest  Pair
}

func newSide(t testing.TB, h *Harness) *side {
	t.Helper()
	s := &side{Harness: h, sink: h.New(Owner), make: newMaker(t, h.Certificate, h.Names)}
	s.older, s.newer, s.newest = s.make.version(t, 1), s.make.version(t, 2), s.make.version(t, 3)
	var err error
	if s.targets, err = s.sink.Targets(h.Certificate, h.Names); err != nil {
		t.Fatalf("Targets(%q, %q): %v", h.Certificate, h.Names, err)
	}
	if len(s.targets) == 0 {
		t.Fatalf("Targets(%q, %q) names none: the harness needs names that have a place", h.Certificate, h.Names)
	}
	return s
}

// push does what one pass does: Push, then Finish where there is one.
func push(ctx context.Context, sink anycert.Sink, target anycert.Target, pair Pair) error {
	if err := sink.Push(ctx, target, pair.Entry, pair.Bundle); err != nil {
		return err
	}
	if finisher, ok := sink.(anycert.Finisher); ok {
		if err := finisher.Finish(ctx); err != nil {
			return &finishError{err}
		}
	}
	return nil
}

// finishError is an error of Finish: of a whole pass, it names no target.
type finishError struct{ error }

func (e *finishError) Unwrap() error { return e.error }

// mustPush pushes and holds the result against both readings.
func (s *side) mustPush(t testing.TB, target anycert.Target, pair Pair) {
	t.Helper()
	if err := push(t.Context(), s.sink, target, pair); err != nil {
		t.Fatalf("pushing to %s: %v", target.Label, err)
	}
	s.mustHold(t, target, pair)
}

// mustHold fails unless target serves pair, and Observe says so: that of the client
// that pushed, and that of one that knows nothing.
func (s *side) mustHold(t testing.TB, target anycert.Target, pair Pair) {
	t.Helper()
	if err := s.holds(s.served(t, target), pair.Bundle); err != nil {
		t.Fatalf("%s, read outside the sink: %v", target.Label, err)
	}
	for who, sink := range map[string]anycert.Sink{"the client that pushed": s.sink, "a fresh client": s.New(Owner)} {
		if err := Agrees(pair.Entry, s.observe(t, sink, target)); err != nil {
			t.Fatalf("%s, observed by %s: %v", target.Label, who, err)
		}
	}
}

func (s *side) served(t testing.TB, target anycert.Target) Served {
	t.Helper()
	served, err := s.Served(target)
	if err != nil {
		t.Fatalf("the harness could not read %s: %v", target.Label, err)
	}
	return served
}

func (s *side) observe(t testing.TB, sink anycert.Sink, target anycert.Target) anycert.Observed {
	t.Helper()
	observed, err := sink.Observe(t.Context(), target)
	if err != nil {
		t.Fatalf("observing %s: %v: what is absent, broken or foreign is no error", target.Label, err)
	}
	return observed
}

// noWrites fails if do makes the other side count a write.
func (s *side) noWrites(t testing.TB, what string, do func()) {
	t.Helper()
	before := s.Writes()
	do()
	if n := s.Writes() - before; n != 0 {
		t.Errorf("%s made %d writes, want none: planning and auditing must not change anything", what, n)
	}
}

// checkError holds an error to what every error of a sink promises.
func (s *side) checkError(t testing.TB, err error, target anycert.Target) {
	t.Helper()
	if ofPass := (*finishError)(nil); !errors.As(err, &ofPass) && !strings.Contains(err.Error(), target.Label) {
		t.Errorf("the error does not name the target %s: %v", target.Label, err)
	}
	for _, pair := range []Pair{s.older, s.newer, s.newest} {
		for text := range texts(err) {
			if leak := Leaks(text, pair.Bundle); leak != nil {
				t.Errorf("an error shows a private key: %v", leak)
			}
		}
	}
	for _, secret := range s.Secrets {
		for text := range texts(err) {
			if strings.Contains(text, secret) {
				t.Errorf("an error shows a secret of the sink: a token")
			}
		}
	}
}

func needsMark(h *Harness) bool        { return h.Without["Mark"] == "" }
func needsFailWrite(h *Harness) bool   { return h.FailWrite != nil }
func needsForbid(h *Harness) bool      { return h.Forbid != nil }
func needsUnavailable(h *Harness) bool { return h.Unavailable != nil }
func needsHang(h *Harness) bool        { return h.Hang != nil }

func needsOrphans(h *Harness) bool {
	_, ok := h.New(Owner).(anycert.OrphanLister)
	return ok
}

func needsRemove(h *Harness) bool {
	_, ok := h.New(Owner).(anycert.OrphanRemover)
	return ok && needsOrphans(h)
}

func isRefused(err error) bool { return errors.Is(err, anycert.ErrRefused) }

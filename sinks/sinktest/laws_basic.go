package sinktest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert"
)

func laws() []law {
	return []law{
		{name: "Targets", check: targetsArePure,
			says: "Targets answers from the configuration alone, always the same, each key once"},
		{name: "NothingThere", check: nothingThere,
			says: "a target where nothing is, is no error: Found is false. Absent, forbidden and unreadable are different states"},
		{name: "Push", check: pushServes,
			says: "after Push the target serves the bundle, and Observe tells so: certificate, key, names, mark and evidence"},
		{name: "PushTwice", check: pushTwice,
			says: "doing it twice is harmless"},
		{name: "Reading", check: readingWritesNothing,
			says: "Targets, Observe, Survey, Orphans and Probe change nothing at the other side"},
		{name: "Survey", check: surveyAgrees,
			says: "what one listing for a whole pass tells is what Observe tells"},
		{name: "Renewal", check: renewal,
			says: "every target takes a new version, and the others keep theirs meanwhile"},
		{name: "Rollback", check: rollback,
			says: "the truth wins: an older certificate in a newer version of the store is pushed like any other"},
		{name: "Concurrent", check: concurrent,
			says: "the methods may be called by several goroutines at once"},
		{name: "TornPair", check: noTornPair,
			says: "certificate and key change together: no reader ever sees one without the other"},
		{name: "Cancelled", check: cancelled,
			says: "every method gives up when the context ends, says so (errors.Is), and has changed nothing"},
		{name: "Hanging", check: hanging, needs: needsHang,
			says: "another side that accepts and never answers costs no more than the context allows"},
		{name: "FailedPush", check: failedPush, needs: needsFailWrite,
			says: "whichever write of a push fails, the old copy is still served (or the new one, whole), the error shows no key, and the next push mends it"},
		{name: "FailedFirstPush", check: failedFirstPush, needs: needsFailWrite,
			says: "whichever write of the first push fails, what is left is no obstacle to the next push"},
		{name: "Forbidden", check: forbidden, needs: needsForbid,
			says: "a denied request is ErrForbidden: it is not absence, and not a broken promise"},
		{name: "Unavailable", check: unavailable, needs: needsUnavailable,
			says: "another side that cannot be reached is ErrUnavailable: it is not absence, and not a broken promise"},
		{name: "OtherOwner", check: otherOwner, needs: needsMark,
			says: "what carries another hub's mark is foreign: two hubs never fight over one object"},
		{name: "Orphans", check: orphans, needs: needsOrphans,
			says: "an orphan carries our mark and belongs to no declared target; nothing else is listed"},
		{name: "Remove", check: removeOrphans, needs: needsRemove,
			says: "Remove deletes that orphan and nothing else"},
		{name: "RemoveChanged", check: removeRefusesChanged, needs: needsRemove,
			says: "Remove looks again: what has changed since it was listed stays (ErrRefused)"},
	}
}

func targetsArePure(t testing.TB, s *side) {
	keys, labels := map[string]bool{}, map[string]bool{}
	for _, target := range s.targets {
		switch {
		case target.Key == "" || target.Label == "":
			t.Errorf("%+v needs a Key and a Label", target)
		case target.Certificate != s.Certificate:
			t.Errorf("%s: Certificate is %q, want %q", target.Label, target.Certificate, s.Certificate)
		case keys[target.Key]:
			t.Errorf("the key %s occurs twice", target.Key)
		case labels[target.Label]:
			t.Errorf("the label %s occurs twice", target.Label)
		}
		keys[target.Key], labels[target.Label] = true, true
	}
	s.mustPush(t, s.targets[0], s.older)
	for who, sink := range map[string]anycert.Sink{"asked again": s.sink, "of a fresh client": s.New(Owner), "of another hub": s.New(OtherOwner)} {
		again, err := sink.Targets(s.Certificate, s.Names)
		if err != nil {
			t.Fatalf("Targets %s: %v", who, err)
		}
		if diff := cmp.Diff(s.targets, again); diff != "" {
			t.Errorf("Targets %s differ (-first +again):\n%s", who, diff)
		}
	}
}

func nothingThere(t testing.TB, s *side) {
	for _, target := range s.targets {
		if observed := s.observe(t, s.sink, target); observed.Found {
			t.Errorf("%s: Found is true where nothing is: %+v", target.Label, observed)
		}
		if served := s.served(t, target); !served.IsZero() {
			t.Errorf("%s: the harness begins with something there", target.Label)
		}
	}
}

func pushServes(t testing.TB, s *side) {
	for _, target := range s.targets {
		s.mustPush(t, target, s.older)
		observed := s.observe(t, s.sink, target)
		if (observed.Mark == nil) != observed.Unmarkable {
			t.Errorf("%s: there must be a Mark, or Unmarkable be set", target.Label)
		}
		if observed.Unmarkable != (s.Without["Mark"] != "") {
			t.Errorf("%s: Unmarkable is %t, but the harness says Without[\"Mark\"] = %q", target.Label, observed.Unmarkable, s.Without["Mark"])
		}
		if want := anycert.MarkOf(Owner, s.older.Entry); observed.Mark != nil && *observed.Mark != want {
			t.Errorf("%s: the mark is %+v, want %+v", target.Label, *observed.Mark, want)
		}
		if observed.NotAfter.Location() != time.UTC {
			t.Errorf("%s: NotAfter is not in UTC", target.Label)
		}
	}
}

func pushTwice(t testing.TB, s *side) {
	target := s.targets[0]
	s.mustPush(t, target, s.older)
	first := s.served(t, target)
	s.mustPush(t, target, s.older)
	if !first.same(s.served(t, target)) {
		t.Errorf("%s: the second push of the same version changed what is served", target.Label)
	}
	fresh := s.New(Owner)
	if err := push(t.Context(), fresh, target, s.older); err != nil {
		t.Fatalf("%s: a fresh client pushes the same version: %v", target.Label, err)
	}
	s.mustHold(t, target, s.older)
}

func readingWritesNothing(t testing.TB, s *side) {
	look := func() {
		for _, sink := range []anycert.Sink{s.sink, s.New(Owner), s.New(OtherOwner)} {
			for _, target := range s.targets {
				s.observe(t, sink, target)
			}
			if surveyor, ok := sink.(anycert.Surveyor); ok {
				if _, err := surveyor.Survey(t.Context()); err != nil {
					t.Errorf("Survey: %v", err)
				}
			}
			if lister, ok := sink.(anycert.OrphanLister); ok {
				if _, err := lister.Orphans(t.Context(), s.targets); err != nil {
					t.Errorf("Orphans: %v", err)
				}
			}
			if prober, ok := sink.(anycert.Prober); ok {
				if err := prober.Probe(t.Context()); err != nil {
					t.Errorf("Probe: %v", err)
				}
			}
		}
	}
	s.noWrites(t, "reading where nothing is", look)
	before := s.Writes()
	for _, target := range s.targets {
		s.mustPush(t, target, s.older)
	}
	if s.Writes() == before {
		t.Error("Writes did not count the pushes: the harness must count at the other side")
	}
	s.noWrites(t, "reading what was pushed", look)
	s.Tamper[0].Do(t, s.targets[0], s.make.material(t, s.older, s.older))
	s.noWrites(t, "reading what was tampered with", look)
}

func surveyAgrees(t testing.TB, s *side) {
	surveyor, ok := s.sink.(anycert.Surveyor)
	if !ok {
		t.Log("the sink has no Survey: it observes target by target")
		return
	}
	compare := func(when string) {
		survey, err := surveyor.Survey(t.Context())
		if err != nil {
			t.Fatalf("Survey %s: %v", when, err)
		}
		for _, target := range s.targets {
			listed, err := survey.Observe(t.Context(), target)
			if err != nil {
				t.Fatalf("Survey %s, then Observe %s: %v", when, target.Label, err)
			}
			if diff := cmp.Diff(s.observe(t, s.New(Owner), target), listed); diff != "" {
				t.Errorf("%s, %s (-Observe +Survey):\n%s", target.Label, when, diff)
			}
		}
	}
	compare("where nothing is")
	for _, target := range s.targets {
		s.mustPush(t, target, s.older)
	}
	compare("after a push")
	s.Tamper[0].Do(t, s.targets[0], s.make.material(t, s.older, s.older))
	compare("after a change by somebody else")
}

func renewal(t testing.TB, s *side) {
	for _, pair := range []Pair{s.older, s.newer, s.newest} {
		for _, target := range s.targets {
			s.mustPush(t, target, pair)
		}
		for _, target := range s.targets {
			s.mustHold(t, target, pair)
		}
	}
}

func rollback(t testing.TB, s *side) {
	target := s.targets[0]
	s.mustPush(t, target, s.older)
	s.mustPush(t, target, s.newer)
	back := Pair{Entry: s.older.Entry, Bundle: s.older.Bundle}
	back.Entry.Version, back.Entry.Time = s.newest.Entry.Version, s.newest.Entry.Time
	s.mustPush(t, target, back)
	// Whether an older version may be pushed is not for the sink to say.
	s.mustPush(t, target, s.older)
}

func concurrent(t testing.TB, s *side) {
	var wait sync.WaitGroup
	for _, target := range s.targets {
		for range 4 {
			wait.Go(func() {
				if err := push(t.Context(), s.sink, target, s.newer); err != nil {
					t.Errorf("pushing to %s beside others: %v", target.Label, err)
				}
			})
			wait.Go(func() {
				if _, err := s.sink.Observe(t.Context(), target); err != nil {
					t.Errorf("observing %s beside others: %v", target.Label, err)
				}
			})
		}
	}
	wait.Wait()
	for _, target := range s.targets {
		s.mustHold(t, target, s.newer)
	}
}

// noTornPair reads from 200 goroutines while two versions are pushed in turn.
func noTornPair(t testing.TB, s *side) {
	const (
		readers = 200
		pushes  = 10
		pace    = 5 * time.Millisecond // of a reader: all of them together leave the sink some of the machine
	)
	target := s.targets[0]
	s.mustPush(t, target, s.older)
	ctx, stop := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	var whole sync.Map // what was found to be a whole pair
	for range readers {
		wait.Go(func() {
			for ; ctx.Err() == nil; time.Sleep(pace) {
				served, err := s.Served(target)
				seen := string(served.ChainPEM) + string(served.KeyPEM) + served.Serial
				if _, ok := whole.Load(seen); ok && err == nil {
					continue
				}
				if err == nil {
					err = s.holdsOne(served, s.older.Bundle, s.newer.Bundle)
				}
				if err != nil {
					t.Errorf("%s: a reader saw a pair that is neither the old nor the new one: %v", target.Label, err)
					return
				}
				whole.Store(seen, true)
			}
		})
	}
	pairs := []Pair{s.newer, s.older}
	for i := range pushes {
		if err := push(ctx, s.sink, target, pairs[i%2]); err != nil {
			t.Errorf("pushing to %s: %v", target.Label, err)
			break
		}
	}
	stop()
	wait.Wait()
}

func cancelled(t testing.TB, s *side) {
	target := s.targets[0]
	s.mustPush(t, target, s.older)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	calls := map[string]func(anycert.Sink) error{
		"Observe": func(sink anycert.Sink) error { _, err := sink.Observe(ctx, target); return err },
		"Push":    func(sink anycert.Sink) error { return sink.Push(ctx, target, s.newer.Entry, s.newer.Bundle) },
	}
	if _, ok := s.sink.(anycert.Surveyor); ok {
		calls["Survey"] = func(sink anycert.Sink) error { _, err := sink.(anycert.Surveyor).Survey(ctx); return err }
	}
	if _, ok := s.sink.(anycert.OrphanLister); ok {
		calls["Orphans"] = func(sink anycert.Sink) error { _, err := sink.(anycert.OrphanLister).Orphans(ctx, nil); return err }
	}
	for name, call := range calls {
		s.noWrites(t, name+" with a context that had ended", func() {
			for who, sink := range map[string]anycert.Sink{"a used": s.sink, "a fresh": s.New(Owner)} {
				if err := call(sink); !errors.Is(err, context.Canceled) {
					t.Errorf("%s of %s client returned %v, want context.Canceled", name, who, err)
				}
			}
		})
	}
	s.mustHold(t, target, s.older)
}

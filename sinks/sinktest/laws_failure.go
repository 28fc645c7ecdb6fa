package sinktest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/anycert/anycert"
)

// maxWrites is more writes than any push needs.
const maxWrites = 50

// failedPush lets the first, then the second, … write of a push fail, until a push
// goes through because it has fewer writes than that.
func failedPush(t testing.TB, s *side) {
	target := s.targets[0]
	s.mustPush(t, target, s.older)
	for nth := 1; ; nth++ {
		if nth > maxWrites {
			t.Fatalf("%s: a push still failed at write %d: FailWrite must fail one write, once", target.Label, maxWrites)
		}
		s.FailWrite(nth)
		err := push(t.Context(), s.sink, target, s.newer)
		s.FailWrite(0)
		if err == nil {
			if nth == 1 {
				t.Fatalf("%s: FailWrite(1) was set and the push reports success: a failure must never be returned as nil", target.Label)
			}
			s.mustHold(t, target, s.newer)
			return
		}
		s.checkError(t, err, target)
		if err := s.holdsOne(s.served(t, target), s.older.Bundle, s.newer.Bundle); err != nil {
			t.Fatalf("%s: after a push that failed at its write %d, neither the old nor the new copy is served: %v", target.Label, nth, err)
		}
		if _, err := s.New(Owner).Observe(t.Context(), target); err != nil {
			t.Fatalf("%s: Observe after a push that failed at its write %d: %v", target.Label, nth, err)
		}
		s.mustPush(t, target, s.newest)
		s.mustPush(t, target, s.older)
	}
}

func failedFirstPush(t testing.TB, s *side) {
	target := s.targets[0]
	for nth := 1; nth <= maxWrites; nth++ {
		s.FailWrite(nth)
		err := push(t.Context(), s.sink, target, s.older)
		s.FailWrite(0)
		if err == nil {
			break
		}
		s.checkError(t, err, target)
		if served := s.served(t, target); !served.IsZero() {
			if err := s.holds(served, s.older.Bundle); err != nil {
				t.Fatalf("%s: a first push that failed at its write %d left half a copy: %v", target.Label, nth, err)
			}
		}
		if _, err := s.New(Owner).Observe(t.Context(), target); err != nil {
			t.Fatalf("%s: Observe after a first push that failed at its write %d: %v", target.Label, nth, err)
		}
	}
	s.mustPush(t, target, s.older)
}

func forbidden(t testing.TB, s *side) {
	s.wrongState(t, s.Forbid, anycert.ErrForbidden)
}

func unavailable(t testing.TB, s *side) {
	s.wrongState(t, s.Unavailable, anycert.ErrUnavailable)
}

// wrongState brings the other side into a state in which every call fails, and
// expects want; then everything is as it was.
func (s *side) wrongState(t testing.TB, enter func() (undo func()), want error) {
	target := s.targets[0]
	s.mustPush(t, target, s.older)
	undo := enter()
	for who, sink := range map[string]anycert.Sink{"a used": s.sink, "a fresh": s.New(Owner)} {
		observed, err := sink.Observe(t.Context(), target)
		if !errors.Is(err, want) {
			t.Errorf("Observe of %s client returned (Found: %t, %v), want an error that wraps %q", who, observed.Found, err, want)
		}
		pushErr := push(t.Context(), sink, target, s.newer)
		if !errors.Is(pushErr, want) {
			t.Errorf("Push of %s client returned %v, want an error that wraps %q", who, pushErr, want)
		}
		for _, err := range []error{err, pushErr} {
			if err != nil {
				s.checkError(t, err, target)
			}
		}
		if lister, ok := sink.(anycert.OrphanLister); ok {
			if _, err := lister.Orphans(t.Context(), s.targets); err == nil {
				t.Errorf("Orphans of %s client found nothing wrong: what cannot be read is not empty", who)
			}
		}
		if prober, ok := sink.(anycert.Prober); ok {
			if err := prober.Probe(t.Context()); !errors.Is(err, want) {
				t.Errorf("Probe of %s client returned %v, want an error that wraps %q", who, err, want)
			}
		}
	}
	undo()
	s.mustHold(t, target, s.older)
	s.mustPush(t, target, s.newer)
}

// patience is what a call may take when its context allows 100 ms. It is long: the
// test is about calls that never come back.
const patience = 20 * time.Second

func hanging(t testing.TB, s *side) {
	target := s.targets[0]
	s.mustPush(t, target, s.older)
	undo := s.Hang()
	calls := map[string]func(context.Context) error{
		"Observe": func(ctx context.Context) error { _, err := s.New(Owner).Observe(ctx, target); return err },
		"Push":    func(ctx context.Context) error { return push(ctx, s.New(Owner), target, s.newer) },
	}
	for name, call := range calls {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		done := make(chan error, 1)
		go func() { done <- call(ctx) }()
		select {
		case err := <-done:
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s returned %v, want context.DeadlineExceeded", name, err)
			}
		case <-time.After(patience):
			t.Errorf("%s did not give up within %s after its context had ended", name, patience)
		}
		cancel()
	}
	undo()
	s.mustPush(t, target, s.newer)
}

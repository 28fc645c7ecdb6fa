package sinktest

import (
	"errors"
	"testing"

	"github.com/anycert/anycert"
)

// tamperLaws makes one law of each way in which a target can differ or be somebody
// else's.
func tamperLaws(h *Harness) []law {
	var all []law
	for i, tamper := range h.Tamper {
		all = append(all, law{
			name:  "Tamper/" + tamper.Name,
			says:  "whatever differs is seen by Observe, also by a client that remembers nothing, and mended by one Push",
			check: func(t testing.TB, s *side) { mends(t, s, s.Tamper[i]) },
		})
	}
	for i, foreign := range h.Foreign {
		all = append(all, law{
			name:  "Foreign/" + foreign.Name,
			says:  "others' objects are not touched: Observe says whose it is and what to do, Push returns ErrRefused",
			check: func(t testing.TB, s *side) { refuses(t, s, s.Foreign[i]) },
		})
	}
	return all
}

func mends(t testing.TB, s *side, tamper Tamper) {
	target := s.targets[0]
	s.mustPush(t, target, s.older)
	s.mustPush(t, target, s.newer)
	tamper.Do(t, target, s.make.material(t, s.older, s.newer))
	for who, sink := range map[string]anycert.Sink{"the client that pushed": s.sink, "a fresh client": s.New(Owner)} {
		observed := s.observe(t, sink, target)
		if observed.Foreign != "" {
			t.Fatalf("%s, observed by %s, is Foreign (%s): move this change to Harness.Foreign, or let Push mend it", target.Label, who, observed.Foreign)
		}
		if Agrees(s.newer.Entry, observed) == nil {
			t.Errorf("%s, observed by %s, still looks like what was pushed", target.Label, who)
		}
	}
	s.mustPush(t, target, s.newer)
}

// refuses meets somebody else's object, with a client that knows nothing.
func refuses(t testing.TB, s *side, foreign Tamper) {
	target := s.targets[0]
	foreign.Do(t, target, s.make.material(t, s.older, s.newer))
	before := s.served(t, target)
	sink := s.New(Owner)
	s.noWrites(t, "meeting a foreign object", func() {
		if observed := s.observe(t, sink, target); observed.Foreign == "" {
			t.Errorf("%s: Foreign is empty: say whose it is and what the person can do", target.Label)
		}
		err := push(t.Context(), sink, target, s.newer)
		if !isRefused(err) {
			t.Fatalf("%s: Push returned %v, want ErrRefused", target.Label, err)
		}
		s.checkError(t, err, target)
		if lister, ok := sink.(anycert.OrphanLister); ok {
			if list, err := lister.Orphans(t.Context(), nil); err != nil || len(list) > 0 {
				t.Errorf("Orphans returned (%+v, %v): somebody else's object is no orphan of ours", list, err)
			}
		}
	})
	if !before.same(s.served(t, target)) {
		t.Errorf("%s: the foreign object was changed", target.Label)
	}
}

func otherOwner(t testing.TB, s *side) {
	target := s.targets[0]
	s.mustPush(t, target, s.older)
	before := s.served(t, target)
	other := s.New(OtherOwner)
	if observed := s.observe(t, other, target); observed.Foreign == "" {
		t.Errorf("%s carries the mark of %s and is not Foreign to %s", target.Label, Owner, OtherOwner)
	}
	err := push(t.Context(), other, target, s.newer)
	if !isRefused(err) {
		t.Fatalf("%s: Push of another hub returned %v, want ErrRefused", target.Label, err)
	}
	s.checkError(t, err, target)
	if !before.same(s.served(t, target)) {
		t.Errorf("%s: another hub changed it", target.Label)
	}
	s.mustHold(t, target, s.older)
	if lister, ok := other.(anycert.OrphanLister); ok {
		if list, err := lister.Orphans(t.Context(), nil); err != nil || len(list) > 0 {
			t.Errorf("Orphans of another hub returned (%+v, %v): it is not theirs", list, err)
		}
	}
}

func orphans(t testing.TB, s *side) {
	lister := s.New(Owner).(anycert.OrphanLister)
	list := func(declared []anycert.Target) []anycert.Orphan {
		t.Helper()
		found, err := lister.Orphans(t.Context(), declared)
		if err != nil {
			t.Fatalf("Orphans: %v", err)
		}
		return found
	}
	if found := list(nil); len(found) > 0 {
		t.Fatalf("Orphans where nothing is: %+v", found)
	}
	for _, target := range s.targets {
		s.mustPush(t, target, s.older)
	}
	if found := list(s.targets); len(found) > 0 {
		t.Errorf("Orphans lists what is declared: %+v", found)
	}
	found := list(nil)
	if len(found) == 0 {
		t.Error("Orphans lists nothing, though nothing is declared and our copies are there")
	}
	for _, orphan := range found {
		if want := anycert.MarkOf(Owner, s.older.Entry); orphan.Mark != want {
			t.Errorf("orphan %s: the mark is %+v, want %+v", orphan.Label, orphan.Mark, want)
		}
		if orphan.Key == "" || orphan.Label == "" {
			t.Errorf("%+v needs a Key and a Label", orphan)
		}
	}
}

func removeOrphans(t testing.TB, s *side) {
	for _, target := range s.targets {
		s.mustPush(t, target, s.older)
	}
	sink := s.New(Owner)
	found, err := sink.(anycert.OrphanLister).Orphans(t.Context(), nil)
	if err != nil || len(found) == 0 {
		t.Fatalf("Orphans returned (%+v, %v), want our copies", found, err)
	}
	s.retire(t)
	for _, orphan := range found {
		if err := sink.(anycert.OrphanRemover).Remove(t.Context(), orphan); err != nil {
			t.Fatalf("Remove(%s): %v", orphan.Label, err)
		}
	}
	for _, target := range s.targets {
		if served := s.served(t, target); !served.IsZero() {
			t.Errorf("%s is still served after its removal", target.Label)
		}
		if observed := s.observe(t, sink, target); observed.Found {
			t.Errorf("%s: Found is true after its removal", target.Label)
		}
	}
	if found, err := sink.(anycert.OrphanLister).Orphans(t.Context(), nil); err != nil || len(found) > 0 {
		t.Errorf("Orphans after their removal returned (%+v, %v)", found, err)
	}
}

func removeRefusesChanged(t testing.TB, s *side) {
	target := s.targets[0]
	s.mustPush(t, target, s.older)
	sink := s.New(Owner)
	found, err := sink.(anycert.OrphanLister).Orphans(t.Context(), nil)
	if err != nil || len(found) == 0 {
		t.Fatalf("Orphans returned (%+v, %v), want our copy", found, err)
	}
	s.mustPush(t, target, s.newer) // meanwhile somebody declares it again
	s.noWrites(t, "refusing to remove", func() {
		for _, orphan := range found {
			err := sink.(anycert.OrphanRemover).Remove(t.Context(), orphan)
			if !errors.Is(err, anycert.ErrRefused) {
				t.Errorf("Remove(%s) of what has changed since returned %v, want ErrRefused", orphan.Label, err)
			}
		}
	})
	s.mustHold(t, target, s.newer)
}

func (s *side) retire(t testing.TB) {
	if s.Retire == nil {
		return
	}
	for _, target := range s.targets {
		s.Retire(t, target)
	}
}

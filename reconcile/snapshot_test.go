package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/sinks/sinktest"
	"github.com/anycert/anycert/store/storetest"
)

func TestReasonOf(t *testing.T) {
	wrapped := func(err error) error { return fmt.Errorf("at target web: %w", err) }
	tests := []struct {
		err  error
		want Reason
	}{
		{nil, NoReason},
		{wrapped(anycert.ErrForbidden), Forbidden},
		{wrapped(anycert.ErrRefused), NotOurs},
		{wrapped(anycert.ErrUnfit), Unfit},
		{wrapped(anycert.ErrConflict), Conflict},
		{wrapped(anycert.ErrMalformed), Malformed},
		{wrapped(anycert.ErrNotFound), NotFound},
		{wrapped(anycert.ErrDeleted), Deleted},
		{wrapped(anycert.ErrUnindexed), Unindexed},
		{wrapped(anycert.ErrClaimed), Claimed},
		{wrapped(&anycert.PostponedError{Err: anycert.ErrForbidden}), Postponed},
		{wrapped(anycert.ErrUnavailable), Unavailable},
		{fmt.Errorf("%w: %w", anycert.ErrUnavailable, context.DeadlineExceeded), Timeout},
		{wrapped(&url.Error{Op: "Get", Err: &net.OpError{Op: "dial", Err: errors.New("connection refused")}}), Unavailable},
		{wrapped(errors.New("no idea")), Other},
	}
	for _, test := range tests {
		if got := reasonOf(test.err); got != test.want {
			t.Errorf("%v: %s, want %s", test.err, got, test.want)
		}
	}
}

// What a tally has no place for would begin to be counted out of nothing: a rate over it
// would not see the first one.
func TestTalliesHaveEveryOutcome(t *testing.T) {
	errs := []error{nil, anycert.ErrForbidden, anycert.ErrRefused, anycert.ErrUnfit, anycert.ErrConflict, anycert.ErrMalformed,
		anycert.ErrNotFound, anycert.ErrDeleted, anycert.ErrUnindexed, anycert.ErrUnavailable, context.DeadlineExceeded, errBroken}
	orders, pushes := NewOrderTally(), NewPushTally()
	for _, err := range append(errs, anycert.ErrClaimed, &anycert.PostponedError{Err: errBroken}) {
		if _, ok := orders[orderOutcome(err)]; !ok {
			t.Errorf("orders that end with %v", err)
		}
	}
	for _, err := range errs {
		p := Promise{Pushed: true, Verdict: Broken, Err: err}
		if outcome, pushed := p.pushOutcome(); !pushed || (pushes[outcome] != 0) {
			t.Errorf("%v: %v", err, outcome)
		} else if _, ok := pushes[outcome]; !ok {
			t.Errorf("pushes that end with %v", err)
		}
	}
}

func TestPushOutcome(t *testing.T) {
	tests := []struct {
		name    string
		promise Promise
		want    Outcome
		pushed  bool
	}{
		{"nothing to do", Promise{Verdict: Kept}, Outcome{}, false},
		{"could not be read", Promise{Verdict: Unknown, Err: errBroken}, Outcome{}, false},
		{"an audit's plan", Promise{Verdict: Broken, Action: Create}, Outcome{}, false},
		{"pushed and seen", Promise{Verdict: Kept, Action: Create, Pushed: true}, Outcome{Success, NoReason}, true},
		{"not yet active", Promise{Verdict: Waiting, Action: Create, Pushed: true}, Outcome{Success, NoReason}, true},
		{"not seen again", Promise{Verdict: Unknown, Action: Create, Pushed: true, Err: anycert.ErrUnavailable}, Outcome{Success, NoReason}, true},
		{"undone at once", Promise{Verdict: Broken, Action: Replace, Pushed: true}, Outcome{Failure, Undone}, true},
		{"failed", Promise{Verdict: Broken, Action: Create, Pushed: true, Err: anycert.ErrForbidden}, Outcome{Failure, Forbidden}, true},
		{"someone else's", Promise{Verdict: Refused, Action: Create, Pushed: true, Err: anycert.ErrRefused}, Outcome{Failure, NotOurs}, true},
		{"the key cannot be read", Promise{Verdict: Broken, Action: Create, Err: anycert.ErrForbidden}, Outcome{Failure, Forbidden}, true},
	}
	for _, test := range tests {
		if got, pushed := test.promise.pushOutcome(); got != test.want || pushed != test.pushed {
			t.Errorf("%s: %v, %v", test.name, got, pushed)
		}
	}
}

// counted are the outcomes that were.
func counted(tally Tally) Tally {
	tally = maps.Clone(tally)
	maps.DeleteFunc(tally, func(_ Outcome, n int) bool { return n == 0 })
	return tally
}

// A minute that breaks a target, and one in which the store is sealed.
func TestSnapshotFollowsTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bareWorld(t, []anycert.Certificate{example}, nil, "prod")
		w.hub.Issuer = &issuer{world: w}
		var sealed atomic.Bool
		w.store.Fail = func(storetest.Op, string) error {
			if sealed.Load() {
				return anycert.ErrUnavailable
			}
			return nil
		}
		began := time.Now()
		loop := start(t, w)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		s := loop.Health().Snapshot()
		entry, err := w.store.Stat(t.Context(), "example")
		if err != nil {
			t.Fatal(err)
		}
		wantCertificates := []CertificateState{{Name: "example", Entry: NoReason, NotBefore: entry.Leaf.NotBefore, NotAfter: entry.Leaf.NotAfter,
			Renewal: entry.Leaf.NotAfter.Add(-30 * 24 * time.Hour), Obtained: true}}
		if diff := cmp.Diff(wantCertificates, s.Certificates); diff != "" {
			t.Error(diff)
		}
		if len(s.Issuers) != 1 || !cmp.Equal(counted(s.Issuers[0].Orders), Tally{{Success, NoReason}: 1}) {
			t.Errorf("orders: %v", s.Issuers)
		}
		prod := s.Sinks[0]
		if !cmp.Equal(counted(prod.Pushes), Tally{{Success, NoReason}: 2}) || prod.Took.Count == 0 || prod.Succeeded.Before(began) {
			t.Errorf("%+v", prod)
		}
		wantPromises := []PromiseState{{Certificate: "example", Verdicts: map[Verdict]int{Kept: 2}, Verified: prod.Passed, NotAfter: entry.Leaf.NotAfter}}
		if diff := cmp.Diff(wantPromises, prod.Promises); diff != "" {
			t.Error(diff)
		}

		sealed.Store(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		later := loop.Health().Snapshot()
		wantCertificates[0].Entry = Unavailable
		if diff := cmp.Diff(wantCertificates, later.Certificates); diff != "" {
			t.Errorf("a sealed store makes a certificate forgotten: %s", diff)
		}
		if !later.StoreRead.Equal(s.StoreRead) || !later.Turned.After(s.Turned) || later.Deadline.Before(later.Turned) {
			t.Errorf("the store was read at %v, it says %v", s.StoreRead, later.StoreRead)
		}
		sunk := later.Sinks[0]
		if !sunk.Passed.After(prod.Passed) || !sunk.Succeeded.Equal(prod.Succeeded) {
			t.Errorf("passed %v, succeeded %v; before %v, %v", sunk.Passed, sunk.Succeeded, prod.Passed, prod.Succeeded)
		}
		wantPromises[0].Verdicts = map[Verdict]int{Unknown: 2}
		if diff := cmp.Diff(wantPromises, sunk.Promises); diff != "" {
			t.Errorf("what was last seen kept changed: %s", diff)
		}
	})
}

// Of several targets the one that was seen kept the longest ago counts, and none of
// them may be missing.
func TestVerifiedIsTheOldestOfTheTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var api atomic.Bool // can be read
		w := bareWorld(t, []anycert.Certificate{example}, func(_ context.Context, _ string, target anycert.Target) error {
			if target.Label == "api/example" && !api.Load() {
				return anycert.ErrUnavailable
			}
			return nil
		}, "prod")
		w.put("example", certs.Options{})
		loop := start(t, w)
		promise := func() PromiseState { return loop.Health().Snapshot().Sinks[0].Promises[0] }
		if p := promise(); !p.Verified.IsZero() || !maps.Equal(p.Verdicts, map[Verdict]int{Kept: 1, Unknown: 1}) {
			t.Errorf("one of two was never seen kept: %+v", p)
		}
		api.Store(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		seen := promise().Verified
		if time.Since(seen) > time.Second {
			t.Errorf("both are kept, the older since %v", time.Since(seen))
		}
		api.Store(false)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if p := promise(); !p.Verified.Equal(seen) {
			t.Errorf("one was not seen kept since %v, it says %v", seen, p.Verified)
		}
	})
}

// What a reload takes out of the configuration is gone at once, what stays is remembered,
// and what comes is there before anybody has looked at it.
func TestSnapshotHasWhatIsConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := anycert.Certificate{Name: "other", Domains: []string{"example.com"}}
		w := bareWorld(t, []anycert.Certificate{example, other}, nil, "stays", "goes")
		w.put("example", certs.Options{})
		w.put("other", certs.Options{})
		loop := start(t, w)
		before := loop.Health().Snapshot()
		if len(before.Sinks) != 2 || len(before.Sinks[1].Promises) != 2 {
			t.Fatalf("%+v", before.Sinks)
		}
		hang := make(chan struct{})
		defer close(hang)
		slow := sinktest.NewMemory(func(ctx context.Context, _ string, _ anycert.Target) error {
			select {
			case <-hang:
			case <-ctx.Done():
			}
			return ctx.Err()
		}, "web")
		parts := w.hub.Parts
		parts.Certificates = []anycert.Certificate{example}
		parts.Agents = []Agent{
			{Name: "stays", Type: "memory", Sink: w.sides["stays"].Sink("prod"), Certificates: parts.Certificates},
			{Name: "comes", Type: "memory", Sink: slow.Sink("prod"), Certificates: parts.Certificates},
			{Name: "frozen", Type: "memory", Sink: slow.Sink("prod"), Certificates: parts.Certificates, Suspended: true},
		}
		if err := loop.Reload(t.Context(), parts, every(time.Minute)); err != nil {
			t.Fatal(err)
		}
		loop.Health().Configuration(nil)
		synctest.Wait()
		s := loop.Health().Snapshot()
		var names []string
		for _, sink := range s.Sinks {
			for _, p := range sink.Promises {
				names = append(names, sink.Name+" "+p.Certificate+fmt.Sprint(" ", len(p.Verdicts), " ", p.Verified.IsZero()))
			}
		}
		if want := []string{"comes example 0 true", "stays example 1 false"}; !slices.Equal(names, want) {
			t.Errorf("%q, want %q", names, want)
		}
		if len(s.Certificates) != 1 || s.Sinks[1].Took.Count < before.Sinks[1].Took.Count {
			t.Errorf("%+v", s)
		}
		if s.ReloadFailed || s.Reloaded.Before(before.Reloaded) {
			t.Errorf("reloaded %v", s.Reloaded)
		}
		loop.Health().Configuration(errBroken)
		if again := loop.Health().Snapshot(); !again.ReloadFailed || !again.Reloaded.Equal(s.Reloaded) {
			t.Errorf("a wrong file: %v, %v", again.ReloadFailed, again.Reloaded)
		}
	})
}

// Failed orders are counted once, what is put off each minute is told apart from them.
func TestOrdersAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bareWorld(t, []anycert.Certificate{example}, nil, "prod")
		ca := &issuer{world: w, err: errBroken}
		w.hub.Issuer = ca
		loop := start(t, w)
		s := loop.Health().Snapshot()
		if !s.Certificates[0].OrderFailed || !cmp.Equal(counted(s.Issuers[0].Orders), Tally{{Failure, Other}: 1}) {
			t.Errorf("%+v", s)
		}
		ca.set(&anycert.PostponedError{Until: time.Now().Add(time.Hour), Err: errBroken})
		time.Sleep(2*time.Minute + time.Second)
		synctest.Wait()
		s = loop.Health().Snapshot()
		if !s.Certificates[0].OrderFailed || !cmp.Equal(counted(s.Issuers[0].Orders), Tally{{Failure, Other}: 1, {Deferred, Postponed}: 2}) {
			t.Errorf("%+v", s)
		}
		ca.set(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if s = loop.Health().Snapshot(); s.Certificates[0].OrderFailed || s.Issuers[0].Orders[Outcome{Success, NoReason}] != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// Whoever puts a certificate there while its orders fail has mended it: no alarm is left
// until the next renewal, months later.
func TestFailedOrderEndsWhenNoneIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bareWorld(t, []anycert.Certificate{example}, nil, "prod")
		ca := &issuer{world: w, err: errBroken}
		w.hub.Issuer = ca
		loop := start(t, w)
		if s := loop.Health().Snapshot(); !s.Certificates[0].OrderFailed {
			t.Fatalf("%+v", s)
		}
		w.put("example", certs.Options{})
		asked := ca.count()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if s := loop.Health().Snapshot(); s.Certificates[0].OrderFailed || ca.count() > asked+1 {
			t.Errorf("the order counts as failed: %+v; asked %d times more", s.Certificates[0], ca.count()-asked)
		}
		if status := w.hub.Status(t.Context()).Certificates[0]; status.Err != nil {
			t.Errorf("status tells %v", status.Err)
		}
	})
}

// A certificate that is frozen on purpose raises no alarm about its entry.
func TestSuspendedCertificateIsNotAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		frozen := anycert.Certificate{Name: "frozen", Domains: []string{"example.com"}, Suspended: true}
		w := bareWorld(t, []anycert.Certificate{example, frozen}, nil, "prod")
		w.put("example", certs.Options{})
		w.store.Fail = func(_ storetest.Op, name string) error {
			if name == "frozen" {
				return anycert.ErrForbidden
			}
			return nil
		}
		loop := start(t, w)
		s := loop.Health().Snapshot()
		if s.StoreRead.IsZero() || s.Certificates[0].Suspended || !s.Certificates[1].Suspended {
			t.Errorf("%+v", s)
		}
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		if lines := loop.Health().Ready(time.Now()); len(lines) > 0 {
			t.Error(lines)
		}
	})
}

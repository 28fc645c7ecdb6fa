package reconcile

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/sinks/sinktest"
	"github.com/anycert/anycert/store/storetest"
)

// A place that held another certificate before tells nothing of this one's versions:
// its mark, however late, holds nothing.
func TestTheMarkOfAnotherCertificateHoldsNothing(t *testing.T) {
	for name, disturb := range map[string]func(*world){
		"stored":  func(*world) {},
		"not yet": func(w *world) { w.store.Restore(storetest.State{}) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "prod")
			other := w.bundle(certs.Options{})
			w.sides["prod"].Put("web/example", sinktest.Object{
				ChainPEM: other.FullChainPEM(), KeyPEM: []byte(other.KeyPEM().Reveal()),
				Mark: &anycert.Mark{Owner: "prod", Certificate: "other", Time: time.Now().UTC().Truncate(time.Second), Digest: other.Digest()},
			})
			disturb(w)
			want := map[string]Verdict{"stored": Kept, "not yet": Waiting}[name]
			if p := find(t, w.sync(), "prod", "web/example"); p.Verdict != want {
				t.Errorf("%s: %s, want %s", p.Verdict, p.Reason, want)
			}
		})
	}
}

// unmarkable makes the sinks of a world those of providers without a place for a mark.
func unmarkable(w *world) {
	for i, agent := range w.hub.Agents {
		w.hub.Agents[i].Sink = markless{agent.Sink}
	}
}

// What a person accepted with `anycert sync --accept-store` beside the daemon is there
// and equals the store: the daemon, which remembers the later version, is content.
func TestTheDaemonIsContentWithWhatWasAccepted(t *testing.T) {
	w := newWorld(t, "prod")
	unmarkable(w)
	snapshot := w.store.Snapshot()
	w.put("example", certs.Options{})
	wantVerdicts(t, w.sync(), Kept)
	w.store.Restore(snapshot)
	wantVerdicts(t, w.sync(), Held)
	beside := New(w.hub.Parts, w.hub.log.log)
	wantVerdicts(t, beside.Sync(t.Context(), SyncOptions{AcceptStore: []string{"example"}}), Kept)
	wantVerdicts(t, w.sync(), Kept)
}

// A store that was wiped has gone back also where no mark can tell.
func TestAWipedStoreIsHeldWithoutAMark(t *testing.T) {
	w := newWorld(t, "prod")
	unmarkable(w)
	wantVerdicts(t, w.sync(), Kept)
	w.store.Restore(storetest.State{})
	wantVerdicts(t, w.sync(), Held)
}

// Two sinks may share a cluster and a namespace: what one declares is no orphan of the
// other, also while the one is suspended.
func TestWhatAnotherSinkDeclaresIsNoOrphan(t *testing.T) {
	other := anycert.Certificate{Name: "other", Domains: []string{"example.com"}}
	w := bareWorld(t, []anycert.Certificate{example, other}, nil, "prod")
	w.put("example", certs.Options{})
	w.put("other", certs.Options{})
	one, two := w.hub.Agents[0], w.hub.Agents[0]
	one.Certificates, two.Name, two.Certificates = []anycert.Certificate{example}, "second", []anycert.Certificate{other}
	w.hub.Agents = []Agent{one, two}
	wantVerdicts(t, w.sync(), Kept)
	for _, suspended := range []bool{false, true} {
		w.hub.Agents[1].Suspended = suspended
		if report := w.hub.Orphans(t.Context()); len(report.Orphans) != 0 {
			t.Errorf("suspended %v: `prune --yes` would delete %v", suspended, report.Orphans)
		}
	}
}

// forgetful is an issuer whose list of unfinished orders does not come.
type forgetful struct{ issuer }

func (*forgetful) Unfinished(ctx context.Context) ([]string, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// A list of unfinished orders that does not come ends no loop.
func TestOrdersThatCannotBeListedDelayNoPassForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "prod")
		w.hub.Issuer = &forgetful{issuer{world: w}}
		start(t, w)
		w.sides["prod"].Delete("web/example")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if _, ok := w.sides["prod"].Get("web/example"); !ok {
			t.Error("not mended within two minutes")
		}
	})
}

// SIGTERM ends within 10 s, also when a sink heeds no context: a disk that hangs.
func TestLoopEndsAlthoughASinkHeedsNoContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		forever := make(chan struct{})
		w := bareWorld(t, []anycert.Certificate{example}, func(context.Context, string, anycert.Target) error {
			<-forever
			return errBroken
		}, "stuck")
		w.put("example", certs.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		_, ended := begin(ctx, w)
		cancel()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Error("it has not ended after 10 s")
		}
		close(forever)
		<-ended
		synctest.Wait()
	})
}

// nervous is a sink whose Targets panic.
type nervous struct{ anycert.Sink }

func (nervous) Targets(string, []string) ([]anycert.Target, error) { panic("no such luck") }

func TestLaw8TargetsThatPanic(t *testing.T) {
	w := newWorld(t, "bad", "good")
	w.hub.Agents[0].Sink = nervous{w.hub.Agents[0].Sink}
	report := w.sync()
	if find(t, report, "good", "web/example").Verdict != Kept || find(t, report, "bad", "").Verdict != Unknown {
		t.Errorf("promises: %v", report.Promises)
	}
	if len(w.audit().Notes) == 0 {
		t.Error("no note that orphans could not be listed")
	}
}

// An agent that holds what the hub does not declare is a mistake in wiring, and no
// reason to fall.
func TestACertificateThatWasNotAskedFor(t *testing.T) {
	w := newWorld(t, "prod")
	w.hub.Certificates = nil
	wantVerdicts(t, w.sync(), Unknown)
}

// `vault kv metadata delete` and `vault kv put` begin with version 1 again: what was
// remembered of the first version 1 is not true of the second.
func TestAVersionThatIsWrittenAnew(t *testing.T) {
	w := bareWorld(t, []anycert.Certificate{example}, nil, "prod")
	at := time.Now().Add(-time.Hour)
	w.store.Now = func() time.Time { at = at.Add(time.Minute); return at }
	w.store.WriteByHand("example", "garbage", "garbage")
	wantVerdicts(t, w.sync(), Unknown)
	w.store.Restore(storetest.State{})
	bundle := w.bundle(certs.Options{})
	w.store.WriteByHand("example", string(bundle.FullChainPEM()), bundle.KeyPEM().Reveal())
	wantVerdicts(t, w.sync(), Kept)
}

// After a reload to a quicker schedule a worker that stands still is told by it.
func TestStalenessFollowsTheSchedule(t *testing.T) {
	health, now := newHealth(hubOf(Agent{Name: "prod"})), time.Now()
	health.turned(now, 24*time.Hour)
	health.configured(hubOf(Agent{Name: "prod"}))
	health.turned(now, time.Minute)
	health.passed("prod", now, now, nil)
	if len(health.Ready(now.Add(time.Hour))) == 0 {
		t.Error("with a pass due each minute, none for an hour counts as ready")
	}
}

// afterPush is a sink that observes something else once it was pushed to.
type afterPush struct {
	anycert.Sink
	side   *sinktest.Memory
	change func(*anycert.Observed)
	err    error
}

func (a afterPush) Observe(ctx context.Context, target anycert.Target) (anycert.Observed, error) {
	observed, err := a.Sink.Observe(ctx, target)
	if len(a.side.Pushes()) > 0 && err == nil {
		a.change(&observed)
		err = a.err
	}
	return observed, err
}

// pushedTo syncs one target at which change is seen after the push.
func pushedTo(t *testing.T, change func(*anycert.Observed), err error) (*world, Promise) {
	t.Helper()
	w := newWorld(t, "prod")
	w.hub.Agents[0].Sink = afterPush{w.hub.Agents[0].Sink, w.sides["prod"], change, err}
	report := w.hub.Sync(t.Context(), SyncOptions{Only: Only{"prod", "web/example"}})
	return w, find(t, report, "prod", "web/example")
}

// What was pushed and is not kept all the same is told with the reason.
func TestLogTellsWhyAPushDidNotHelp(t *testing.T) {
	for verdict, change := range map[Verdict]func(*anycert.Observed){
		Waiting: func(o *anycert.Observed) { o.Waiting = "add a CNAME" },
		Refused: func(o *anycert.Observed) { o.Foreign = "taken by staging" },
	} {
		w, p := pushedTo(t, change, nil)
		if log := w.log.String(); p.Verdict != verdict || !strings.Contains(log, p.Reason) || !strings.Contains(log, "msg=pushed") {
			t.Errorf("%s (%s), log:\n%s", p.Verdict, p.Reason, log)
		}
	}
}

// A push that could not be seen again was no push that failed.
func TestWordsOfAPushThatWasNotSeenAgain(t *testing.T) {
	_, p := pushedTo(t, func(*anycert.Observed) {}, errBroken)
	if words := p.Words(); p.Verdict != Unknown || strings.Contains(words, "could not create") || !strings.Contains(words, errBroken.Error()) {
		t.Errorf("%s: %s", p.Verdict, words)
	}
}

// After a sync, a key that could not be read is no plan but a failure.
func TestWordsOfAKeyThatCannotBeRead(t *testing.T) {
	w := newWorld(t, "prod")
	w.store.Fail = failing(storetest.OpGet, anycert.ErrForbidden)
	if words := w.sync().Promises[0].Words(); !strings.HasPrefix(words, "could not create: ") {
		t.Errorf("words: %s", words)
	}
}

// A sync of one sink obtains what belongs there, and answers for nothing else.
func TestOnlyObtainsWhatBelongsThere(t *testing.T) {
	other := anycert.Certificate{Name: "other", Domains: []string{"example.com"}, Issuer: "test"}
	sealed := anycert.Certificate{Name: "sealed", Domains: []string{"example.com"}}
	w := bareWorld(t, []anycert.Certificate{example, other, sealed}, nil, "prod", "staging")
	w.hub.Agents[0].Certificates = []anycert.Certificate{example}
	w.hub.Agents[1].Certificates = []anycert.Certificate{other, sealed}
	w.store.Fail = func(_ storetest.Op, name string) error {
		if name == "sealed" {
			return errBroken
		}
		return nil
	}
	issuer := &issuer{world: w}
	w.hub.Issuer = issuer
	report := w.hub.Sync(t.Context(), SyncOptions{Only: Only{Sink: "prod"}})
	wantVerdicts(t, report, Kept)
	if !slices.Equal(issuer.calls, []string{"example"}) {
		t.Errorf("obtained %v", issuer.calls)
	}
	if report.SyncExit() != ExitOK {
		t.Error("it fails for a certificate that does not belong there")
	}
	if audit := w.hub.Audit(t.Context(), Only{Sink: "staging"}); len(audit.Certificates) != 2 || audit.AuditExit() != ExitFailed {
		t.Errorf("an audit of the other sink: %v", audit.Certificates)
	}
}

// What is suspended on purpose is no failure of a sync or of a status.
func TestASuspendedCertificateIsNoFailure(t *testing.T) {
	w := newWorld(t, "prod")
	w.sync()
	w.put("example", certs.Options{NotAfter: time.Now().Add(-time.Minute)})
	frozen := []anycert.Certificate{example}
	frozen[0].Suspended = true
	w.hub.Certificates, w.hub.Agents[0].Certificates = frozen, frozen
	if w.sync().SyncExit() != ExitOK || w.hub.Status(t.Context()).StatusExit() != ExitOK {
		t.Error("a frozen certificate fails")
	}
}

// many are n certificates, all in the store.
func many(t *testing.T, n int, fault sinktest.Fault) *world {
	t.Helper()
	var certificates []anycert.Certificate
	for i := range n {
		certificates = append(certificates, anycert.Certificate{Name: "c" + string(rune('a'+i/26%26)) + string(rune('a'+i%26)), Domains: example.Domains})
	}
	w := bareWorld(t, certificates, fault, "prod")
	bundle := w.bundle(certs.Options{})
	for _, c := range certificates {
		if _, err := w.store.Put(t.Context(), c.Name, 0, bundle, anycert.Origin{}); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// hangingStore does not answer when asked for an entry.
type hangingStore struct {
	anycert.Store
	hangs atomic.Bool
}

func (h *hangingStore) Stat(ctx context.Context, name string) (anycert.Entry, error) {
	if !h.hangs.Load() {
		return h.Store.Stat(ctx, name)
	}
	<-ctx.Done()
	return anycert.Entry{}, ctx.Err()
}

// A store that hangs costs a pass the patience for some certificates, not for each.
func TestAStoreThatHangsIsNotAskedForHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := many(t, 400, nil)
		store := &hangingStore{Store: w.store}
		store.hangs.Store(true)
		w.hub.Store = store
		begin := time.Now()
		wantVerdicts(t, w.audit(), Unknown)
		if took := time.Since(begin); took > 5*time.Minute {
			t.Errorf("an audit took %v", took)
		}
		store.hangs.Store(false)
		wantVerdicts(t, w.audit(), Broken)
	})
}

// The same, when it begins to hang while the sink is looked at.
func TestAStoreThatHangsWhilePushing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(hangingStore)
		w := many(t, 200, func(_ context.Context, op string, _ anycert.Target) error {
			store.hangs.Store(op == "observe")
			return nil
		})
		store.Store = w.store
		w.hub.Store, w.hub.indexer = store, &indexer{store: store}
		truth := w.hub.truth(t.Context(), w.hub.Certificates)
		begin := time.Now()
		promises := w.hub.pass(t.Context(), w.hub.Agents[0], w.hub.assessment(truth, Only{}, nil))
		if took := time.Since(begin); took > 5*time.Minute {
			t.Errorf("a pass took %v", took)
		}
		wantVerdicts(t, &Report{Promises: promises}, Unknown)
	})
}

// And a sink that hangs at each of its targets.
func TestASinkThatHangsIsNotAskedForHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := many(t, 200, func(ctx context.Context, _ string, _ anycert.Target) error {
			<-ctx.Done()
			return ctx.Err()
		})
		begin := time.Now()
		wantVerdicts(t, w.audit(), Unknown)
		if took := time.Since(begin); took > 5*time.Minute {
			t.Errorf("an audit took %v", took)
		}
	})
}

// Targets that hang, however many, delay the others and hide none of them.
func TestTargetsThatHangHideNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := many(t, 60, func(ctx context.Context, _ string, target anycert.Target) error {
			if target.Certificate < "cb" { // the first 26
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
		for _, p := range w.sync().Promises {
			if want := map[bool]Verdict{true: Unknown, false: Kept}[p.Certificate < "cb"]; p.Verdict != want {
				t.Errorf("%s is %s: %s", p.Target, p.Verdict, p.Reason)
			}
		}
	})
}

// What the end of the daemon breaks off is no alarm.
func TestTheEndIsNoAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bareWorld(t, []anycert.Certificate{example}, func(ctx context.Context, _ string, _ anycert.Target) error {
			<-ctx.Done()
			return ctx.Err()
		}, "slow")
		w.put("example", certs.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		_, ended := begin(ctx, w)
		cancel()
		<-ended
		if log := w.log.String(); strings.Contains(log, "ERROR") {
			t.Errorf("log:\n%s", log)
		}
	})
}

// Law 11: a CA that says no since the first day is no waiting.
func TestReadyTellsWhatCannotBeObtained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bareWorld(t, []anycert.Certificate{example}, nil, "prod")
		issuer := &issuer{world: w, err: errBroken}
		w.hub.Issuer = issuer
		loop := start(t, w)
		time.Sleep(time.Minute)
		synctest.Wait()
		if lines := loop.Health().Ready(time.Now()); len(lines) != 1 || !strings.Contains(lines[0], errBroken.Error()) {
			t.Errorf("nothing was ever obtained, and it says: %v", lines)
		}
		w.put("example", certs.Options{}) // by another process
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if lines := loop.Health().Ready(time.Now()); len(lines) != 0 {
			t.Errorf("not ready although all is well: %v", lines)
		}
	})
}

// What was issued while a slow sink was looked at is valid already.
func TestIssuedDuringAPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w *world
		once := false
		w = bareWorld(t, []anycert.Certificate{example}, func(_ context.Context, op string, _ anycert.Target) error {
			if op == "observe" && !once {
				once = true
				time.Sleep(20 * time.Second)
				w.put("example", certs.Options{NotBefore: time.Now().Add(-time.Second)})
			}
			return nil
		}, "prod")
		w.put("example", certs.Options{})
		wantVerdicts(t, w.hub.Sync(t.Context(), SyncOptions{Only: Only{"prod", "web/example"}}), Kept)
	})
}

// dueAlways is an issuer whose certificates are due again as soon as they are written:
// our clock is wrong, or the CA gives another thing than it was asked for.
type dueAlways struct{ issuer }

func (*dueAlways) Renewal(_ anycert.Certificate, _ *anycert.Entry, now time.Time) anycert.Renewal {
	return anycert.Renewal{At: now, Reason: "it has expired"}
}

// Law 10: what is due again as soon as it was obtained is no reason to hammer the CA.
func TestLaw10WhatStaysDueIsNotObtainedEachMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bareWorld(t, []anycert.Certificate{example}, nil, "prod")
		issuer := &dueAlways{issuer{world: w}}
		w.hub.Issuer = issuer
		start(t, w)
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := issuer.count(); n != 1 {
			t.Errorf("%d orders within the hour", n)
		}
		if !strings.Contains(w.log.String(), "check the clock") {
			t.Errorf("log:\n%s", w.log.String())
		}
	})
}

package reconcile

import (
	"context"
	"errors"
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

// every is a schedule of even steps.
type every time.Duration

func (e every) Next(t time.Time) time.Time { return t.Add(time.Duration(e)) }

// start runs a loop until the test ends, in a synctest bubble.
func start(t *testing.T, w *world) *Loop {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	loop, ended := begin(ctx, w)
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return loop
}

// begin runs a loop over w, a pass a minute, and lets it come to rest. ended is closed
// when it has ended, which is asked for by ctx.
func begin(ctx context.Context, w *world) (loop *Loop, ended <-chan struct{}) {
	loop = NewLoop(w.hub, every(time.Minute))
	done := make(chan struct{})
	go func() { defer close(done); loop.Run(ctx) }()
	synctest.Wait()
	return loop, done
}

func TestLoopMendsWithinTheMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "prod")
		loop := start(t, w)
		if w.writes() != 2 {
			t.Fatalf("the first pass is not made at start: %d writes", w.writes())
		}
		w.sides["prod"].Delete("web/example")
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, ok := w.sides["prod"].Get("web/example"); !ok || w.writes() != 3 {
			t.Errorf("not mended within the minute: %d writes", w.writes())
		}
		if lines := loop.Health().Ready(time.Now()); len(lines) != 0 {
			t.Errorf("not ready: %v", lines)
		}
	})
}

// An hour in which all is well says nothing and writes nothing.
func TestLoopIsCalm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "prod")
		start(t, w)
		said, writes, keys := w.log.String(), w.writes(), w.store.Counts().KeysRead
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := strings.TrimPrefix(w.log.String(), said); got != "" {
			t.Errorf("it said:\n%s", got)
		}
		if w.writes() != writes || w.store.Counts().KeysRead != keys {
			t.Error("it wrote, or read a key")
		}
	})
}

// Logs tell changes, once.
func TestLoopLogsChangesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "prod")
		var sealedNow atomic.Bool
		w.store.Fail = func(storetest.Op, string) error {
			if sealedNow.Load() {
				return anycert.ErrUnavailable
			}
			return nil
		}
		start(t, w)
		before := w.log.String()
		sealedNow.Store(true)
		time.Sleep(time.Hour)
		synctest.Wait()
		sealed := strings.TrimPrefix(w.log.String(), before)
		if got := strings.Count(sealed, "the store gave no entry"); got != 1 {
			t.Errorf("an hour of a sealed store is told %d times:\n%s", got, sealed)
		}
		if got := strings.Count(sealed, "\n"); got > 3 { // the certificate, and each of its two promises
			t.Errorf("an hour of a sealed store takes %d lines:\n%s", got, sealed)
		}
		sealedNow.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := strings.Count(w.log.String(), "kept again"); got != 2 {
			t.Errorf("the end of it is told %d times:\n%s", got, w.log.String())
		}
	})
}

// Law 8: a sink that hangs delays no other, skips ticks, and then takes the newest.
func TestLaw8ASinkThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		w := bareWorld(t, []anycert.Certificate{example}, func(ctx context.Context, op string, target anycert.Target) error {
			if target.Key == "slow" && op == "push" {
				select {
				case <-hang:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		}, "slow", "quick")
		w.put("example", certs.Options{})
		start(t, w)
		var newest anycert.Entry
		for range 3 {
			newest = w.put("example", certs.Options{})
			time.Sleep(time.Minute)
			synctest.Wait()
			if !w.serves("quick", "web/example", newest) {
				t.Fatal("the quick sink waits for the slow one")
			}
		}
		close(hang)
		time.Sleep(time.Minute)
		synctest.Wait()
		if !w.serves("slow", "web/example", newest) {
			t.Error("the slow sink did not take the newest")
		}
	})
}

// Law 11: liveness means that the loop turns, readiness that the promises are kept.
func TestLaw11SilenceIsAnAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dead atomic.Bool // the cluster, and the store
		w := bareWorld(t, []anycert.Certificate{example}, func(ctx context.Context, _ string, _ anycert.Target) error {
			if dead.Load() {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}, "prod")
		w.put("example", certs.Options{})
		w.store.Fail = func(op storetest.Op, _ string) error {
			if dead.Load() && op == storetest.OpStat {
				return anycert.ErrUnavailable
			}
			return nil
		}
		loop := start(t, w)
		if loop.Health().Live(time.Now()) != nil || len(loop.Health().Ready(time.Now())) != 0 {
			t.Fatal("not well at start")
		}
		dead.Store(true)
		for range 60 {
			time.Sleep(time.Minute)
			synctest.Wait()
			if err := loop.Health().Live(time.Now()); err != nil {
				t.Fatalf("a sealed store and a dead cluster would restart the daemon: %v", err)
			}
		}
		lines := loop.Health().Ready(time.Now())
		if len(lines) == 0 {
			t.Fatal("nothing can be read, and it says it is ready")
		}
		dead.Store(false)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if lines := loop.Health().Ready(time.Now()); len(lines) != 0 {
			t.Errorf("it does not recover by itself: %v", lines)
		}
	})
}

// Law 11: a loop that stands still is not alive.
func TestLaw11AStandingLoopIsNotAlive(t *testing.T) {
	health := newHealth(hubOf())
	now := time.Now()
	health.turned(now, time.Minute)
	if err := health.Live(now.Add(time.Minute)); err != nil {
		t.Errorf("a loop that waits for its next tick: %v", err)
	}
	if health.Live(now.Add(3*time.Minute)) == nil {
		t.Error("a loop that missed two ticks counts as alive")
	}
	health.configured(hubOf(Agent{Name: "prod"}))
	if len(health.Ready(now)) == 0 {
		t.Error("ready before the first pass has ended")
	}
	health.passed("prod", now, now, nil)
	if len(health.Ready(now)) != 0 {
		t.Error("not ready after a pass in which all is kept")
	}
	if lines := health.Ready(now.Add(time.Hour)); !slices.Contains(lines, "sink prod: no pass has ended for 1h0m0s") {
		t.Errorf("nobody has looked for an hour, and it says %q", lines)
	}
}

// Law 11: a hub that issues for followers has no sinks. That it cannot read its store is
// told nevertheless.
func TestLaw11ASealedStoreWithoutSinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var sealed atomic.Bool
		w.store.Fail = func(storetest.Op, string) error {
			if sealed.Load() {
				return anycert.ErrUnavailable
			}
			return nil
		}
		loop := start(t, w)
		ready := func(after time.Duration) []string {
			time.Sleep(after)
			synctest.Wait()
			return loop.Health().Ready(time.Now())
		}
		if lines := ready(time.Hour); len(lines) != 0 {
			t.Errorf("not ready: %v", lines)
		}
		sealed.Store(true)
		if lines := ready(10 * time.Minute); len(lines) != 1 || !strings.Contains(lines[0], "the store has not answered") {
			t.Errorf("a store that is sealed for ten minutes: %v", lines)
		}
		sealed.Store(false)
		if lines := ready(time.Minute); len(lines) != 0 {
			t.Errorf("it does not recover by itself: %v", lines)
		}
	})
}

// What the hub itself obtains does not wait for the next tick.
func TestLoopPushesWhatItObtainsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bareWorld(t, []anycert.Certificate{example}, nil, "prod")
		issuer := &issuer{world: w}
		w.hub.Issuer = issuer
		start(t, w)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if w.writes() != 2 || issuer.count() != 1 {
			t.Errorf("two seconds after the order: %d writes, %d orders", w.writes(), issuer.count())
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if issuer.count() != 1 {
			t.Errorf("%d orders within the hour", issuer.count())
		}
	})
}

// An order that fails stops nothing, and is told once for each change.
func TestLoopOutlivesAFailingIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := anycert.Certificate{Name: "other", Domains: []string{"example.com"}}
		w := bareWorld(t, []anycert.Certificate{example, other}, nil, "prod")
		w.put("other", certs.Options{})
		w.hub.Issuer = &issuer{world: w, err: &anycert.PostponedError{Until: time.Now().Add(24 * time.Hour), Err: errors.New("the CA said no")}}
		start(t, w)
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := strings.Count(w.log.String(), "the CA said no"); got != 1 {
			t.Errorf("told %d times:\n%s", got, w.log.String())
		}
		if w.writes() != 2 {
			t.Errorf("the other certificate was not pushed: %d writes", w.writes())
		}
	})
}

// SIGTERM ends within 10 s, whatever a sink does.
func TestLoopEndsWithinTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bareWorld(t, []anycert.Certificate{example}, func(ctx context.Context, op string, _ anycert.Target) error {
			<-ctx.Done()
			return ctx.Err()
		}, "stuck")
		w.put("example", certs.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		_, ended := begin(ctx, w)
		asked := time.Now()
		cancel()
		<-ended
		if took := time.Since(asked); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// An end that is asked for while a reload waits for the old passes begins no new ones.
func TestLoopEndsWithinTheGraceOfAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var looks atomic.Int32
		w := bareWorld(t, []anycert.Certificate{example}, func(ctx context.Context, _ string, _ anycert.Target) error {
			looks.Add(1)
			<-ctx.Done()
			return ctx.Err()
		}, "stuck")
		w.put("example", certs.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		loop, ended := begin(ctx, w)
		reloaded := make(chan error)
		go func() { reloaded <- loop.Reload(ctx, w.hub.Parts, every(time.Minute)) }()
		time.Sleep(time.Second)
		before, asked := looks.Load(), time.Now()
		cancel()
		if err := <-reloaded; !errors.Is(err, context.Canceled) {
			t.Errorf("reload: %v", err)
		}
		<-ended
		if took := time.Since(asked); took > grace+breakOff || looks.Load() != before {
			t.Errorf("it took %v, and looked %d times more", took, looks.Load()-before)
		}
	})
}

// A reload swaps the configuration between passes and forgets nothing that was seen.
func TestLoopReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "prod")
		loop := start(t, w)
		side := sinktest.NewMemory(nil, "web")
		parts := w.hub.Parts
		parts.Agents = []Agent{{Name: "new", Type: "memory", Sink: side.Sink("prod"), Certificates: parts.Certificates}}
		if err := loop.Reload(t.Context(), parts, every(time.Minute)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if side.Writes() != 1 {
			t.Error("the new sink was not filled at once")
		}
		if _, ok := w.sides["prod"].Get("web/example"); !ok {
			t.Error("what was taken out of the configuration was deleted")
		}
		if lines := loop.Health().Ready(time.Now()); len(lines) != 0 {
			t.Errorf("not ready: %v", lines)
		}
	})
}

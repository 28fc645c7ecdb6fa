package reconcile

import (
	"context"
	"crypto/x509"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/sinks/sinktest"
)

// canaryWorld has a canary whose targets the world sees, and another sink, both with
// version 1. Time is the store's too.
func canaryWorld(t *testing.T) (*world, *fakeWire) {
	t.Helper()
	w := bareWorld(t, []anycert.Certificate{example}, nil, "first", "prod")
	w.store.Now = time.Now
	w.put("example", certs.Options{})
	f := &fakeWire{fresh: w.chain("example")}
	w.hub.Witness, w.hub.Soak = f, 10*time.Minute
	w.hub.Agents[0].Canary = true
	w.hub.Agents[0].Endpoints = func(anycert.Certificate, anycert.Target) []anycert.Endpoint { return []anycert.Endpoint{app} }
	wantVerdicts(t, w.sync(), Kept) // there was nothing: nobody waits for the soak
	return w, f
}

// anew is a hub that remembers nothing, as that of another process.
func (w *world) anew() {
	w.hub = New(w.hub.Parts, w.hub.log.log)
}

func (w *world) wantServed(when, sink string, entry anycert.Entry) {
	w.t.Helper()
	for _, label := range []string{"api/example", "web/example"} {
		if !w.serves(sink, label, entry) {
			w.t.Errorf("%s: %s %s does not have version %d", when, sink, label, entry.Version)
		}
	}
}

func wantWaiting(t *testing.T, report *Report, reason string) {
	t.Helper()
	for _, p := range report.Promises {
		switch {
		case p.Sink == "first" && p.Verdict != Kept:
			t.Errorf("the canary %s is %s: %s", p.Target, p.Verdict, p.Reason)
		case p.Sink != "first" && (p.Verdict != Waiting || p.Action != None || !strings.HasPrefix(p.Reason, "canary first ") || !strings.Contains(p.Reason, reason)):
			t.Errorf("%s %s is %s (%s), want it to wait for a canary: %s", p.Sink, p.Target, p.Verdict, p.Reason, reason)
		}
	}
	if got := report.SyncExit(); got != ExitOK {
		t.Errorf("exit %d", got)
	}
}

// A sync after the other, each of a process of its own: the canary, then the others.
func TestCanaryGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := canaryWorld(t)
		old, err := w.store.Stat(t.Context(), "example")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		next := w.put("example", certs.Options{})
		f.fresh = w.chain("example")
		w.anew()
		if p := find(t, w.audit(), "prod", "web/example"); p.Verdict != Waiting || !strings.HasPrefix(p.Reason, "canary first is not there yet: api/example is broken: another certificate is there") {
			t.Errorf("before the first sync it is %s: %s", p.Verdict, p.Reason)
		}
		w.anew()
		wantWaiting(t, w.hub.Sync(t.Context(), SyncOptions{}), "has version 2 since 2000-01-01 01:00:00Z: the others follow at 2000-01-01 01:10:00Z; what is served stays, until")
		w.wantServed("in the first sync", "first", next)
		w.wantServed("in the first sync", "prod", old)
		time.Sleep(9 * time.Minute)
		for _, look := range []func() *Report{w.audit, func() *Report { return w.hub.Status(t.Context()) }, w.sync} {
			w.anew()
			wantWaiting(t, look(), "the others follow at 2000-01-01 01:10:00Z")
		}
		w.anew()
		var told strings.Builder
		w.hub.Status(t.Context()).WriteWaits(&told)
		if want := "certificate example waits at 2 of its places: canary first has version 2 since "; strings.Count(told.String(), "\n") != 1 || !strings.HasPrefix(told.String(), want) {
			t.Errorf("status says %q", told.String())
		}
		w.anew()
		wantWaiting(t, w.hub.Sync(t.Context(), SyncOptions{Only: Only{Sink: "prod", Target: "web/example"}}), "the others follow at")
		writes := w.writes()
		time.Sleep(time.Minute + time.Second)
		w.anew()
		if got := actions(w.audit()); len(got) != 2 || got[0] != "prod api/example replace" {
			t.Errorf("to be done after the soak: %v", got)
		}
		wantVerdicts(t, w.sync(), Kept)
		w.wantServed("after the soak", "prod", next)
		wantVerdicts(t, w.sync(), Kept)
		if got := w.writes() - writes; got != 2 {
			t.Errorf("%d writes, want 2", got)
		}
	})
}

// One sync does it all where nothing is to be waited for.
func TestCanaryWithoutSoak(t *testing.T) {
	w, f := canaryWorld(t)
	w.hub.Soak = 0
	next := w.put("example", certs.Options{})
	f.fresh = w.chain("example")
	w.anew()
	wantVerdicts(t, w.sync(), Kept)
	w.wantServed("in one sync", "prod", next)
	if strings.Contains(w.log.String(), "promise waits") {
		t.Errorf("what ended within the pass was told:\n%s", w.log)
	}
}

// What the world is served tells, where it can be seen.
func TestCanaryOnTheWire(t *testing.T) {
	for name, test := range map[string]struct {
		shown  func(next, old []*x509.Certificate) []*x509.Certificate
		reason string
	}{
		"another":       {func(_, old []*x509.Certificate) []*x509.Certificate { return old }, "another certificate is served"},
		"without chain": {func(next, _ []*x509.Certificate) []*x509.Certificate { return next[:1] }, "the chain lacks its intermediate"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, f := canaryWorld(t)
				w.hub.Soak = 0
				old, err := w.store.Stat(t.Context(), "example")
				if err != nil {
					t.Fatal(err)
				}
				before := f.fresh
				w.put("example", certs.Options{Intermediate: true})
				f.fresh = test.shown(w.chain("example"), before)
				wantWaiting(t, w.sync(), test.reason)
				w.anew()
				w.hub.Agents[1].Endpoints = w.hub.Agents[0].Endpoints
				audit := w.audit()
				wantWaiting(t, audit, test.reason)
				if got := find(t, audit, "prod", "web/example").Wire.Remedy; got != "the target waits, see there" {
					t.Errorf("what is to be done where it waits: %s", got)
				}
				w.hub.Agents[1].Endpoints = nil
				w.anew()
				wantWaiting(t, w.sync(), test.reason)
				w.wantServed("with a bad canary", "prod", old)

				// Going back is for all at once.
				bundle, err := w.store.Get(t.Context(), "example", 1)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := w.store.Put(t.Context(), "example", 2, bundle, anycert.Origin{}.RolledBack("ops@laptop", 1)); err != nil {
					t.Fatal(err)
				}
				f.fresh = before
				wantVerdicts(t, w.sync(), Kept)
				w.wantServed("after the rollback", "first", old)
			})
		})
	}
}

// Who does not wait, although the canary does not answer.
func TestWhoDoesNotWaitForACanary(t *testing.T) {
	dead := false
	fault := func(_ context.Context, _ string, target anycert.Target) error {
		if dead && target.Key == "first" {
			return errBroken
		}
		return nil
	}
	for name, test := range map[string]struct {
		version certs.Options // 1
		change  func(*world)  // after version 2 was written
		waits   bool
	}{
		"a new version waits":                          {certs.Options{}, func(*world) {}, true},
		"more than a third is left":                    {certs.Options{NotBefore: time.Now().AddDate(0, 0, -59), NotAfter: time.Now().AddDate(0, 0, 31)}, func(*world) {}, true},
		"less than a third of its life is left":        {certs.Options{NotBefore: time.Now().AddDate(0, 0, -61), NotAfter: time.Now().AddDate(0, 0, 29)}, func(*world) {}, false},
		"of a life that is shorter than the store's":   {certs.Options{NotBefore: time.Now().AddDate(0, 0, -2), NotAfter: time.Now().AddDate(0, 0, 4)}, func(*world) {}, true},
		"nothing is there":                             {certs.Options{}, func(w *world) { w.sides["prod"].Delete("web/example"); w.sides["prod"].Delete("api/example") }, false},
		"its own version was changed by hand there":    {certs.Options{}, func(w *world) { w.changedByHand() }, false},
		"another sink is the only one that it has":     {certs.Options{}, func(w *world) { w.hub.Agents = w.hub.Agents[1:] }, false},
		"the canary is for other certificates":         {certs.Options{}, func(w *world) { w.hub.Agents[0].Certificates = nil }, false},
		"the canary is suspended, which proves nought": {certs.Options{}, func(w *world) { w.hub.Agents[0].Suspended = true }, true},
	} {
		t.Run(name, func(t *testing.T) {
			dead = false
			w := bareWorld(t, []anycert.Certificate{example}, fault, "first", "prod")
			w.put("example", test.version)
			w.hub.Agents[0].Canary = true
			w.sync()
			dead = true
			next := w.put("example", certs.Options{})
			test.change(w)
			w.anew()
			w.sync()
			if got := w.serves("prod", "web/example", next); got == test.waits {
				t.Errorf("pushed to: %t\n%s", got, w.log)
			}
		})
	}
}

// changedByHand has the sink prod hold the store's version, and then something else under
// our mark of it.
func (w *world) changedByHand() {
	w.t.Helper()
	agents := w.hub.Agents
	w.hub.Agents = agents[1:]
	w.sync()
	w.hub.Agents = agents
	pair, err := w.ca.Issue(certs.Options{Names: example.Domains})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, label := range []string{"web/example", "api/example"} {
		object, _ := w.sides["prod"].Get(label)
		w.sides["prod"].Put(label, sinktest.Object{ChainPEM: pair.ChainPEM, KeyPEM: pair.KeyPEM, Mark: object.Mark})
	}
}

// A daemon looks at its canary in each pass while others wait, counts the soak from when
// it brought the version there, and has them follow.
func TestLoopWithACanary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := canaryWorld(t)
		var down atomic.Bool
		w.hub.Agents[0].Sink = gate{w.hub.Agents[0].Sink, &down}
		loop := start(t, w)
		before := f.fresh
		down.Store(true)
		next := w.put("example", certs.Options{Intermediate: true})
		f.set(func(f *fakeWire) { f.fresh = w.chain("example")[:1] })
		time.Sleep(20 * time.Minute) // longer than the soak
		if w.serves("first", "web/example", next) || w.serves("prod", "web/example", next) {
			t.Fatal("the canary is down, and somebody has it")
		}
		down.Store(false)
		time.Sleep(5 * time.Minute)
		if !w.serves("first", "web/example", next) || w.serves("prod", "web/example", next) {
			t.Fatal("the world is served a broken chain by the canary, and others followed or it has it not")
		}
		if text := strings.Join(loop.Health().Ready(time.Now()), "\n"); strings.Contains(text, "prod") { // waiting is calm
			t.Error(text)
		}
		if on := loop.Health().Alarms(time.Now()).On; len(on) != 1 || on[0].Kind != WireAlarm || on[0].Sink != "first" {
			t.Errorf("alarms: %+v", on)
		}
		f.set(func(f *fakeWire) { f.fresh = w.chain("example") }) // the server was mended
		time.Sleep(time.Minute + 30*time.Second)
		synctest.Wait()
		if w.serves("prod", "web/example", next) {
			t.Fatal("the canary has had it for less than the soak")
		}
		f.set(func(f *fakeWire) { f.fresh = before })
		time.Sleep(10 * time.Minute)
		if w.serves("prod", "web/example", next) {
			t.Fatal("what the world is served broke again within the soak, and nobody looked")
		}
		f.set(func(f *fakeWire) { f.fresh = w.chain("example") })
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		if !w.serves("prod", "web/example", next) {
			t.Errorf("all is well and the soak is over, and the others did not follow:\n%s", w.log)
		}
		if got := strings.Count(w.log.String(), "promise waits"); got > 12 { // six words on each of two
			t.Errorf("it told of waiting %d times:\n%s", got, w.log)
		}
	})
}

// gate is a sink that cannot be reached while it is down.
type gate struct {
	anycert.Sink
	down *atomic.Bool
}

func (g gate) Observe(ctx context.Context, target anycert.Target) (anycert.Observed, error) {
	if g.down.Load() {
		return anycert.Observed{}, errBroken
	}
	return g.Sink.Observe(ctx, target)
}

// Others follow as soon as the canary shows it, not at the next tick.
func TestLoopReleasesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := canaryWorld(t)
		w.hub.Soak = 0
		start(t, w)
		next := w.put("example", certs.Options{})
		f.set(func(f *fakeWire) { f.fresh = w.chain("example") })
		time.Sleep(time.Minute)
		synctest.Wait()
		w.wantServed("in the tick of the canary", "prod", next)
	})
}

// A person who renews sees the canary go first, and the others follow after the soak; and
// what a key known to others signs does not wait for a soak.
func TestRenewWithACanary(t *testing.T) {
	for name, test := range map[string]struct {
		request anycert.Request
		takes   time.Duration // at least
	}{
		"a renewal":         {anycert.Request{}, 10 * time.Minute},
		"a compromised key": {anycert.Request{Compromised: true, Deadline: begun.AddDate(0, 1, 0)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, _ := askingWorld(t, 1, nil, "first", "prod")
				c := w.hub.Certificates[0].Name
				w.hub.Witness, w.hub.Soak = followingWire{w, c}, 10*time.Minute
				w.hub.Agents[0].Canary = true
				w.hub.Agents[0].Endpoints = func(anycert.Certificate, anycert.Target) []anycert.Endpoint { return []anycert.Endpoint{app} }
				started := time.Now()
				all := w.hub.Renew(t.Context(), w.ask(test.request, time.Time{}), time.Hour, silent)
				took := time.Since(started)
				if !AllDone(all) || took < test.takes || took > test.takes+time.Minute {
					t.Errorf("after %s: %s", took, all[0].Words())
				}
			})
		})
	}
}

// followingWire serves what the sink first has.
type followingWire struct {
	w           *world
	certificate string
}

func (f followingWire) Look(_ context.Context, wanted []anycert.Handshake) [][]anycert.Served {
	object, _ := f.w.sides["first"].Get("web/" + f.certificate)
	chain, _ := anycert.ParseChain(object.ChainPEM)
	served := make([][]anycert.Served, len(wanted))
	for i, handshake := range wanted {
		served[i] = []anycert.Served{shows(handshake.Endpoint, "192.0.2.7", chain...)}
		served[i][0].At = time.Now()
	}
	return served
}

package reconcile

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/sinks/sinktest"
)

// A command that works for longer looks at the canary's wire in each round: a server takes
// its time to read what it was given, and may be ill later.
func TestRenewLooksAtTheCanaryAgain(t *testing.T) {
	for name, test := range map[string]struct {
		ill   func(since time.Duration) bool
		takes time.Duration
	}{
		"served late":     {func(since time.Duration) bool { return since < 12*time.Minute }, 12 * time.Minute},
		"ill in the soak": {func(since time.Duration) bool { return since > 8*time.Minute && since < 20*time.Minute }, 20 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, _ := askingWorld(t, 1, nil, "first", "prod")
				started := time.Now()
				w.hub.Witness, w.hub.Soak = illWire{followingWire{w, w.hub.Certificates[0].Name}, func() bool { return test.ill(time.Since(started)) }}, 10*time.Minute
				w.hub.Agents[0].Canary = true
				w.hub.Agents[0].Endpoints = func(anycert.Certificate, anycert.Target) []anycert.Endpoint { return []anycert.Endpoint{app} }
				all := w.hub.Renew(t.Context(), w.ask(anycert.Request{}, time.Time{}), time.Hour, silent)
				if took := time.Since(started); !AllDone(all) || took < test.takes || took > test.takes+time.Minute {
					t.Errorf("after %s: %s", took, all[0].Words())
				}
			})
		})
	}
}

// illWire shows nothing while it is ill.
type illWire struct {
	anycert.Witness
	ill func() bool
}

func (i illWire) Look(ctx context.Context, wanted []anycert.Handshake) [][]anycert.Served {
	served := i.Witness.Look(ctx, wanted)
	if i.ill() {
		for _, s := range served {
			s[0].Chain, s[0].Err = nil, errBroken
		}
	}
	return served
}

// When a canary got a version is not forgotten while the store does not answer.
func TestSoakOutlastsTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := canaryWorld(t)
		var down, silent atomic.Bool
		w.hub.Agents[0].Sink = gate{w.hub.Agents[0].Sink, &down}
		w.hub.Store = gatedStore{w.hub.Store, &silent}
		w.anew()
		start(t, w)
		down.Store(true)
		next := w.put("example", certs.Options{})
		time.Sleep(20 * time.Minute)
		down.Store(false)
		f.set(func(f *fakeWire) { f.fresh = w.chain("example") })
		time.Sleep(time.Minute + time.Second)
		w.wantServed("when it is back", "first", next)
		silent.Store(true)
		time.Sleep(time.Minute)
		silent.Store(false)
		time.Sleep(7 * time.Minute)
		if w.serves("prod", "web/example", next) {
			t.Error("the canary has had it for eight minutes, and the others followed")
		}
		time.Sleep(3 * time.Minute)
		w.wantServed("after the soak", "prod", next)
	})
}

// gatedStore does not answer while it is silent.
type gatedStore struct {
	anycert.Store
	silent *atomic.Bool
}

func (g gatedStore) Stat(ctx context.Context, name string) (anycert.Entry, error) {
	if g.silent.Load() {
		return anycert.Entry{}, anycert.ErrUnavailable
	}
	return g.Store.Stat(ctx, name)
}

// The soak begins when the provider has activated it, not when it took it.
func TestSoakBeginsWhenItIsActive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := canaryWorld(t)
		var waits atomic.Bool
		w.hub.Agents[0].Sink = slowProvider{w.hub.Agents[0].Sink, &waits}
		w.anew()
		start(t, w)
		time.Sleep(time.Second)
		waits.Store(true)
		next := w.put("example", certs.Options{})
		f.set(func(f *fakeWire) { f.fresh = w.chain("example") })
		time.Sleep(20 * time.Minute)
		waits.Store(false)
		time.Sleep(9 * time.Minute)
		if w.serves("prod", "web/example", next) {
			t.Error("the canary has served it for nine minutes, and the others followed")
		}
		time.Sleep(3 * time.Minute)
		w.wantServed("after the soak", "prod", next)
	})
}

// slowProvider has accepted what it holds, and not activated it.
type slowProvider struct {
	anycert.Sink
	waits *atomic.Bool
}

func (s slowProvider) Observe(ctx context.Context, target anycert.Target) (anycert.Observed, error) {
	o, err := s.Sink.Observe(ctx, target)
	if s.waits.Load() {
		o.Waiting = "it is being validated"
	}
	return o, err
}

// A canary that hangs shows nothing: what was seen before is not enough.
func TestCanaryThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := canaryWorld(t)
		hangs := make(chan struct{})
		var hang atomic.Bool
		w.hub.Agents[0].Sink = stuck{w.hub.Agents[0].Sink, &hang, hangs}
		start(t, w)
		next := w.put("example", certs.Options{})
		f.set(func(f *fakeWire) { f.fresh = w.chain("example") })
		time.Sleep(2 * time.Minute)
		w.wantServed("at first", "first", next)
		hang.Store(true)
		time.Sleep(20 * time.Minute)
		if w.serves("prod", "web/example", next) {
			t.Error("nobody has seen the canary since two minutes after it got the version, and the others followed")
		}
		hang.Store(false)
		close(hangs)
		time.Sleep(2 * time.Minute)
		w.wantServed("when it is back", "prod", next)
	})
}

// stuck is a sink that heeds no context while it hangs.
type stuck struct {
	anycert.Sink
	hang *atomic.Bool
	ends chan struct{}
}

func (s stuck) Observe(ctx context.Context, target anycert.Target) (anycert.Observed, error) {
	if s.hang.Load() {
		<-s.ends
	}
	return s.Sink.Observe(ctx, target)
}

// What serves nobody is put right at once, whoever is ill.
func TestWhatServesNobodyDoesNotWait(t *testing.T) {
	for name, spoil := range map[string]func(old, next sinktest.Object) sinktest.Object{
		"what is there is no certificate": func(old, _ sinktest.Object) sinktest.Object {
			old.ChainPEM = []byte("nothing")
			return old
		},
		"the new certificate without its key": func(old, next sinktest.Object) sinktest.Object {
			old.ChainPEM, old.KeyPEM = next.ChainPEM, nil
			return old
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, _ := canaryWorld(t)
				next := w.put("example", certs.Options{})
				w.sync() // the canary has it, and is seen to serve another
				old, _ := w.sides["prod"].Get("web/example")
				whole, _ := w.sides["first"].Get("web/example")
				w.sides["prod"].Put("web/example", spoil(old, whole))
				w.anew()
				w.sync()
				if !w.serves("prod", "web/example", next) || w.serves("prod", "api/example", next) {
					t.Errorf("web has it: %t, api: %t\n%s", w.serves("prod", "web/example", next), w.serves("prod", "api/example", next), w.log)
				}
			})
		})
	}
}

// What is to be revoked is replaced before that, also while the canary is ill.
func TestRevocationWaitsForNoCanary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := askingWorld(t, 1, nil, "first", "prod")
		var down atomic.Bool
		w.hub.Agents[0].Sink, w.hub.Agents[0].Canary, w.hub.Soak = gate{w.hub.Agents[0].Sink, &down}, true, 10*time.Minute
		name := w.hub.Certificates[0].Name
		start(t, w)
		down.Store(true)
		asked := time.Now()
		w.ask(anycert.Request{Compromised: true, Deadline: time.Now().Add(24 * time.Hour)}, time.Time{})
		time.Sleep(15 * time.Hour)
		next, err := w.store.Stat(t.Context(), name)
		if err != nil || next.Version != 2 || w.serves("prod", "web/"+name, next) {
			t.Fatalf("version %d, which the others have: %t (%v)", next.Version, w.serves("prod", "web/"+name, next), err)
		}
		if p := find(t, w.audit(), "prod", "web/"+name); !strings.HasSuffix(p.Reason, "until "+stamp(asked.Add(16*time.Hour))+" at the latest") {
			t.Error(p.Reason)
		}
		time.Sleep(time.Hour + 2*time.Minute)
		if !w.serves("prod", "web/"+name, next) {
			t.Error("a third of the time until the old one is revoked is left, and the others do not have the new one")
		}
	})
}

// A store that is right although it went back is right for all at once: the next pass
// would not know what the person said.
func TestAcceptedStoreWaitsForNoCanary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := canaryWorld(t)
		w.hub.Soak = 0
		time.Sleep(time.Hour)
		w.put("example", certs.Options{})
		f.fresh = w.chain("example")
		wantVerdicts(t, w.sync(), Kept)
		w.hub.Soak = 10 * time.Minute
		w.store.Now = func() time.Time { return time.Date(2000, 1, 1, 0, 1, 0, 0, time.UTC) }
		back := w.put("example", certs.Options{})
		f.fresh = w.chain("example")
		w.anew()
		wantVerdicts(t, w.sync(), Held)
		w.anew()
		wantVerdicts(t, w.hub.Sync(t.Context(), SyncOptions{AcceptStore: []string{"example"}}), Kept)
		w.wantServed("accepted", "prod", back)
	})
}

// What left the configuration awaits no canary.
func TestReloadForgetsWhoWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := canaryWorld(t)
		loop := start(t, w)
		w.put("example", certs.Options{Intermediate: true})
		f.set(func(f *fakeWire) { f.fresh = w.chain("example")[:1] })
		time.Sleep(2 * time.Minute)
		if n := len(w.hub.awaited(w.hub.Agents[0])); n != 1 {
			t.Fatalf("%d certificates are awaited", n)
		}
		parts := w.hub.Parts
		other := parts.Agents[1]
		other.Certificates = nil
		parts.Agents = []Agent{parts.Agents[0], other}
		if err := loop.Reload(t.Context(), parts, every(time.Minute)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := len(loop.hub.awaited(parts.Agents[0])); n != 0 {
			t.Errorf("%d certificates are awaited where nobody waits", n)
		}
	})
}

// What cannot be read, or was not looked at yet, makes nobody take the few that could be
// for all.
func TestBrakeCountsWhatItCannotSee(t *testing.T) {
	for name, hangs := range map[string]bool{"not readable": false, "hangs": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := brakeWorld(t, 3)
				var down, hang atomic.Bool
				down.Store(!hangs)
				hang.Store(hangs)
				ends := make(chan struct{})
				w.hub.Agents[1].Sink = stuck{gate{w.hub.Agents[1].Sink, &down}, &hang, ends}
				for _, c := range w.hub.Certificates {
					w.write(c.Name, anycert.Origin{}, certs.Options{})
				}
				w.anew()
				writes := w.writes()
				start(t, w)
				time.Sleep(10 * time.Minute)
				if n := w.writes() - writes; n > 0 {
					t.Errorf("%d of 12 were replaced:\n%s", n, w.log)
				}
				close(ends)
			})
		})
	}
}

// That many wait for one canary is told once, though each look at it brings other details.
func TestWaitingIsToldOnce(t *testing.T) {
	log := new(syncBuffer)
	c := newChanges(slog.New(slog.NewTextHandler(log, nil)))
	p := Promise{Certificate: "example", Key: "k", Sink: "prod", Verdict: Waiting, Version: 2, follows: true, sighting: new(sighting)}
	for _, detail := range []string{"192.0.2.7, 192.0.2.8", "192.0.2.8, 192.0.2.7", "192.0.2.9"} {
		p.Reason = "canary first has version 2, and the world is not served it: another certificate is served, at 2 of 4 addresses (" + detail + ")"
		c.promise(p)
	}
	p.Version++
	c.promise(p)
	p.Reason = "canary first has version 3 since 2026-01-01 00:00:00Z: the others follow at 2026-01-01 00:10:00Z"
	c.promise(p)
	if n := strings.Count(log.String(), "promise waits"); n != 3 {
		t.Errorf("told %d times:\n%s", n, log)
	}
}

// One certificate at very many targets costs a pass no more than many at one.
func BenchmarkEvidence(b *testing.B) {
	for _, certificates := range []int{1, 10_000} {
		b.Run(fmt.Sprintf("%d certificates", certificates), func(b *testing.B) {
			var promises []Promise
			for i := range 10_000 {
				promises = append(promises, Promise{Certificate: fmt.Sprintf("c%05d", i%certificates), Sink: "prod", Target: fmt.Sprintf("ns%05d/tls", i), sighting: new(sighting)})
			}
			sortPromises(promises)
			seen := new(evidence)
			b.ReportAllocs()
			for b.Loop() {
				seen.put("prod", promises)
				seen.witness("prod", promises)
			}
		})
	}
}

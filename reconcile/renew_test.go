package reconcile

import (
	"context"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/sinks/sinktest"
)

// asking is an issuer that people ask. What is asked for is kept as long as the test
// lives, also when the hub is another.
type asking struct {
	planner
	requests map[string]anycert.Request
	settled  []string // "name served"
	err      error    // of Settle
	revoke   func(context.Context) error
}

func (a *asking) Renewal(c anycert.Certificate, entry *anycert.Entry, now time.Time) anycert.Renewal {
	renewal := a.planner.Renewal(c, entry, now)
	a.mu.Lock()
	defer a.mu.Unlock()
	if r, ok := a.requests[c.Name]; ok && (entry == nil || entry.Version <= r.Version) {
		renewal.At, renewal.Reason, renewal.Urgency = now, r.By+" asked for it", anycert.New
	}
	return renewal
}

func (a *asking) Request(_ context.Context, c anycert.Certificate, r anycert.Request) (anycert.Request, error) {
	a.Suppose(c, r)
	return r, nil
}

func (a *asking) Suppose(c anycert.Certificate, r anycert.Request) {
	a.set(func() { a.requests[c.Name] = r })
}

func (a *asking) Requests() map[string]anycert.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.requests)
}

func (a *asking) Settle(ctx context.Context, c anycert.Certificate, served bool) (bool, error) {
	entry, err := a.world.store.Stat(ctx, c.Name)
	if err == nil && a.revoke != nil {
		err = a.revoke(ctx)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.requests[c.Name]
	switch {
	case err != nil:
		return false, err
	case a.err != nil:
		return false, a.err
	case entry.Version <= r.Version, r.Revokes() && !served && time.Now().Before(r.Deadline):
		return false, nil
	}
	delete(a.requests, c.Name)
	a.settled = append(a.settled, fmt.Sprint(c.Name, " ", served))
	return true, nil
}

func (*asking) Revoke(context.Context, anycert.Certificate, *x509.Certificate, anycert.Origin, string) error {
	return nil
}

// askingWorld is one of n certificates that were issued and pushed an hour ago.
func askingWorld(t *testing.T, n int, fault sinktest.Fault, sinks ...string) (*world, *asking) {
	t.Helper()
	w := bareWorld(t, named(n), fault, sinks...)
	w.store.Now = time.Now
	ca := &asking{planner: planner{issuer: issuer{world: w}}, requests: map[string]anycert.Request{}}
	for _, c := range w.hub.Certificates {
		w.put(c.Name, certs.Options{})
	}
	time.Sleep(time.Hour)
	w.hub.Issuer = ca
	w.sync()
	return w, ca
}

func (w *world) ask(request anycert.Request, since time.Time) []Asked {
	w.t.Helper()
	request.By, request.Time = "ops@laptop", time.Now()
	asked, err := w.hub.Ask(w.t.Context(), w.hub.Certificates, request, since, false)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.hub.Keep(w.t.Context(), asked); err != nil {
		w.t.Fatal(err)
	}
	return asked
}

func (w *world) version(name string) int {
	w.t.Helper()
	entry, err := w.store.Stat(w.t.Context(), name)
	if err != nil {
		w.t.Fatal(err)
	}
	return entry.Version
}

func silent([]Renewed) {}

// renew obtains, pushes, looks, and ends what was asked for. Asked again for the same it
// finds that it is done.
func TestRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := askingWorld(t, 3, nil, "prod", "edge")
		ca.takes = time.Second
		asked := w.ask(anycert.Request{}, time.Time{})
		all := w.hub.Renew(t.Context(), asked, time.Hour, silent)
		for _, r := range all {
			if !r.Done() || !r.Served || r.Version != 2 || len(r.Unserved) > 0 {
				t.Errorf("%+v: %s", r, r.Words())
			}
		}
		if !AllDone(all) || len(ca.requests) != 0 || len(ca.order()) != 3 {
			t.Errorf("%d requests are left, %d orders", len(ca.requests), len(ca.order()))
		}
		again := w.hub.Renew(t.Context(), w.ask(anycert.Request{}, asked[0].Request.Time), time.Hour, silent)
		if !AllDone(again) || len(ca.order()) != 3 {
			t.Errorf("since then all is done, and it made %d orders: %v", len(ca.order())-3, again)
		}
	})
}

// What fails when the time is over is told as well.
func TestRenewTellsTheLastFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := askingWorld(t, 1, nil, "prod")
		ca.takes = time.Minute
		all := w.hub.Renew(t.Context(), w.ask(anycert.Request{}, time.Time{}), time.Second, silent)
		if !strings.HasPrefix(all[0].Words(), "not renewed: ") {
			t.Error(all[0].Words())
		}
	})
}

// mended is an issuer with a failure from before somebody mended the cause.
type mended struct{ *asking }

func (m mended) Renewal(c anycert.Certificate, entry *anycert.Entry, now time.Time) anycert.Renewal {
	renewal := m.asking.Renewal(c, entry, now)
	if entry != nil && entry.Version == 1 {
		renewal.Failure = &anycert.Failure{Class: anycert.ToMend, Text: "the key is refused", Attempts: 1, Next: now.Add(24 * time.Hour)}
	}
	return renewal
}

// A failure from before the command is no reason to give up: it is asked for because
// somebody mended the cause.
func TestRenewAfterTheCauseWasMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := askingWorld(t, 1, nil, "prod")
		ca.takes = 5 * time.Second
		w.hub.Issuer = mended{ca}
		all := w.hub.Renew(t.Context(), w.ask(anycert.Request{}, time.Time{}), time.Hour, silent)
		if !AllDone(all) {
			t.Error(all[0].Words())
		}
	})
}

// A command that is ended in the middle is gone on with by the same command, which renews
// nothing twice.
func TestRenewGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := askingWorld(t, 20, nil, "prod")
		ca.takes = time.Minute
		ctx, cancel := context.WithTimeoutCause(t.Context(), 90*time.Second, errBroken)
		defer cancel()
		first := w.hub.Renew(ctx, w.ask(anycert.Request{}, time.Time{}), time.Hour, silent)
		if renewed, _ := Renewing(first); renewed == 0 || renewed == 20 || AllDone(first) {
			t.Fatalf("%d were renewed before the end", renewed)
		}
		time.Sleep(time.Minute)
		again := w.ask(anycert.Request{}, time.Time{})
		for _, a := range again {
			if begun := first[0].Request.Time; !a.Request.Begun.Equal(begun) {
				t.Errorf("%s was first asked for at %s, want %s", a.Certificate.Name, a.Request.Begun, begun)
			}
		}
		all := w.hub.Renew(t.Context(), again, time.Hour, silent)
		if !AllDone(all) {
			t.Errorf("not done: %v", all)
		}
		for _, c := range w.hub.Certificates {
			if v := w.version(c.Name); v != 2 {
				t.Errorf("%s was renewed %d times", c.Name, v-1)
			}
		}
	})
}

// died is an issuer whose order for one certificate was not ended by who wrote it.
type died struct {
	*asking
	name string
	left atomic.Bool
}

func (d *died) Unfinished(context.Context) ([]string, error) {
	if d.left.Load() {
		return []string{d.name}, nil
	}
	return nil, nil
}

func (d *died) Obtain(ctx context.Context, c anycert.Certificate) (anycert.Entry, error) {
	if c.Name != d.name {
		return d.asking.Obtain(ctx, c)
	}
	d.left.Store(false)
	return anycert.Entry{}, anycert.ErrUnchanged
}

// A certificate may have come as far as it can while the end of its order, which somebody
// left, waits behind the orders of others.
func TestRenewEndsWhatOthersBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := askingWorld(t, 2*ordersAtOnce, nil, "prod")
		ca.takes = 20 * time.Second
		last := w.hub.Certificates[2*ordersAtOnce-1].Name
		issuer := &died{asking: ca, name: last}
		issuer.left.Store(true)
		w.hub.Issuer = issuer
		asked := w.ask(anycert.Request{}, time.Time{})
		w.put(last, certs.Options{})
		all := w.hub.Renew(t.Context(), asked, time.Hour, silent)
		if !AllDone(all) || w.version(last) != 2 {
			t.Errorf("not done: %v", all)
		}
		if issuer.left.Load() {
			t.Error("the order of one that was renewed before is not ended")
		}
	})
}

// What was asked for by a command that is gone is done by the daemon.
func TestDaemonGoesOnWithRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := askingWorld(t, 3, nil, "prod")
		w.ask(anycert.Request{Compromised: true, Deadline: time.Now().Add(24 * time.Hour)}, time.Time{})
		w.hub = w.hub.With(w.hub.Parts)
		start(t, w)
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		slices.Sort(ca.settled)
		if want := []string{"c00 true", "c01 true", "c02 true"}; !slices.Equal(ca.settled, want) {
			t.Errorf("settled %v, want %v", ca.settled, want)
		}
		if n := strings.Count(w.log.String(), "what was asked for is done"); n != 3 {
			t.Errorf("told %d times:\n%s", n, w.log.String())
		}
	})
}

// A place that does not take the new certificate, one that is suspended, and one that
// cannot be looked at hold a revocation back until the deadline, and no longer.
func TestRevocationWaitsForEveryPlace(t *testing.T) {
	for name, change := range map[string]func(*world, *bool){
		"fails":     func(_ *world, refuses *bool) { *refuses = true },
		"suspended": func(w *world, _ *bool) { w.hub.Agents[1].Suspended = true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				refuses := false
				w, ca := askingWorld(t, 1, func(_ context.Context, op string, target anycert.Target) error {
					if refuses && target.Key == "edge" {
						return errBroken
					}
					return nil
				}, "prod", "edge")
				change(w, &refuses)
				request := anycert.Request{Compromised: true, Deadline: time.Now().Add(24 * time.Hour)}
				all := w.hub.Renew(t.Context(), w.ask(request, time.Time{}), time.Hour, silent)
				if r := all[0]; !r.Renewed || r.Served || r.Settled || AllDone(all) {
					t.Errorf("%+v", r)
				}
				if words := all[0].Words(); !strings.Contains(words, "edge") || !strings.Contains(words, stamp(request.Deadline)) {
					t.Errorf("it says %q", words)
				}
				start(t, w)
				time.Sleep(22 * time.Hour)
				synctest.Wait()
				if len(ca.settled) != 0 {
					t.Fatal("revoked before the deadline")
				}
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				if !slices.Equal(ca.settled, []string{"c00 false"}) {
					t.Errorf("settled at the deadline: %v", ca.settled)
				}
				if !strings.Contains(w.log.String(), "revoked at the deadline") || !strings.Contains(w.log.String(), "not_served_at=") {
					t.Errorf("the log does not tell who still serves it:\n%s", w.log.String())
				}
			})
		})
	}
}

// Where no sink of this configuration has the certificate, nobody here can tell who serves
// it: it is revoked at the deadline.
func TestRevocationOfWhatIsServedElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := askingWorld(t, 1, nil)
		request := anycert.Request{Compromised: true, Deadline: time.Now().Add(time.Hour)}
		all := w.hub.Renew(t.Context(), w.ask(request, time.Time{}), 30*time.Minute, silent)
		if words := all[0].Words(); len(ca.settled) != 0 || !strings.Contains(words, "no sink of this configuration has it") {
			t.Errorf("settled %v: %s", ca.settled, words)
		}
		time.Sleep(time.Hour)
		if w.sync(); !slices.Equal(ca.settled, []string{"c00 false"}) {
			t.Errorf("settled %v", ca.settled)
		}
	})
}

// A revocation that fails holds nothing else up, and is told once for each reason.
func TestRevocationThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := askingWorld(t, 1, nil, "prod")
		ca.err = errBroken
		request := anycert.Request{Superseded: true, Deadline: time.Now().Add(time.Hour)}
		all := w.hub.Renew(t.Context(), w.ask(request, time.Time{}), time.Hour, silent)
		if r := all[0]; !r.Served || r.Settled || AllDone(all) || !strings.Contains(r.Words(), errBroken.Error()) {
			t.Errorf("%+v: %s", r, r.Words())
		}
		start(t, w)
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := strings.Count(w.log.String(), "what was asked for is not done"); n != 1 {
			t.Errorf("told %d times:\n%s", n, w.log.String())
		}
		ca.set(func() { ca.err = nil })
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if len(ca.settled) != 1 {
			t.Error("it does not recover by itself")
		}
	})
}

// What the CA's limits hold back for longer than there is time is left to the daemon.
func TestRenewGivesUpOnLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := askingWorld(t, 2, nil, "prod")
		ca.waits = map[string]time.Time{"c01": time.Now().Add(3 * time.Hour)}
		begun := time.Now()
		all := w.hub.Renew(t.Context(), w.ask(anycert.Request{}, time.Time{}), time.Hour, silent)
		if took := time.Since(begun); took > time.Minute {
			t.Errorf("it waited for %s, and knew that it would be in vain", took)
		}
		if !all[0].Done() || all[1].Renewed || all[1].Waits == nil || !strings.Contains(RenewedSummary(all), "1 waiting for the CA's limits") {
			t.Errorf("%s: %v", RenewedSummary(all), all)
		}
		status := w.hub.Status(t.Context())
		var text strings.Builder
		status.WriteRequests(&text)
		if !strings.Contains(text.String(), "certificate c01: asked for by ops@laptop at ") {
			t.Errorf("status says\n%s", text.String())
		}
		start(t, w)
		time.Sleep(3*time.Hour + time.Minute)
		synctest.Wait()
		if v := w.version("c01"); v != 2 {
			t.Errorf("c01 is at version %d", v)
		}
	})
}

// What was asked for about a certificate that nobody here works on any more is told, once
// by a daemon and always by status.
func TestStrandedRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := askingWorld(t, 4, nil, "prod")
		w.ask(anycert.Request{Compromised: true, Deadline: time.Now().Add(time.Hour)}, time.Time{})
		ca.waits = map[string]time.Time{"c03": time.Now().Add(2 * time.Hour)}
		w.hub.Certificates = slices.Clone(w.hub.Certificates[1:])
		w.hub.Certificates[0].Issuer, w.hub.Certificates[1].Suspended = "", true
		start(t, w)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		var text strings.Builder
		status := w.hub.Status(t.Context())
		status.WriteRequests(&text)
		status.WriteNotes(&text)
		for _, want := range []string{
			"another certificate c00, and nobody works on that here: this configuration has no certificate of that name",
			"another certificate c01, and nobody works on that here: it has no issuer any more",
			"another certificate c02, and nobody works on that here: it is suspended",
		} {
			if logged := strings.Count(w.log.String(), want); logged != 1 || strings.Count(text.String(), want) != 1 {
				t.Errorf("%q is logged %d times, and status says\n%s", want, logged, text.String())
			}
		}
		if strings.Contains(text.String(), "another certificate c03") {
			t.Errorf("status says\n%s", text.String())
		}
	})
}

// The rehearsal tells the order in which the work is then done, and writes nothing.
func TestRehearse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := askingWorld(t, 4, nil, "prod")
		ca.urgent, ca.takes = []string{"c02", "c03"}, time.Second
		ca.waits = map[string]time.Time{"c01": time.Now().Add(2 * time.Hour)}
		before := w.store.Counts()
		asked, err := w.hub.Ask(t.Context(), w.hub.Certificates, anycert.Request{Time: time.Now(), By: "ops@laptop"}, time.Time{}, true)
		if err != nil {
			t.Fatal(err)
		}
		turns, err := w.hub.Rehearse(t.Context(), asked)
		if err != nil {
			t.Fatal(err)
		}
		if after := w.store.Counts(); after.Writes != before.Writes || after.Records != before.Records || len(ca.order()) > 0 || slices.Contains(ca.asked[1:], true) {
			t.Errorf("it wrote, or asked the CA: %+v, %+v", before, after)
		}
		var told []string
		for _, turn := range turns {
			told = append(told, turn.Certificate)
		}
		var text strings.Builder
		WriteTurns(&text, turns, time.Now())
		if want := "let 3 begin at once, and the last one, c01, at " + stamp(ca.waits["c01"]) + ": in 2 hours"; !strings.Contains(text.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, text.String())
		}
		ca.requests = map[string]anycert.Request{}
		w.hub.Renew(t.Context(), w.ask(anycert.Request{}, time.Time{}), 3*time.Hour, silent)
		done, first := ca.order(), slices.DeleteFunc(told, func(name string) bool { return name == "c01" })
		if len(done) != 4 || done[3] != "c01" || !slices.Equal(slices.Sorted(slices.Values(done[:3])), slices.Sorted(slices.Values(first))) || first[0] != "c02" {
			t.Errorf("told %v, done %v", first, done)
		}
	})
}

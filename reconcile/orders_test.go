package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anycert/anycert"
)

// planner is an issuer that takes its time, with an order of work, limits and advice.
type planner struct {
	issuer
	takes time.Duration // for one order

	mu      sync.Mutex
	urgent  []string             // first, in this order
	waits   map[string]time.Time // for the limits
	failure *anycert.Failure     // that the store remembers of every certificate
	began   []string             // orders, in their order
	asked   []bool               // with which each Recall came
	recall  func(ctx context.Context, ask bool) error
}

func (p *planner) Recall(ctx context.Context, _ []anycert.Wanted, ask bool) error {
	p.mu.Lock()
	p.asked = append(p.asked, ask)
	recall := p.recall
	p.mu.Unlock()
	if recall == nil {
		return nil
	}
	return recall(ctx, ask)
}

func (p *planner) Renewal(c anycert.Certificate, entry *anycert.Entry, now time.Time) anycert.Renewal {
	renewal := p.issuer.Renewal(c, entry, now)
	p.mu.Lock()
	defer p.mu.Unlock()
	renewal.Failure = p.failure
	return renewal
}

func (p *planner) Plan(all []anycert.Wanted, now time.Time) (slots []anycert.Slot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range all {
		slot := anycert.Slot{Certificate: w.Certificate.Name, At: now}
		if at, waits := p.waits[slot.Certificate]; waits && at.After(now) {
			slot.At, slot.Reason = at, "the CA's limit of certificates for example.com"
		}
		slots = append(slots, slot)
	}
	rank := func(s anycert.Slot) int {
		if i := slices.Index(p.urgent, s.Certificate); i >= 0 {
			return i
		}
		return len(p.urgent)
	}
	slices.SortStableFunc(slots, func(a, b anycert.Slot) int { return rank(a) - rank(b) })
	return slots
}

func (p *planner) Obtain(ctx context.Context, c anycert.Certificate) (anycert.Entry, error) {
	p.mu.Lock()
	p.began = append(p.began, c.Name)
	p.mu.Unlock()
	select {
	case <-time.After(p.takes):
	case <-ctx.Done():
		return anycert.Entry{}, ctx.Err()
	}
	return p.issuer.Obtain(ctx, c)
}

func (p *planner) order() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.began)
}

// set changes the planner between two looks.
func (p *planner) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// named are certificates "c00", "c01", … for example's names.
func named(n int) (some []anycert.Certificate) {
	for i := range n {
		some = append(some, anycert.Certificate{Name: fmt.Sprintf("c%02d", i), Domains: example.Domains, Issuer: "test"})
	}
	return some
}

// Orders are begun in the issuer's order, as many at once as there are slots, and what
// becomes more urgent meanwhile overtakes what still waits for one.
func TestOrdersBeginByUrgency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bareWorld(t, named(24), nil, "prod")
		ca := &planner{issuer: issuer{world: w}, takes: 90 * time.Second, urgent: []string{"c20", "c03", "c21"}}
		w.hub.Issuer = ca
		start(t, w)
		first := ca.order()
		slices.Sort(first[:])
		want := []string{"c00", "c01", "c02", "c03", "c04", "c05", "c20", "c21"}
		if !slices.Equal(first, want) {
			t.Fatalf("begun first: %v, want %v", first, want)
		}
		ca.set(func() { ca.urgent = []string{"c23", "c22"} })
		time.Sleep(100 * time.Second) // a tick, and the end of the first eight
		synctest.Wait()
		second := ca.order()[ordersAtOnce:]
		if len(second) != ordersAtOnce || !slices.Contains(second, "c23") || !slices.Contains(second, "c22") {
			t.Errorf("begun next: %v, want c23 and c22 among eight", second)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if all := ca.order(); len(all) != 24 {
			t.Errorf("%d orders for 24 certificates: %v", len(all), all)
		}
	})
}

// What the CA's limits hold back is no failure, is told once, and is obtained when its
// turn comes.
func TestOrdersWaitForLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bareWorld(t, named(2), nil, "prod")
		ca := &planner{issuer: issuer{world: w}, waits: map[string]time.Time{"c01": time.Now().Add(3 * time.Hour)}}
		w.hub.Issuer = ca
		loop := start(t, w)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if got := ca.order(); !slices.Equal(got, []string{"c00"}) {
			t.Errorf("orders: %v", got)
		}
		if lines := loop.Health().Ready(time.Now()); len(lines) != 0 {
			t.Errorf("not ready: %v", lines)
		}
		if s := loop.Health().Snapshot(); s.Certificates[1].OrderFailed {
			t.Error("an order that waits for a limit counts as failed")
		}
		if n := strings.Count(w.log.String(), "order waits for the CA's limits"); n != 1 {
			t.Errorf("told %d times:\n%s", n, w.log.String())
		}
		status := w.hub.Status(t.Context())
		if c := status.Certificates[1]; c.Waits == nil || c.Problem != "" || status.StatusExit() != ExitOK {
			t.Errorf("status: %+v", c)
		}
		var text strings.Builder
		status.WriteCertificates(&text)
		if want := "waits until " + ca.waits["c01"].UTC().Format("2006-01-02 15:04Z") + ": see below"; !strings.Contains(text.String(), want) {
			t.Errorf("status does not say %q:\n%s", want, text.String())
		}
		time.Sleep(time.Hour + time.Minute)
		synctest.Wait()
		if got := ca.order(); !slices.Equal(got, []string{"c00", "c01"}) {
			t.Errorf("orders: %v", got)
		}
	})
}

// An order that another process has taken the CA's last share from waits, too, although
// nobody knew of that when it was planned. It is no failure.
func TestOrdersThatLoseTheirShareWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bareWorld(t, named(1), nil, "prod")
		until := time.Now().Add(time.Hour)
		ca := &planner{issuer: issuer{world: w, err: &anycert.PostponedError{Until: until, Err: errors.New("the last one is taken"), Limited: true}}}
		w.hub.Issuer = ca
		if c := w.sync().Certificates[0]; c.Waits == nil || !c.Waits.Equal(until) || c.WaitsFor != "the last one is taken" || c.Problem != "" {
			t.Errorf("sync reports %+v", c)
		}
		loop := start(t, w)
		for range 2 { // before and after the next pass knows of it
			if lines := loop.Health().Ready(time.Now()); len(lines) != 0 || loop.Health().Snapshot().Certificates[0].OrderFailed {
				t.Errorf("it counts as failed; ready says %v", lines)
			}
			ca.set(func() { ca.waits = map[string]time.Time{"c00": until} })
			time.Sleep(2 * time.Minute)
			synctest.Wait()
		}
		if n := len(ca.order()); n != 2 {
			t.Errorf("%d orders, want one by each process", n)
		}
		ca.issuer.set(nil)
		time.Sleep(time.Hour)
		synctest.Wait()
		if w.version("c00") != 1 {
			t.Error("it was not obtained when its turn came")
		}
	})
}

// began is an issuer that has begun an order for c00 and not ended it.
type began struct{ *planner }

func (began) Unfinished(context.Context) ([]string, error) { return []string{"c00"}, nil }

// An order that was begun is gone on with although a limit may hold it back. That one does
// is told when it is found, once, and known until it does not.
func TestOrdersThatWereBegunWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bareWorld(t, named(1), nil, "prod")
		until := time.Now().Add(time.Hour)
		ca := &planner{issuer: issuer{world: w, err: &anycert.PostponedError{Until: until, Err: errors.New("the last one is taken"), Limited: true}},
			takes: 10 * time.Second, waits: map[string]time.Time{"c00": until}}
		w.hub.Issuer = began{ca}
		start(t, w)
		time.Sleep(5 * time.Second)
		waits := func() bool { _, waits := w.hub.orders.waiting("c00"); return waits }
		if waits() {
			t.Error("it is said to wait while its order may come to a good end")
		}
		for range 5 {
			time.Sleep(time.Minute)
			if !waits() {
				t.Error("while its order is tried again, nobody knows that it waits")
			}
		}
		synctest.Wait()
		if n := len(ca.order()); n < 5 {
			t.Errorf("it was tried %d times in five minutes", n)
		}
		if n := strings.Count(w.log.String(), "order waits for the CA's limits"); n != 1 {
			t.Errorf("told %d times:\n%s", n, w.log.String())
		}
		ca.issuer.set(nil)
		time.Sleep(time.Minute)
		if synctest.Wait(); waits() || w.version("c00") == 0 {
			t.Error("it was obtained, and is said to wait")
		}
	})
}

// Law 8: a CA that gives no advice, or revokes nothing, holds back no order.
func TestLaw8SlowCADelaysNoOrder(t *testing.T) {
	hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for name, slow := range map[string]func(*asking){
		"advice": func(ca *asking) {
			ca.recall = func(ctx context.Context, _ bool) error { return hang(ctx) }
		},
		"revocation": func(ca *asking) {
			ca.requests["c00"] = anycert.Request{By: "ops", Time: time.Now(), Superseded: true, Deadline: time.Now()}
			ca.revoke = hang
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, ca := askingWorld(t, 1, nil, "prod")
				w.hub.Certificates = named(2)
				slow(ca)
				loop := start(t, w)
				time.Sleep(10 * time.Second)
				synctest.Wait()
				if got := ca.order(); !slices.Equal(got, []string{"c01"}) {
					t.Errorf("within ten seconds orders for %v were made, want c01", got)
				}
				if lines := loop.Health().Ready(time.Now()); len(lines) != 0 {
					t.Errorf("not ready: %v", lines)
				}
			})
		})
	}
}

// Law 8: advice that does not come delays no pass, and comes on the orders' own time.
func TestLaw8SlowAdviceDelaysNoPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "prod")
		ca := &planner{issuer: issuer{world: w}, recall: func(ctx context.Context, _ bool) error { <-ctx.Done(); return ctx.Err() }}
		w.hub.Issuer = ca
		loop := start(t, w)
		for range 5 {
			w.sides["prod"].Delete("web/example")
			time.Sleep(time.Minute)
			synctest.Wait()
			if _, ok := w.sides["prod"].Get("web/example"); !ok {
				t.Fatal("not mended within the minute")
			}
		}
		if lines := loop.Health().Ready(time.Now()); len(lines) != 0 {
			t.Errorf("not ready: %v", lines)
		}
		if n := strings.Count(w.log.String(), "not all is known about the next renewals"); n != 1 {
			t.Errorf("told %d times:\n%s", n, w.log.String())
		}
	})
}

// A daemon asks the CA for advice in each pass that it may be due in; who only looks
// never does.
func TestWhoOnlyLooksAsksNoCA(t *testing.T) {
	w := newWorld(t, "prod")
	ca := &planner{issuer: issuer{world: w}}
	w.hub.Issuer = ca
	w.hub.Status(t.Context())
	w.hub.Audit(t.Context(), Only{})
	if !slices.Equal(ca.asked, []bool{false}) { // an audit needs no more than metadata
		t.Errorf("recalled, asking: %v", ca.asked)
	}
	w.hub.Sync(t.Context(), SyncOptions{NoIssue: true})
	if len(ca.asked) != 1 {
		t.Errorf("recalled to issue nothing: %v", ca.asked)
	}
	w.sync()
	if !slices.Equal(ca.asked, []bool{false, true}) {
		t.Errorf("recalled, asking: %v", ca.asked)
	}
}

// How the daemon's last order failed is told by any process: since when, how often, when it
// is tried again, and what to do.
func TestStatusTellsWhatTheStoreRemembers(t *testing.T) {
	w := newWorld(t, "prod")
	now := time.Now()
	failure := &anycert.Failure{Class: anycert.ToMend, Issuer: "test", Text: "the token is refused: write another", Attempts: 3,
		Since: now.Add(-48 * time.Hour), Last: now.Add(-time.Hour), Next: now.Add(23 * time.Hour)}
	w.hub.Issuer = &planner{issuer: issuer{world: w}, failure: failure}
	w.sync()
	status := w.hub.Status(t.Context())
	var text strings.Builder
	status.WriteProblems(&text)
	for _, want := range []string{"the token is refused: write another", "3 attempts", stamp(failure.Since), stamp(failure.Last), stamp(failure.Next), "`anycert renew`"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("status does not say %q:\n%s", want, text.String())
		}
	}
	if status.StatusExit() != ExitFailed || status.Certificates[0].Failure.Class != anycert.ToMend {
		t.Errorf("%+v", status.Certificates[0])
	}
}

// A run that ends before its turn says of each certificate that time was short.
func TestOrdersWithoutTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bareWorld(t, named(10), nil)
		w.hub.Issuer = &planner{issuer: issuer{world: w}, takes: time.Minute}
		report := w.hub.Sync(t.Context(), SyncOptions{Timeout: 30 * time.Second})
		for i, c := range report.Certificates {
			if late := strings.Contains(c.Problem, "the time was over before its order was begun"); late != (i >= ordersAtOnce) {
				t.Errorf("%s: %s", c.Name, c.Problem)
			}
		}
	})
}

// What waits after a failure is no wait for a limit: it counts as failed, and is not tried
// before its time.
func TestOrdersWaitAfterFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bareWorld(t, named(1), nil, "prod")
		next := time.Now().Add(time.Hour)
		ca := &planner{issuer: issuer{world: w}, waits: map[string]time.Time{"c00": next},
			failure: &anycert.Failure{Class: anycert.Passing, Text: "no answer", Attempts: 1, Since: time.Now(), Last: time.Now(), Next: next}}
		w.hub.Issuer = ca
		loop := start(t, w)
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		if lines := loop.Health().Ready(time.Now()); len(lines) != 1 || !strings.Contains(lines[0], "no answer") || len(ca.order()) != 0 {
			t.Errorf("%d orders; ready says %v", len(ca.order()), lines)
		}
		if c := w.hub.Status(t.Context()).Certificates[0]; c.Waits != nil || c.Failure == nil || !loop.Health().Snapshot().Certificates[0].OrderFailed {
			t.Errorf("status: %+v", c)
		}
		if strings.Contains(w.log.String(), "limits") {
			t.Errorf("log:\n%s", w.log.String())
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if len(ca.order()) != 1 {
			t.Errorf("%d orders when its time had come", len(ca.order()))
		}
	})
}

package issuertest_test

import (
	"context"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/calimits"
	"github.com/anycert/anycert/issuer"
	"github.com/anycert/anycert/issuer/issuertest"
	"github.com/anycert/anycert/issuer/limits"
	"github.com/anycert/anycert/store/storetest"
)

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// whole lets an hour be renewed for a whole year as well: more than 17,000 times, twice.
var whole = flag.Bool("year", false, "certificates of one hour for a year, and not for twenty days only")

// hub does what the daemon's loop does: recall, plan, obtain what can begin. It takes a
// turn when the plan has something to begin, and when the CA may be asked for advice
// again: those between would find nothing to do.
type hub struct {
	t            *testing.T
	model        *issuertest.Model
	store        *storetest.Memory
	options      func() issuer.Options
	certificates []anycert.Certificate
	rest         time.Duration        // the longest time between two turns
	least        func() time.Duration // the shortest; a minute when nil
	die          func(issuer.Point) bool

	process *process
	crashes int
	turns   int
}

// process is one life of the daemon. Once it is dead, nothing that it does arrives.
type process struct {
	*issuer.Issuer
	dead atomic.Bool
	ctx  context.Context
	end  context.CancelFunc
}

var errDead = errors.New("the process is dead")

// mortal is the store as a process sees it.
type mortal struct {
	*storetest.Memory
	process *process
}

func (m mortal) Put(ctx context.Context, name string, expected int, bundle *anycert.Bundle, origin anycert.Origin) (anycert.Entry, error) {
	if m.process.dead.Load() {
		return anycert.Entry{}, errDead
	}
	return m.Memory.Put(ctx, name, expected, bundle, origin)
}

func (m mortal) Save(ctx context.Context, kind, key string, expected int, value anycert.Secret) (int, error) {
	if m.process.dead.Load() {
		return 0, errDead
	}
	return m.Memory.Save(ctx, kind, key, expected, value)
}

func (m mortal) Delete(ctx context.Context, kind, key string) error {
	if m.process.dead.Load() {
		return errDead
	}
	return m.Memory.Delete(ctx, kind, key)
}

// live is the process, or a new one where it died.
func (h *hub) live() *process {
	if h.process != nil && !h.process.dead.Load() {
		return h.process
	}
	if h.process != nil {
		h.process.end()
		h.crashes++
	}
	p := new(process)
	p.ctx, p.end = context.WithCancel(h.t.Context())
	o := h.options()
	o.Store, o.Records, o.UserAgent = mortal{h.store, p}, mortal{h.store, p}, "anycert/test"
	o.Transport = func(issuer.Config) http.RoundTripper {
		return tripper(func(r *http.Request) (*http.Response, error) {
			if p.dead.Load() {
				return nil, errDead
			}
			return h.model.RoundTrip(r)
		})
	}
	o.At = func(point issuer.Point) {
		if p.dead.Load() || h.die != nil && h.die(point) {
			p.dead.Store(true)
			p.end()
			runtime.Goexit()
		}
	}
	made, err := issuer.New(o)
	if err != nil {
		h.t.Fatal(err)
	}
	p.Issuer, h.process = made, p
	return p
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// run takes turns until a moment.
func (h *hub) run(until time.Time, check func()) {
	for time.Now().Before(until) {
		h.turns++
		next := h.turn(h.live())
		check()
		least := time.Minute
		if h.least != nil {
			least = h.least()
		}
		time.Sleep(min(max(time.Until(next), least), h.rest))
	}
	h.process.end()
}

func (h *hub) turn(p *process) (next time.Time) {
	wanted := make([]anycert.Wanted, len(h.certificates))
	declared := make(map[string]anycert.Certificate, len(h.certificates))
	for n, c := range h.certificates {
		declared[c.Name] = c
		wanted[n] = anycert.Wanted{Certificate: c}
		if entry, err := h.store.Stat(p.ctx, c.Name); err == nil {
			wanted[n].Entry = &entry
		}
	}
	_ = p.Recall(p.ctx, wanted, true) // what cannot be asked is no reason to do less
	slots, now := p.Plan(wanted, time.Now()), time.Now()
	next = now.Add(h.rest)
	var group sync.WaitGroup
	atOnce := make(chan struct{}, 8)
	for _, slot := range slots {
		if slot.At.After(now) {
			if slot.At.Before(next) {
				next = slot.At
			}
			continue
		}
		group.Go(func() {
			atOnce <- struct{}{}
			defer func() { <-atOnce }()
			if p.dead.Load() {
				return
			}
			_, _ = p.Obtain(p.ctx, declared[slot.Certificate]) // the next turn sees what came of it
		})
	}
	group.Wait()
	if len(slots) > 0 && !slots[0].At.After(now) {
		next = now // and look again in a minute
	}
	return next
}

// TestLifetimesThroughAYear: no second without a valid certificate, and orders within a
// tenth of the fewest that the rule for renewals allows: one each time that two thirds
// of a lifetime have passed, or the half of one of less than ten days.
func TestLifetimesThroughAYear(t *testing.T) {
	for _, lifetime := range []time.Duration{time.Hour, day, 6 * day, 45 * day, 90 * day} {
		for _, advised := range []bool{true, false} {
			span := year
			if lifetime == time.Hour && !*whole {
				span = 20 * day
			}
			t.Run(fmt.Sprintf("%s advised=%v", lifetime, advised), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { lifetimes(t, lifetime, span, advised) })
			})
		}
	}
}

func lifetimes(t *testing.T, lifetime, span time.Duration, advised bool) {
	rest := min(6*time.Hour, lifetime/8)
	model := &issuertest.Model{Now: time.Now, DNS: new(issuertest.DNS), Lifetime: lifetime, RetryAfter: rest,
		Limits: calimits.New(calimits.Published(), time.Now)}
	config := limits.Config{Like: "letsencrypt"}
	if !advised { // five certificates a week for the same names would not do for hours
		model.Window = func(leaf *x509.Certificate) (start, end time.Time) {
			return leaf.NotAfter, leaf.NotBefore
		}
		model.Limits, config = calimits.New(calimits.Table{}, time.Now), limits.Config{Like: "none"}
	}
	h := &hub{t: t, model: model, store: &storetest.Memory{}, rest: rest, certificates: []anycert.Certificate{issuertest.Certificate("site")},
		options: func() issuer.Options {
			o := options(model)
			o.Issuers[0].Limits = config
			return o
		}}
	begun := time.Now()
	uncovered := time.Duration(0)
	var covered time.Time
	h.run(begun.Add(span), func() {
		leaf := h.leaf("site")
		if leaf == nil {
			return
		}
		if !covered.IsZero() && leaf.NotBefore.After(covered) {
			uncovered += leaf.NotBefore.Sub(covered)
		}
		covered = leaf.NotAfter
	})
	part := 2.0 / 3
	if lifetime < 10*day {
		part = 0.5
	}
	orders, fewest := len(model.Orders()), int(math.Ceil(span.Seconds()/(lifetime.Seconds()*part)))
	t.Logf("%d orders, %d is the fewest; %d turns; %s without a valid certificate", orders, fewest, h.turns, uncovered)
	if uncovered > 0 || covered.Before(time.Now()) {
		t.Errorf("%s were without a valid certificate; the last one is valid until %s", uncovered, covered)
	}
	if float64(orders) > math.Ceil(1.1*float64(fewest)) || float64(orders) < math.Floor(0.9*float64(fewest)) {
		t.Errorf("%d orders were made, the fewest is %d", orders, fewest)
	}
	wantNotRefused(t, model)
}

func (h *hub) leaf(name string) *x509.Certificate {
	entry, err := h.store.Stat(h.t.Context(), name)
	if err != nil {
		return nil
	}
	return entry.Leaf
}

func wantNotRefused(t *testing.T, model *issuertest.Model) {
	t.Helper()
	for _, refusal := range model.Limits.Refusals() {
		t.Errorf("%s: the CA refused an order for %v: %s", refusal.Time, refusal.Names, refusal.Detail)
	}
}

// TestAYearOfTrouble: two hundred names, ten whose DNS is broken for good, five whose
// token is refused, days without DNS, hours without the CA, a process that dies at
// random, and three days in which it dies all the time.
func TestAYearOfTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		dns, refused := new(issuertest.DNS), new(issuertest.DNS)
		refused.Refuse(true)
		model := &issuertest.Model{Now: time.Now, DNS: dns, Lifetime: 45 * day, RetryAfter: day, BadNonces: 23,
			Limits: calimits.New(calimits.Published(), time.Now)}
		h := &hub{t: t, model: model, store: &storetest.Memory{}, rest: 6 * time.Hour, certificates: twoHundred()}
		h.options = func() issuer.Options {
			o := options(model)
			o.Issuers[0].Limits = limits.Config{Like: "letsencrypt"}
			other := o.Issuers[0]
			other.Name = "refused"
			o.Issuers = append(o.Issuers, other)
			o.Prover = func(ctx context.Context, config issuer.Config) (issuer.Prover, error) {
				if config.Name == "refused" {
					return refused.Prover(ctx, config)
				}
				return dns.Prover(ctx, config)
			}
			return o
		}
		begun := time.Now()
		during := func(from, to float64) bool {
			now := time.Since(begun).Hours() / 24
			return from <= now && now < to
		}
		dns.Lose(func(domain string) bool { return strings.HasPrefix(domain, "broken") || during(100, 103) })
		model.Cut(func(*http.Request) error {
			if during(200, 200.3) {
				return errors.New("connection refused")
			}
			return nil
		})
		model.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if during(250, 250.3) && acmeserver.KindOf(r) != acmeserver.KindDirectory {
				acmeserver.Fail(w, http.StatusServiceUnavailable, "serverInternal", "600")
				return true
			}
			return false
		})
		h.least = func() time.Duration { // each minute while something happens; six hours change nothing else
			for from, days := range map[float64]float64{0: 0.5, 20: 3.5, 100: 0.5, 200: 0.5, 250: 0.5, 300: 3.5} {
				if during(from, from+days) {
					return time.Minute
				}
			}
			return 6 * time.Hour
		}
		h.die = func(issuer.Point) bool { // called by one goroutine after the other
			if during(20, 23) || during(300, 303) {
				return random.IntN(5) == 0
			}
			return random.IntN(2000) == 0
		}
		expired := 0
		h.run(begun.Add(year), func() {
			for _, c := range h.certificates {
				if leaf := h.leaf(c.Name); leaf != nil && time.Now().After(leaf.NotAfter) {
					expired++
				}
			}
		})
		healthy, issued := 0, 0
		for _, c := range h.certificates {
			if h.leaf(c.Name) != nil {
				healthy++
			}
		}
		for _, o := range model.Orders() {
			if o.Certificate != nil {
				issued++
			}
		}
		requests := 0
		for _, kind := range []string{acmeserver.KindNewOrder, acmeserver.KindAuthz, acmeserver.KindChallenge, acmeserver.KindFinalize, acmeserver.KindRenewalInfo} {
			requests += model.Limits.Count(kind)
		}
		t.Logf("%d orders, %d certificates of %d names, %d crashes, %d turns, %d requests of note, %d of them refused by a limit",
			len(model.Orders()), issued, healthy, h.crashes, h.turns, requests, len(model.Limits.Refusals()))
		if want := len(h.certificates) - 15; healthy != want || expired > 0 {
			t.Errorf("%d names have a certificate, want %d; %d times one was seen expired", healthy, want, expired)
		}
		if h.crashes < 50 {
			t.Errorf("it crashed %d times only", h.crashes)
		}
		wantNotRefused(t, model)
	})
}

// twoHundred are certificates of two large domains and of many small ones.
func twoHundred() (certificates []anycert.Certificate) {
	add := func(name, domain string) *anycert.Certificate {
		certificates = append(certificates, anycert.Certificate{Name: name, Domains: []string{domain}, Issuer: issuertest.IssuerName, KeyType: anycert.EC256})
		return &certificates[len(certificates)-1]
	}
	for n := range 80 {
		add(fmt.Sprint("a", n), fmt.Sprintf("h%d.example.com", n))
	}
	for n := range 60 {
		add(fmt.Sprint("b", n), fmt.Sprintf("h%d.example.org", n))
	}
	for n := range 45 {
		c := add(fmt.Sprint("c", n), fmt.Sprintf("example%d.net", n))
		c.Domains = append(c.Domains, "*."+c.Domains[0])
	}
	for n := range 10 {
		add(fmt.Sprint("broken", n), fmt.Sprintf("broken%d.example.com", n))
	}
	for n := range 5 {
		add(fmt.Sprint("refused", n), fmt.Sprintf("h%d.example.edu", n)).Issuer = "refused"
	}
	return certificates
}

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
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/store/storetest"
)

// begun is when the certificates of the tests below were issued.
var begun = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// shop has had a look at the store twice, and nothing is wrong.
func shop(lifetime time.Duration) plight {
	calm := standing{well: 2, since: begun}
	return plight{CertificateState: CertificateState{Name: "shop", Entry: NoReason, NotBefore: begun, NotAfter: begun.Add(lifetime), Renewal: begun.Add(lifetime * 2 / 3), Obtained: true},
		owner: "web team", description: "the shop", issuer: "letsencrypt", entry: calm, failing: calm, read: begun}
}

func alarmsOf(now time.Time, p plight, failed error) Alarms {
	c := &collection{now: now, began: begun, stale: time.Hour, open: make(map[string]bool)}
	p.read = now
	c.certificate(p, failed)
	return Alarms{c.on, c.open}
}

// What counts is the share of the time that is left: the same holds for a certificate of
// an hour and for one of ninety days.
func TestAlarmsGoByTheShareOfTheLifetime(t *testing.T) {
	failure := &anycert.Failure{Class: anycert.ToMend, Issuer: "letsencrypt", Text: "the token was refused: give another", Since: begun}
	for _, lifetime := range []time.Duration{time.Hour, 24 * time.Hour, 6 * 24 * time.Hour, 90 * 24 * time.Hour, 398 * 24 * time.Hour} {
		for _, test := range []struct {
			name    string
			passed  float64 // of the lifetime
			failure *anycert.Failure
			keeper  bool // someone else keeps it
			want    Severity
		}{
			{name: "fresh", passed: 0.1},
			{name: "just due", passed: 0.67},
			{name: "due for less than a quarter of what was left", passed: 0.74},
			{name: "due for more than a quarter", passed: 0.76, want: Warning},
			{name: "due for more than a half", passed: 0.84, want: Critical},
			{name: "expired", passed: 1.01, want: Critical},
			{name: "the first attempt failed", passed: 0.67, failure: failure, want: Warning},
			{name: "attempts fail and the half is gone", passed: 0.84, failure: failure, want: Critical},
			{name: "kept by someone else", passed: 0.8, keeper: true},
			{name: "kept by someone else, a seventh left", passed: 0.87, keeper: true, want: Warning},
			{name: "kept by someone else, a tenth left", passed: 0.91, keeper: true, want: Critical},
		} {
			t.Run(fmt.Sprint(lifetime, " ", test.name), func(t *testing.T) {
				p := shop(lifetime)
				if p.failure = test.failure; test.keeper {
					p.Obtained, p.Renewal = false, time.Time{}
				}
				got := alarmsOf(begun.Add(time.Duration(test.passed*float64(lifetime))), p, nil)
				if test.want == "" {
					if len(got.On) != 0 {
						t.Fatalf("%+v", got.On)
					}
					return
				}
				if len(got.On) != 1 || got.On[0].Severity != test.want {
					t.Fatalf("want %s: %+v", test.want, got.On)
				}
				a := got.On[0]
				if a.Key != "renewal/shop" || a.Certificate != "shop" || a.Owner != "web team" || a.Description != "the shop" || !a.NotAfter.Equal(p.NotAfter) {
					t.Errorf("%+v", a)
				}
				if test.failure != nil && !strings.Contains(a.Text, "the token was refused: give another") {
					t.Error(a.Text)
				}
			})
		}
	}
}

// That it expires in the end is another cause, so that it is told as well.
func TestExpiryIsToldAnew(t *testing.T) {
	p := shop(90 * 24 * time.Hour)
	p.failure = &anycert.Failure{Class: anycert.ToMend, Issuer: "letsencrypt", Text: "the token was refused: give another", Since: begun}
	var causes []string
	for _, at := range []time.Duration{-time.Hour, -time.Minute, 0, time.Hour} {
		causes = append(causes, alarmsOf(p.NotAfter.Add(at), p, nil).On[0].Cause)
	}
	if causes[0] != causes[1] || causes[1] == causes[2] || causes[2] != causes[3] {
		t.Errorf("the causes an hour and a minute before its end, then and an hour later: %q", causes)
	}
}

// To wait for a limit is no failure, and no end of one.
func TestAnOrderThatWaitsIsNoAlarm(t *testing.T) {
	p := shop(90 * 24 * time.Hour)
	now := p.Renewal.Add(time.Hour)
	waits := &anycert.PostponedError{Until: now.Add(time.Hour), Err: errors.New("the limit of 50 certificates")}
	got := alarmsOf(now, p, waits)
	if len(got.On) != 0 || got.Over("renewal/shop") {
		t.Errorf("%+v, over: %v", got.On, got.Over("renewal/shop"))
	}
	if p.Renewal = now.Add(time.Hour); !alarmsOf(now, p, nil).Over("renewal/shop") {
		t.Error("a renewal that is not due any more is no end of the alarm")
	}
}

// After a reload, the issuer has not read yet what the store remembers of the failure: that
// is no other one, and no end.
func TestAReloadChangesNoAlarm(t *testing.T) {
	failure := &anycert.Failure{Class: anycert.ToMend, Issuer: "letsencrypt", Text: "the token was refused", Since: begun}
	failed := errors.New("certificate shop: the token was refused (attempt 1, the next one is made later)")
	for name, before := range map[string]plight{
		"known when the store was read": {failure: failure},
		"known since then":              {latest: func(time.Time) *anycert.Failure { return failure }},
	} {
		t.Run(name, func(t *testing.T) {
			p := shop(90 * 24 * time.Hour)
			p.read = p.Renewal.Add(time.Hour)
			p.latest = func(time.Time) *anycert.Failure { return nil }
			want := alarmsOf(p.read, plight{CertificateState: p.CertificateState, owner: p.owner, issuer: p.issuer, failure: failure}, failed)
			if got := alarmsOf(p.read, p.after(before, failed), failed); len(got.On) != 1 || got.On[0].Cause != want.On[0].Cause {
				t.Errorf("%+v, want %+v", got.On, want.On)
			}
			p.latest = nil // it is not due any more: somebody has obtained it
			if again := p.after(before, failed); again.failure != nil {
				t.Errorf("it remembers %+v", again.failure)
			}
		})
	}
}

// Two failures that differ in numbers alone are one, two with other words are two.
func TestCauses(t *testing.T) {
	p := shop(time.Hour)
	cause := func(text string) string {
		p.failure = &anycert.Failure{Class: anycert.Passing, Text: text}
		return alarmsOf(p.Renewal, p, nil).On[0].Cause
	}
	one := cause("dial tcp 127.0.0.1:4711: connection refused, at 2026-01-01T00:00:00Z, order https://ca.example.com/order/8f3a")
	if other := cause("dial tcp 127.0.0.1:4712: connection refused, at 2026-01-02T00:00:00Z, order https://ca.example.com/order/9b1c"); one != other {
		t.Errorf("%q and %q", one, other)
	}
	if other := cause("dial tcp 127.0.0.1:4712: permission denied"); one == other {
		t.Error("another reason is no change")
	}
	p.failure = &anycert.Failure{Class: anycert.Passing, Text: strings.Repeat("ü", maxText)}
	if text := alarmsOf(p.Renewal, p, nil).On[0].Text; len(text) > maxText || !strings.HasSuffix(text, "…") {
		t.Errorf("%d bytes", len(text))
	}
}

// keys are those of the alarms that are on.
func keys(a Alarms) []string {
	var keys []string
	for _, alarm := range a.On {
		keys = append(keys, alarm.Key+" "+string(alarm.Severity))
	}
	return keys
}

func wantAlarms(t *testing.T, loop *Loop, when string, want ...string) {
	t.Helper()
	if got := keys(loop.Health().Alarms(time.Now())); !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", when, got, want)
	}
}

func pass() {
	time.Sleep(time.Minute)
	synctest.Wait()
}

// What one pass mends is no alarm; what two do not mend is one until two saw it well.
func TestAlarmsOfPromises(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faults := new(faulty)
		w := bareWorld(t, []anycert.Certificate{example}, faults.fault, "prod")
		w.put("example", certs.Options{})
		loop := start(t, w)
		health := loop.Health()
		const key = "promise/prod/example"
		if health.Alarms(time.Now()).Over(key) {
			t.Error("one pass tells that an alarm of before is over")
		}
		pass()
		if a := health.Alarms(time.Now()); !a.Over(key) || !a.Over("sink/prod") || !a.Over("store") || !a.Over("entry/example") {
			t.Error("after two passes in which all was well it is not over")
		}
		w.sides["prod"].Delete("web/example")
		pass()
		wantAlarms(t, loop, "mended")

		faults.set("push", anycert.ErrForbidden)
		w.sides["prod"].Delete("web/example")
		pass()
		wantAlarms(t, loop, "not mended once")
		if health.Alarms(time.Now()).Over(key) {
			t.Error("it is over while it is ill")
		}
		pass()
		wantAlarms(t, loop, "not mended twice", key+" warning")
		a := health.Alarms(time.Now()).On[0]
		if a.Sink != "prod" || a.Target != "web/example" || a.Certificate != "example" || a.Since.After(time.Now().Add(-time.Minute)) ||
			!strings.Contains(a.Text, "permission denied") {
			t.Errorf("%+v", a)
		}
		faults.set("", nil)
		pass()
		if a := health.Alarms(time.Now()); len(a.On) != 0 || a.Over(key) {
			t.Errorf("well once: %v, over: %v", keys(a), a.Over(key))
		}
		pass()
		if !health.Alarms(time.Now()).Over(key) {
			t.Error("well twice, and not over")
		}
	})
}

// What no pass can mend is told at once.
func TestAlarmOfARefusedPromise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "prod")
		loop := start(t, w)
		object, _ := w.sides["prod"].Get("web/example")
		object.Mark = nil // somebody else's
		w.sides["prod"].Put("web/example", object)
		pass()
		wantAlarms(t, loop, "refused", "promise/prod/example warning")
	})
}

// What the hub cannot get over by itself is critical at once, as the rules in deploy/alerts
// have it, however much of a lifetime is left.
func TestAlarmsOfAHubAtItsEnd(t *testing.T) {
	p := shop(90 * 24 * time.Hour)
	p.entry = standing{ill: passes, since: begun, text: "it was deleted"}
	if on := alarmsOf(begun, p, nil).On; len(on) != 1 || on[0].Kind != EntryAlarm || on[0].Severity != Critical {
		t.Errorf("%+v", on)
	}
	held := Promise{Certificate: "shop", Sink: "prod", Target: "t", Verdict: Held, Reason: "the store went back", sighting: new(sighting)}
	var s sinkStanding
	s.saw([]Promise{held}, begun)
	for name, r := range map[string]*record{
		"promise/prod/shop": {last: begun, promises: []Promise{held}, standing: s},
		"sink/prod":         {last: begun.Add(-2 * time.Hour)},
	} {
		c := &collection{now: begun, began: begun.Add(-24 * time.Hour), stale: time.Hour, open: make(map[string]bool)}
		c.sink("prod", r, map[string]plight{"shop": p})
		if len(c.on) != 1 || c.on[0].Key != name || c.on[0].Severity != Critical {
			t.Errorf("%s: %+v", name, c.on)
		}
	}
}

// A sink that is dead is one alarm, not one for each certificate.
func TestAlarmOfASink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faults := new(faulty)
		w := bareWorld(t, []anycert.Certificate{example, {Name: "api", Domains: example.Domains}}, faults.fault, "prod")
		w.put("example", certs.Options{})
		w.put("api", certs.Options{})
		loop := start(t, w)
		pass()
		faults.set("observe", anycert.ErrUnavailable)
		pass()
		pass()
		wantAlarms(t, loop, "dead", "sink/prod warning")
		if loop.Health().Alarms(time.Now()).Over("promise/prod/api") {
			t.Error("an alarm about a promise is over when its sink is dead")
		}
		faults.set("", nil)
		pass()
		pass()
		wantAlarms(t, loop, "alive")
	})
}

// A sealed store is one alarm: the promises are not to blame, and what was known of the
// renewals goes on.
func TestAlarmOfTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bareWorld(t, []anycert.Certificate{example}, nil, "prod")
		w.put("example", certs.Options{NotBefore: time.Now(), NotAfter: time.Now().Add(10 * time.Hour)})
		sealed := new(faulty)
		w.store.Fail = func(op storetest.Op, _ string) error {
			return sealed.fault(context.Background(), string(op), anycert.Target{})
		}
		loop := start(t, w)
		pass()
		sealed.set("", anycert.ErrUnavailable)
		pass()
		wantAlarms(t, loop, "sealed for a pass")
		pass()
		wantAlarms(t, loop, "sealed for two", "store warning")
		time.Sleep(staleAfter)
		synctest.Wait()
		wantAlarms(t, loop, "sealed for long", "store critical")
		time.Sleep(9*time.Hour + time.Minute)
		synctest.Wait()
		wantAlarms(t, loop, "sealed until a tenth is left", "renewal/example critical", "store critical")
	})
}

// An order is told at its first failure, and over when the certificate was obtained.
func TestAlarmOfAnOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bareWorld(t, []anycert.Certificate{example}, nil, "prod")
		ca := &issuer{world: w, err: errors.New("writing the record: the token was refused")}
		w.hub.Issuer = ca
		loop := start(t, w)
		wantAlarms(t, loop, "after the first attempt", "renewal/example warning")
		ca.set(nil)
		pass()
		pass()
		pass()
		wantAlarms(t, loop, "obtained")
		if !loop.Health().Alarms(time.Now()).Over("renewal/example") {
			t.Error("it is not over")
		}
	})
}

// Who changes a target back and forth is told once, until there was an hour of peace.
func TestAlarmOfAContest(t *testing.T) {
	var s sinkStanding
	p := Promise{Certificate: "shop", Sink: "prod", Target: "web/shop", Key: "k", Verdict: Kept, contested: "kubectl", sighting: new(sighting)}
	s.saw([]Promise{p}, begun)
	p.contested = ""
	for i := range 100 {
		s.saw([]Promise{p}, begun.Add(time.Duration(i)*time.Minute))
		want := i < 60
		c := &collection{now: begun.Add(time.Duration(i) * time.Minute), began: begun.Add(-rivalry), stale: time.Hour, open: make(map[string]bool)}
		c.sink("prod", &record{last: c.now, promises: []Promise{p}, standing: s}, nil)
		if on := len(c.on) == 1 && c.on[0].Key == "contested/prod/shop" && strings.Contains(c.on[0].Text, "kubectl"); on != want {
			t.Fatalf("after %d minutes: %+v", i, c.on)
		}
	}
}

// More than a few certificates that are not where they belong at one sink are told as one.
func TestManyAlarmsAreTheSinks(t *testing.T) {
	for _, n := range []int{oneByOne, oneByOne + 1} {
		var s sinkStanding
		var promises []Promise
		for i := range n {
			promises = append(promises, Promise{Certificate: fmt.Sprintf("c%02d", i), Sink: "prod", Target: "t", Key: fmt.Sprint(i), Verdict: Broken, Reason: "no rights", sighting: new(sighting)})
		}
		for range passes {
			s.saw(promises, begun)
		}
		c := &collection{now: begun, began: begun, stale: time.Hour, open: make(map[string]bool)}
		c.sink("prod", &record{last: begun, promises: promises, standing: s}, nil)
		if one := len(c.on) == 1; one != (n > oneByOne) {
			t.Errorf("%d certificates make %d alarms", n, len(c.on))
		}
	}
}

func TestAlarmOfTheConfiguration(t *testing.T) {
	health := newHealth(hubOf())
	health.Configuration(errors.New("config.yaml:3:1: owner: it is missing"))
	if got := keys(health.Alarms(time.Now())); !slices.Equal(got, []string{"configuration warning"}) {
		t.Errorf("%q", got)
	}
	health.Configuration(nil)
	if a := health.Alarms(time.Now()); len(a.On) != 0 || !a.Over("configuration") {
		t.Errorf("%q", keys(a))
	}
}

// faulty is a far end that refuses one operation, or all, while it is told to.
type faulty struct {
	mu  sync.Mutex
	op  string // "" for all
	err error
}

func (f *faulty) set(op string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.op, f.err = op, err
}

func (f *faulty) fault(_ context.Context, op string, _ anycert.Target) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.op != "" && f.op != op {
		return nil
	}
	return f.err
}

package issuer_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/issuer"
)

// TestRehearsal: after the CA could not validate a domain, the next attempts spend the
// staging directory's authorizations until the domain can be validated.
func TestRehearsal(t *testing.T) {
	w := newWorld(t, acmeserver.Options{RejectNonces: -1})
	staging := w.another()
	made := func() *issuer.Issuer { return w.issuer(func(c *issuer.Config) { c.Staging = staging.URL }) }
	c := certificate("site", "example.com")
	const name = "_acme-challenge.example.com"
	blind := func(_ http.ResponseWriter, r *http.Request) bool { // from the challenge on the CA sees nothing
		if acmeserver.KindOf(r) == acmeserver.KindChallenge {
			w.dns.FailQueries(name, dns.RcodeServerFailure)
		}
		return false
	}
	attempt := func(orders, rehearsals int) {
		t.Helper()
		if got := len(w.acme.Orders()); got != orders {
			t.Errorf("%d orders at the CA, want %d", got, orders)
		}
		if got := len(staging.Orders()); got != rehearsals {
			t.Errorf("%d orders at the staging directory, want %d", got, rehearsals)
		}
		w.dns.FailQueries(name, dns.RcodeSuccess)
	}
	w.acme.Intercept(blind)
	staging.Intercept(blind)
	_, err := made().Obtain(limited(t), c)
	wantError(t, err, "could not validate")
	attempt(1, 0)

	w.pass(2 * time.Minute)
	_, err = made().Obtain(limited(t), c)
	wantError(t, err, "staging directory "+staging.URL, "could not validate", "attempt 2")
	attempt(1, 1)

	w.acme.Intercept(nil)
	staging.Intercept(nil)
	w.pass(12 * time.Minute)
	obtain(t, made(), c)
	attempt(2, 2)
	if n := staging.Count()[acmeserver.KindFinalize]; n != 0 {
		t.Errorf("orders at the staging directory were finalized %d times", n)
	}
	w.noJournal()
	var record struct {
		Accounts map[string]struct{ Key string }
	}
	text, _, err := w.store.Load(t.Context(), "accounts", "pebble")
	if err != nil {
		t.Fatal(err)
	}
	mustJSON(t, text.Reveal(), &record)
	if len(record.Accounts) != 2 || record.Accounts[staging.URL].Key == record.Accounts[w.acme.URL].Key {
		t.Error("the staging directory has no account of its own")
	}
}

// TestRehearsalThatCannotBeMade stops nothing: the staging directory is away.
func TestRehearsalThatCannotBeMade(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	staging := w.another()
	tried := false
	staging.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		tried = true
		return dead(rw, r)
	})
	c := certificate("site", "example.com")
	w.acme.Intercept(refusing(acmeserver.KindNewOrder, http.StatusTooManyRequests, "rateLimited"))
	made := func() *issuer.Issuer { return w.issuer(func(c *issuer.Config) { c.Staging = staging.URL }) }
	if _, err := made().Obtain(limited(t), c); err == nil {
		t.Fatal("no error")
	}
	w.acme.Intercept(nil)
	w.pass(2 * time.Minute)
	obtain(t, made(), c)
	if !tried {
		t.Error("it was not tried")
	}
}

// TestRehearsalThatIsRefused stops nothing either, wherever on its way, and nobody waits
// for what the staging directory asks to be waited for.
func TestRehearsalThatIsRefused(t *testing.T) {
	for _, kind := range []string{acmeserver.KindNewAccount, acmeserver.KindNewOrder, acmeserver.KindAuthz, acmeserver.KindChallenge} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t, acmeserver.Options{RejectNonces: -1})
			staging := w.another()
			tried := 0
			staging.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
				if acmeserver.KindOf(r) != kind {
					return false
				}
				tried++
				acmeserver.Fail(rw, http.StatusForbidden, "unauthorized", "86400")
				return true
			})
			c := certificate("site", "example.com")
			w.acme.Intercept(refusing(acmeserver.KindNewOrder, http.StatusTooManyRequests, "rateLimited"))
			made := func() *issuer.Issuer { return w.issuer(func(c *issuer.Config) { c.Staging = staging.URL }) }
			if _, err := made().Obtain(limited(t), c); err == nil {
				t.Fatal("no error")
			}
			w.acme.Intercept(nil)
			w.pass(2 * time.Minute)
			obtain(t, made(), c)
			if tried == 0 {
				t.Error("it was not tried")
			}
		})
	}
}

// TestRehearsalThatAlwaysFails: a staging directory that sees another DNS than the CA
// holds up nobody for ever, and costs nothing at the CA.
func TestRehearsalThatAlwaysFails(t *testing.T) {
	w := newWorld(t, acmeserver.Options{RejectNonces: -1})
	staging := w.another()
	const name = "_acme-challenge.example.com"
	blind := func(_ http.ResponseWriter, r *http.Request) bool {
		if acmeserver.KindOf(r) == acmeserver.KindChallenge {
			w.dns.FailQueries(name, dns.RcodeServerFailure)
		}
		return false
	}
	w.acme.Intercept(blind)
	staging.Intercept(blind)
	made := func() *issuer.Issuer {
		return w.issuer(func(c *issuer.Config) { c.Staging, c.Limits.Failures = staging.URL, "2 in 1000h" })
	}
	c := certificate("site", "example.com")
	_, err := made().Obtain(limited(t), c)
	wantError(t, err, "could not validate")
	w.acme.Intercept(nil)
	for attempt := 2; ; attempt++ {
		w.dns.FailQueries(name, dns.RcodeSuccess)
		w.pass(30 * time.Hour)
		if _, err = made().Obtain(limited(t), c); err == nil {
			break
		}
		wantError(t, err, "staging directory")
		if attempt == 6 {
			t.Fatalf("the CA itself is not asked any more: %v", err)
		}
	}
	if rehearsals := len(staging.Orders()); rehearsals != 2 {
		t.Errorf("%d rehearsals were made, want 2", rehearsals)
	}
}

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

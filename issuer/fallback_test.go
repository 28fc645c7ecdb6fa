package issuer_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/issuer"
)

// dead is a CA that hangs up.
func dead(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }

// another starts a second CA that asks the same DNS, and trusts both.
func (w *world) another() *acmeserver.Server {
	w.t.Helper()
	other := testenv.ACME(w.t, w.dns.Addr, acmeserver.Options{})
	w.roots = filepath.Join(w.t.TempDir(), "roots.pem")
	if err := os.WriteFile(w.roots, append(w.acme.CAPEM, other.CAPEM...), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return other
}

// twoCAs is an Issuer of "pebble" and "second", both with certificates of 90 days.
func (w *world) twoCAs(other *acmeserver.Server) *issuer.Issuer {
	first, second := w.config(), w.config()
	first.Profile, second.Profile = "default", "default"
	second.Name, second.Directory = "second", other.URL
	return w.open(issuer.Options{Issuers: []issuer.Config{first, second}})
}

// failsFor lets time pass in steps and obtains whenever it may be, until it works or
// the time is over. It returns after how long it worked, and how often it was tried.
func (w *world) failsFor(make func() *issuer.Issuer, c anycert.Certificate, step, most time.Duration) (after time.Duration, tries int) {
	w.t.Helper()
	for ; after <= most; after += step {
		_, err := make().Obtain(limited(w.t), c)
		if err == nil {
			return after, tries
		}
		if !errors.As(err, new(*anycert.PostponedError)) {
			tries++
		}
		w.pass(step)
	}
	w.t.Fatalf("it was not obtained within %s", most)
	return 0, 0
}

// TestSecondCA is asked once the first has been away for long enough, and only then;
// the next renewal is the first one's again.
func TestSecondCA(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	other := w.another()
	c := certificate("site", "example.com")
	c.Fallbacks = []string{"second"}
	restarted := func() *issuer.Issuer { return w.twoCAs(other) }

	w.acme.Intercept(dead)
	_, err := restarted().Obtain(limited(t), c)
	wantError(t, err, "from issuer pebble", "directory")
	after, _ := w.failsFor(restarted, c, 5*time.Minute, 2*time.Hour)
	if after < 30*time.Minute || after > 36*time.Minute {
		t.Errorf("the second CA was asked after %s, want 30 minutes", after)
	}
	site := w.wanted(c)
	if site.Entry.Origin.Issuer != "second" || site.Entry.Origin.Directory != other.URL {
		t.Errorf("the origin is %+v", site.Entry.Origin)
	}
	i := restarted()
	if err := i.Recall(t.Context(), []anycert.Wanted{site}, true); err != nil {
		t.Error(err)
	}
	if renewal := i.Renewal(c, site.Entry, w.now()); renewal.Due(w.now()) || renewal.Failure != nil {
		t.Errorf("a certificate of the second issuer is not as declared: %+v", renewal)
	}
	w.noJournal()

	w.acme.Intercept(nil)
	w.pass(62 * day)
	obtain(t, restarted(), c)
	if origin := w.wanted(c).Entry.Origin; origin.Issuer != "pebble" {
		t.Errorf("the renewal came from %s", origin.Issuer)
	}
	if orders := w.acme.Orders(); len(orders) != 1 || orders[0].Replaces != "" {
		t.Errorf("orders at the first CA: %+v", orders)
	}
	if orders := len(other.Orders()); orders != 1 {
		t.Errorf("%d orders at the second CA", orders)
	}
}

// TestSecondCAIsNotAskedForWhatAPersonMustMend: the other one would fail as well.
func TestSecondCAIsNotAskedForOtherFailures(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	other := w.another()
	c := certificate("site", "example.com")
	c.Fallbacks = []string{"second"}
	w.acme.Intercept(refusing(acmeserver.KindNewOrder, http.StatusBadRequest, "rejectedIdentifier"))
	for range 5 {
		if _, err := w.twoCAs(other).Obtain(limited(t), c); err == nil {
			t.Fatal("no error")
		}
		w.pass(7 * time.Hour)
	}
	if asked := len(other.Requests()); asked != 0 {
		t.Errorf("the second CA was asked %d times", asked)
	}
}

// TestFirstCAsOrderIsDropped: it was ready when the CA went away. Nothing of it is kept
// once the second CA is asked: neither its URL nor its key.
func TestFirstCAsOrderIsDropped(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	other := w.another()
	c := certificate("site", "example.com")
	c.Fallbacks = []string{"second"}
	w.acme.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		return acmeserver.KindOf(r) == acmeserver.KindFinalize && dead(rw, r)
	})
	if _, err := w.twoCAs(other).Obtain(limited(t), c); err == nil {
		t.Fatal("no error")
	}
	key := w.journalKey("site")
	w.acme.Intercept(dead)
	w.failsFor(func() *issuer.Issuer { return w.twoCAs(other) }, c, 5*time.Minute, 2*time.Hour)
	if w.bundle("site").KeyPEM().Reveal() == key {
		t.Error("the key that the first CA was sent is used at the second")
	}
	w.noJournal()
	if issued := len(w.acme.Certificates()); issued != 0 {
		t.Errorf("the first CA issued %d certificates", issued)
	}
}

// TestFirstCAsOrderIsGoneOnWith: it came back in time.
func TestFirstCAsOrderIsGoneOnWith(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	other := w.another()
	c := certificate("site", "example.com")
	c.Fallbacks = []string{"second"}
	w.acme.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		return acmeserver.KindOf(r) == acmeserver.KindFinalize && dead(rw, r)
	})
	if _, err := w.twoCAs(other).Obtain(limited(t), c); err == nil {
		t.Fatal("no error")
	}
	key := w.journalKey("site")
	w.acme.Intercept(nil)
	w.pass(2 * time.Minute)
	obtain(t, w.twoCAs(other), c)
	if w.bundle("site").KeyPEM().Reveal() != key || len(w.acme.Orders()) != 1 || len(other.Orders()) != 0 {
		t.Errorf("it has another key or other orders: %d and %d", len(w.acme.Orders()), len(other.Orders()))
	}
}

// TestSecondCAForWhatMustNotAsk: the first CA asks for a long pause, again and again, and
// so most certificates never come to ask it. They turn to the second CA all the same.
func TestSecondCAForWhatMustNotAsk(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	other := w.another()
	w.acme.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		if acmeserver.KindOf(r) != acmeserver.KindNewOrder {
			return false
		}
		acmeserver.Fail(rw, http.StatusServiceUnavailable, "serverInternal", "1200")
		return true
	})
	asks, waits := certificate("asks", "www.example.com"), certificate("waits", "example.com")
	asks.Fallbacks, waits.Fallbacks = []string{"second"}, []string{"second"}
	attempt := func(c anycert.Certificate) error {
		i := w.twoCAs(other)
		if err := i.Recall(t.Context(), []anycert.Wanted{{Certificate: asks}, {Certificate: waits}}, false); err != nil {
			t.Fatal(err)
		}
		_, err := i.Obtain(limited(t), c)
		return err
	}
	for after := time.Duration(0); ; after += 5 * time.Minute {
		_ = attempt(asks)
		err := attempt(waits)
		if err == nil {
			if after < 30*time.Minute || after > 50*time.Minute {
				t.Errorf("the second CA was asked after %s, want 30 minutes", after)
			}
			return
		}
		if after > 2*time.Hour {
			t.Fatalf("the second CA is not asked: %v", err)
		}
		w.pass(5 * time.Minute)
	}
}

// refusing answers requests of a kind with a problem.
func refusing(kind string, status int, problem string) acmeserver.Interceptor {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if acmeserver.KindOf(r) != kind {
			return false
		}
		acmeserver.Fail(w, status, problem, "")
		return true
	}
}

package issuer_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/issuer"
)

// TestFailedValidationIsTold: the CA sees another DNS than we do, one without our
// record.
func TestFailedValidationIsTold(t *testing.T) {
	other := testenv.DNS(t, "example.com")
	w := newWorld(t, acmeserver.Options{Resolver: other.Addr})
	i := w.issuer()
	_, err := i.Obtain(limited(t), certificate("site", "*.example.com"))
	wantError(t, err, "certificate site", "issuer pebble", "*.example.com", "could not validate", "unauthorized", "attempt 1")
	if errors.As(err, new(*anycert.PostponedError)) {
		t.Errorf("the failure itself is no postponement: %v", err)
	}
	w.noRecords("_acme-challenge.example.com")
}

// TestRetriesAreSpaced: 1, 10 and 100 minutes, then a day, kept in the store, so
// that a restarted process keeps to them.
func TestRetriesAreSpaced(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	w.acme.Intercept(failing(acmeserver.KindFinalize))
	c := certificate("site", "example.com")
	for attempt, pause := range []time.Duration{time.Minute, 10 * time.Minute, 100 * time.Minute, day, day} {
		if _, err := w.issuer().Obtain(limited(t), c); err == nil || errors.As(err, new(*anycert.PostponedError)) {
			t.Fatalf("attempt %d: got %v", attempt+1, err)
		}
		asked := w.acme.Count()
		_, err := w.issuer().Obtain(limited(t), c) // a new process
		postponed := new(anycert.PostponedError)
		if !errors.As(err, &postponed) {
			t.Fatalf("attempt %d: it was tried again at once: %v", attempt+1, err)
		}
		if left := postponed.Until.Sub(w.now()); left < pause*8/10 || left > pause*11/10 {
			t.Errorf("attempt %d: the next one is in %s, want about %s", attempt+1, left, pause)
		}
		wantError(t, err, "finalizing the order", "serverInternal")
		if diff := len(w.acme.Requests()) - total(asked); diff != 0 {
			t.Errorf("attempt %d: a postponed order troubled the CA %d times", attempt+1, diff)
		}
		w.pass(pause * 12 / 10)
	}
	w.acme.Intercept(nil)
	obtain(t, w.issuer(), c)
	w.noJournal()
	if orders := len(w.acme.Orders()); orders != 1 {
		t.Errorf("%d orders were made: a failed finalization does not use one up", orders)
	}
}

func total(counts map[string]int) (sum int) {
	for _, n := range counts {
		sum += n
	}
	return sum
}

// TestInvalidOrderIsReplacedWithItsKey: a failed validation uses the order up, but
// not the key.
func TestInvalidOrderIsReplacedWithItsKey(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	const name = "_acme-challenge.example.com"
	w.acme.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if acmeserver.KindOf(r) == acmeserver.KindChallenge { // from now on the CA sees nothing
			w.dns.FailQueries(name, dns.RcodeServerFailure)
		}
		return false
	})
	c := certificate("site", "example.com")
	_, err := w.issuer().Obtain(limited(t), c)
	wantError(t, err, "could not validate")
	key := w.journalKey("site")

	w.acme.Intercept(nil)
	w.dns.FailQueries(name, dns.RcodeSuccess)
	w.pass(2 * time.Minute)
	obtain(t, w.issuer(), c)
	if w.bundle("site").KeyPEM().Reveal() != key {
		t.Error("the retry made another key")
	}
	if orders := len(w.acme.Orders()); orders != 2 {
		t.Errorf("%d orders were made", orders)
	}
}

// TestLookupsThatFailEndTheAttempt before the CA is told anything.
func TestLookupsThatFailEndTheAttempt(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	w.dns.FailQueries("_acme-challenge.example.com", dns.RcodeServerFailure)
	_, err := w.issuer().Obtain(limited(t), certificate("site", "example.com"))
	wantError(t, err, "_acme-challenge.example.com", "SERVFAIL")
	if n := w.acme.Count()[acmeserver.KindChallenge]; n != 0 {
		t.Errorf("the CA was told %d times", n)
	}
}

func (w *world) journalKey(name string) string {
	w.t.Helper()
	text, _, err := w.store.Load(w.t.Context(), anycert.KindOrder, name)
	if err != nil {
		w.t.Fatal(err)
	}
	var journal struct{ Key string }
	mustJSON(w.t, text.Reveal(), &journal)
	return journal.Key
}

// TestRejectedKeyIsReplaced: the CA does not want this key, ever.
func TestRejectedKeyIsReplaced(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	w.acme.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		if acmeserver.KindOf(r) != acmeserver.KindFinalize {
			return false
		}
		acmeserver.Fail(rw, http.StatusBadRequest, "badPublicKey", "")
		return true
	})
	c := certificate("site", "example.com")
	_, err := w.issuer().Obtain(limited(t), c)
	wantError(t, err, "badPublicKey")
	if key := w.journalKey("site"); key != "" {
		t.Error("the rejected key is kept")
	}
	w.acme.Intercept(nil)
	if _, err := w.issuer().Obtain(limited(t), c); !errors.As(err, new(*anycert.PostponedError)) {
		t.Errorf("got %v", err)
	}
	w.pass(2 * time.Minute)
	obtain(t, w.issuer(), c)
}

func TestRateLimitIsKept(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	w.acme.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		if acmeserver.KindOf(r) != acmeserver.KindNewOrder {
			return false
		}
		acmeserver.Fail(rw, http.StatusTooManyRequests, "rateLimited", "7200")
		return true
	})
	c := certificate("site", "example.com")
	_, err := w.issuer().Obtain(limited(t), c)
	wantError(t, err, "rateLimited")
	_, err = w.issuer().Obtain(limited(t), c)
	postponed := new(anycert.PostponedError)
	if !errors.As(err, &postponed) || postponed.Until.Sub(w.now()) < 110*time.Minute {
		t.Errorf("got %v, want a pause of two hours", err)
	}
}

// TestHostileAnswers: whatever a server says, the error is short, in one line, and
// comes soon.
func TestHostileAnswers(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write([]byte(strings.Repeat("x", 1<<16))); err != nil {
					return
				}
			}
		},
		"control characters": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"type":"about:blank","detail":"\u001b[2J\r\nlevel=info msg=\"all is well\"` + strings.Repeat("y", 1<<16) + `"}`))
		},
		"no directory":   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{}`)) },
		"no JSON":        func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>\n<b>hello</b>")) },
		"a server error": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "oh\nno", http.StatusBadGateway) },
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, acmeserver.Options{})
			w.acme.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
				answer(rw, r)
				return true
			})
			_, err := w.issuer().Obtain(limited(t), certificate("site", "example.com"))
			wantError(t, err, "certificate site", "directory")
			if text := err.Error(); len(text) > 1500 || strings.ContainsAny(text, "\r\n\x1b") {
				t.Errorf("%d bytes: %.300q", len(text), text)
			}
		})
	}
}

func TestRedirectElsewhereIsNotFollowed(t *testing.T) {
	followed := false
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed = true }))
	defer elsewhere.Close()
	w := newWorld(t, acmeserver.Options{})
	w.acme.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		http.Redirect(rw, r, elsewhere.URL+"/dir", http.StatusTemporaryRedirect)
		return true
	})
	_, err := w.issuer().Obtain(limited(t), certificate("site", "example.com"))
	wantError(t, err, "redirects", "not followed")
	if followed {
		t.Error("the other host was asked")
	}
}

// TestContextEndsAHangingRequest: lego knows no contexts; a CA that does not answer
// holds nobody.
func TestContextEndsAHangingRequest(t *testing.T) {
	for _, kind := range []string{acmeserver.KindDirectory, acmeserver.KindNewOrder, acmeserver.KindChallenge, acmeserver.KindFinalize} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t, acmeserver.Options{})
			ctx, cancel := context.WithCancel(limited(t))
			defer cancel()
			w.acme.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
				if acmeserver.KindOf(r) != kind {
					return false
				}
				cancel()
				<-r.Context().Done()
				return true
			})
			begun := time.Now()
			_, err := w.issuer().Obtain(ctx, certificate("site", "example.com"))
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			if took := time.Since(begun); took > 10*time.Second {
				t.Errorf("it took %s", took)
			}
			w.acme.Intercept(nil)
			obtain(t, w.issuer(), certificate("site", "example.com"))
		})
	}
}

func TestUntrustedCAIsNotSpokenTo(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	_, err := w.issuer(func(c *issuer.Config) { c.CABundle = "" }).Obtain(limited(t), certificate("site", "example.com"))
	wantError(t, err, "directory", "certificate")
	if asked := len(w.acme.Requests()); asked != 0 {
		t.Errorf("it was asked %d times", asked)
	}
	_, err = w.issuer(func(c *issuer.Config) { c.CABundle = w.roots + ".gone" }).Obtain(limited(t), certificate("other", "example.com"))
	wantError(t, err, "reading ca_bundle", "no such file")
}

// TestWhatIsNoOrderTakesNothing from the limits: attempts that end before one is made
// leave them to the other certificates.
func TestWhatIsNoOrderTakesNothing(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	made := func() *issuer.Issuer { return w.issuer(func(c *issuer.Config) { c.Limits.Orders = "2 in 3h" }) }
	w.acme.Intercept(failing(acmeserver.KindDirectory))
	for attempt := range 3 {
		if _, err := made().Obtain(limited(t), certificate("site", "example.com")); err == nil || errors.As(err, new(*anycert.PostponedError)) {
			t.Fatalf("attempt %d: got %v", attempt+1, err)
		}
		w.pass(12 * time.Minute)
	}
	w.acme.Intercept(nil)
	obtain(t, made(), certificate("other", "www.example.com"))
}

package issuer_test

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/issuer"
	"github.com/anycert/anycert/issuer/dns01"
)

// told is what another process knows of the failure of a certificate that the store
// does not have.
func (w *world) told(c anycert.Certificate, change ...func(*issuer.Config)) *anycert.Failure {
	w.t.Helper()
	status := w.issuer(change...)
	if err := status.Recall(w.t.Context(), []anycert.Wanted{{Certificate: c}}, false); err != nil {
		w.t.Fatal(err)
	}
	return status.Renewal(c, nil, w.now()).Failure
}

// TestMissingCredentialIsKept and told to all, though no order was ever made.
func TestMissingCredentialIsKept(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	c := certificate("site", "example.com")
	without := func() *issuer.Issuer {
		return w.open(issuer.Options{Issuers: []issuer.Config{w.config()}, Credential: secrets{}.credential})
	}
	_, err := without().Obtain(limited(t), c)
	wantError(t, err, "certificate site", "DNSUPDATE_TSIG_SECRET", "attempt 1")
	failure := w.told(c)
	if failure == nil || failure.Class != anycert.ToMend || failure.Issuer != "pebble" || failure.Attempts != 1 {
		t.Fatalf("it is told as %+v", failure)
	}
	if left := failure.Next.Sub(w.now()); left < 8*time.Minute || left > 11*time.Minute {
		t.Errorf("it is looked at again in %s", left)
	}
	_, err = without().Obtain(limited(t), c)
	if !errors.As(err, new(*anycert.PostponedError)) {
		t.Errorf("got %v", err)
	}
	if asked := len(w.acme.Requests()); asked != 0 {
		t.Errorf("the CA was asked %d times", asked)
	}
	w.noJournal()

	w.pass(12 * time.Minute)
	obtain(t, w.issuer(), c)
	if failure := w.told(c); failure != nil {
		t.Errorf("it is still told: %+v", failure)
	}
}

// TestStoreThatIsAwayIsNoFailureOfTheOrder, also where it holds the credential.
func TestCredentialInAStoreThatIsAway(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	c := certificate("site", "example.com")
	i := w.open(issuer.Options{Issuers: []issuer.Config{w.config()}, Credential: func(anycert.Reference) anycert.Credential { return away{} }})
	if _, err := i.Obtain(limited(t), c); !errors.Is(err, anycert.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if failure := w.told(c); failure == nil || failure.Class != anycert.Passing || failure.Next.Sub(w.now()) > 2*time.Minute {
		t.Errorf("it is told as %+v", failure)
	}
}

type away struct{}

func (away) Secret(context.Context) (anycert.Secret, error) {
	return anycert.Secret{}, anycert.ErrUnavailable
}
func (away) Refused() {}

// TestWhatAPersonMustMendWaits for a day, for another configuration, or for a person.
func TestWhatAPersonMustMendWaits(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	c := certificate("site", "example.com")
	w.acme.Intercept(refusing(acmeserver.KindNewOrder, http.StatusForbidden, "caa"))
	asked := func() int { return w.acme.Count()[acmeserver.KindNewOrder] }
	attempt := func(i *issuer.Issuer, want bool, what string) {
		t.Helper()
		before := asked()
		if _, err := i.Obtain(limited(t), c); err == nil {
			t.Fatalf("%s: no error", what)
		}
		if did := asked() > before; did != want {
			t.Errorf("%s: the CA was asked: %v", what, did)
		}
	}
	attempt(w.issuer(), true, "at first")
	if failure := w.told(c); failure.Class != anycert.ToMend {
		t.Errorf("it is %+v", failure)
	}
	w.pass(20 * time.Hour)
	attempt(w.issuer(), false, "20 hours later")
	mended := func(c *issuer.Config) { c.Email = "certificates@example.com" }
	attempt(w.issuer(mended), true, "with another configuration")
	attempt(w.issuer(mended), false, "at once")
	i := w.issuer(mended)
	w.pass(time.Second)
	if _, err := i.Request(t.Context(), c, anycert.Request{Time: w.now(), By: "ops@laptop"}); err != nil {
		t.Fatal(err)
	}
	attempt(i, true, "a person asked")
	attempt(i, false, "at once")
	w.pass(27 * time.Hour)
	attempt(w.issuer(mended), true, "a day later")
}

// TestBlockedByThePreflight: the CA is asked for no order, each domain is told in a
// sentence, and what is no more than a warning stops nothing.
func TestBlockedByThePreflight(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	c := certificate("site", "example.com", "*.example.com")
	blocked := true
	open := func() *issuer.Issuer {
		return w.open(issuer.Options{Issuers: []issuer.Config{w.config()}, Prover: func(ctx context.Context, config issuer.Config) (issuer.Prover, error) {
			solver, err := config.DNS.Open(ctx, dns01.Env{Credential: secrets{"env TSIG_SECRET": w.dns.Secret}.credential, Locks: new(dns01.Locks)})
			return preflighted{solver, []dns01.Finding{
				{Domain: "example.com", Blocks: blocked, Text: "its CAA record permits other.example alone: add pebble.letsencrypt.org"},
				{Domain: "*.example.com", Text: "a name server did not answer"},
			}}, err
		}})
	}
	_, err := open().Obtain(limited(t), c)
	wantError(t, err, "the CA was not asked", "example.com: its CAA record permits other.example alone: add pebble.letsencrypt.org")
	if n := w.acme.Count()[acmeserver.KindNewOrder]; n != 0 {
		t.Errorf("%d orders were asked for", n)
	}
	if failure := w.told(c); failure == nil || failure.Class != anycert.ToMend || failure.Next.Sub(w.now()) > 12*time.Minute {
		t.Errorf("it is told as %+v", failure)
	}
	blocked = false
	w.pass(12 * time.Minute)
	obtain(t, open(), c)
}

// preflighted is a solver with other findings.
type preflighted struct {
	issuer.Prover
	findings []dns01.Finding
}

func (p preflighted) Preflight(context.Context, dns01.About) []dns01.Finding { return p.findings }

// TestFailureInAnOlderJournal is waited for: an older release kept it there.
func TestFailureInAnOlderJournal(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	c := certificate("site", "example.com")
	w.acme.Intercept(failing(acmeserver.KindFinalize))
	if _, err := w.issuer().Obtain(limited(t), c); err == nil {
		t.Fatal("no error")
	}
	w.acme.Intercept(nil)
	if err := w.store.Delete(t.Context(), anycert.KindRenewal, "site"); err != nil {
		t.Fatal(err)
	}
	text, version, err := w.store.Load(t.Context(), anycert.KindOrder, "site")
	if err != nil {
		t.Fatal(err)
	}
	var journal map[string]any
	mustJSON(t, text.Reveal(), &journal)
	journal["attempts"], journal["error"], journal["next"] = 3, "it failed", w.now().Add(time.Hour)
	if _, err := w.store.Save(t.Context(), anycert.KindOrder, "site", version, anycert.NewSecret(toJSON(t, journal))); err != nil {
		t.Fatal(err)
	}
	_, err = w.issuer().Obtain(limited(t), c)
	if !errors.As(err, new(*anycert.PostponedError)) {
		t.Errorf("got %v", err)
	}
	wantError(t, err, "it failed")
	w.pass(61 * time.Minute)
	obtain(t, w.issuer(), c)
	if orders := len(w.acme.Orders()); orders != 1 {
		t.Errorf("%d orders were made", orders)
	}
}

// TestCompromisedKeyIsNotUsedAgain: neither that of the certificate nor that of an order
// that was begun with it, also where keys are to be kept.
func TestCompromisedKeyIsNotUsedAgain(t *testing.T) {
	for name, request := range map[string]anycert.Request{
		"compromised": {Version: 1, Compromised: true}, "another key": {Version: 1, RotateKey: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, acmeserver.Options{})
			c := certificate("site", "example.com")
			c.ReuseKey = true
			open := func() *issuer.Issuer {
				config := w.config()
				config.Profile = "default"
				return w.open(issuer.Options{Issuers: []issuer.Config{config}, Store: w.store, Records: w.store, History: w.store})
			}
			obtain(t, open(), c)
			key := w.bundle("site").KeyPEM().Reveal()
			w.pass(61 * day)
			w.acme.Intercept(failing(acmeserver.KindFinalize))
			if _, err := open().Obtain(limited(t), c); err == nil || w.journalKey("site") != key {
				t.Fatalf("the order was not begun with the kept key: %v", err)
			}
			w.acme.Intercept(nil)
			i := open()
			request.Time, request.By = w.now().Add(time.Second), "ops@laptop"
			if request.Compromised {
				request.Deadline = w.now().Add(day)
			}
			if _, err := i.Request(t.Context(), c, request); err != nil {
				t.Fatal(err)
			}
			obtain(t, i, c)
			if w.bundle("site").KeyPEM().Reveal() == key {
				t.Error("the key is the old one")
			}
			w.noJournal()
		})
	}
}

// TestCertificatesOfMinutes are renewed at their half, and tried again in seconds.
func TestCertificatesOfMinutes(t *testing.T) {
	w := newWorld(t, acmeserver.Options{Profiles: map[string]time.Duration{"minutes": 5 * time.Minute}})
	made := func() *issuer.Issuer { return w.issuer(func(c *issuer.Config) { c.Profile = "minutes" }) }
	c := certificate("site", "example.com")
	obtain(t, made(), c)
	if entry := obtain(t, made(), c); entry.Version != 1 {
		t.Fatalf("it was renewed at once: version %d", entry.Version)
	}
	w.pass(151 * time.Second)
	w.acme.Intercept(failing(acmeserver.KindFinalize))
	if _, err := made().Obtain(limited(t), c); err == nil {
		t.Fatal("no error")
	}
	w.acme.Intercept(nil)
	w.pass(25 * time.Second)
	if entry := obtain(t, made(), c); entry.Version != 2 {
		t.Errorf("the version is %d", entry.Version)
	}
}

// TestNoDirectory: where no ACME is spoken a person has to mend something; where nothing
// answers, or a proxy for it, the CA is away.
func TestNoDirectory(t *testing.T) {
	tests := []struct {
		name   string
		status int
		body   string
		class  anycert.FailureClass
	}{
		{"not found", 404, "", anycert.ToMend}, // as Vault's PKI while its ACME is switched off
		{"not found, in its own words", 404, `{"errors":["no handler for route"]}`, anycert.ToMend},
		{"not allowed", 405, "405 page not allowed", anycert.ToMend},
		{"a web page", 200, "<html>welcome</html>", anycert.ToMend},
		{"another document", 200, `{"keys":[]}`, anycert.ToMend},
		{"a list", 200, `[]`, anycert.ToMend},
		{"away", 502, "Bad Gateway", anycert.OfCA},
		{"sealed", 503, `{"errors":["Vault is sealed"]}`, anycert.OfCA},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, acmeserver.Options{})
			w.acme.Intercept(func(rw http.ResponseWriter, _ *http.Request) bool {
				rw.WriteHeader(test.status)
				_, _ = rw.Write([]byte(test.body))
				return true
			})
			c := certificate("site", "example.com")
			_, err := w.issuer().Obtain(limited(t), c)
			wantError(t, err, "asking the CA for its directory")
			failure := w.told(c)
			if failure == nil || failure.Class != test.class {
				t.Fatalf("it is told as %+v", failure)
			}
			if test.class == anycert.OfCA {
				return
			}
			wantError(t, err, w.acme.URL+" is no ACME directory", strconv.Itoa(test.status), "directory of the issuer", "config/acme")
			if left := failure.Next.Sub(w.now()); left < 8*time.Minute || left > 11*time.Minute {
				t.Errorf("it is looked at again in %s", left)
			}
		})
	}
}

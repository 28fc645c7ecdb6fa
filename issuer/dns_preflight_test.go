package issuer_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/issuer"
	"github.com/anycert/anycert/issuer/dns01"
)

func TestPropagationIsDecoded(t *testing.T) {
	for written, want := range map[string]dns01.Propagation{
		"authoritative": dns01.Authoritative, "recursive": dns01.Recursive, "{wait: 90s}": dns01.Wait(90 * time.Second),
		"{wait: 0s}": dns01.Wait(0), "\n  wait: 2m": dns01.Wait(2 * time.Minute),
	} {
		got, err := decode("name: a\npropagation: " + written + "\n")
		if err != nil || got.Propagation != want {
			t.Errorf("%s is %q, %v", written, got.Propagation, err)
		}
	}
	for written, place := range map[string]string{"{wiat: 90s}": "[2:15]", "{wait: [90s]}": "[2:21]", "[recursive]": "[2:14]"} {
		if _, err := decode("name: a\npropagation: " + written + "\n"); err == nil || !strings.HasPrefix(err.Error(), place) {
			t.Errorf("%s: got %v, want a mistake at %s", written, err, place)
		}
	}
	for written, says := range map[string]string{"often": `"often" is none of`, "{wait: soon}": `"soon" is no time to wait`, "{wait: 2h}": "not between 0s and 1h"} {
		got, err := decode("name: a\npropagation: " + written + "\ndns: {provider: cloudflare, propagation: " + written + "}\n")
		if err != nil {
			t.Fatal(err)
		}
		told := 0
		for _, problem := range got.Check() {
			if (problem.Field == "propagation" || problem.Field == "dns.propagation") && strings.Contains(problem.Text, says) {
				told++
			}
		}
		if told != 2 {
			t.Errorf("%s: %+v", written, got.Check())
		}
	}
}

// TestDNSCredentialThatDisappears before a renewal: the first attempt names it, and the
// CA is not asked for an order.
func TestDNSCredentialThatDisappears(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	text := w.dns.Secret
	i := w.open(issuer.Options{Issuers: []issuer.Config{w.config()}, Credential: func(anycert.Reference) anycert.Credential {
		return secret{text: text, missing: text == ""}
	}})
	c := certificate("site", "example.com")
	obtain(t, i, c)
	text = ""
	w.pass(89 * 24 * time.Hour)
	before := w.acme.Count()[acmeserver.KindNewOrder]
	_, err := i.Obtain(limited(t), c)
	wantError(t, err, "certificate site", "DNSUPDATE_TSIG_SECRET", "no such secret")
	if asked := w.acme.Count()[acmeserver.KindNewOrder] - before; asked != 0 {
		t.Errorf("the CA was asked for %d orders", asked)
	}
	w.noJournal()
}

// TestDNSCredentialThatIsRefused before a renewal: no authorization is spent, and the
// next attempt names it without an order.
func TestDNSCredentialThatIsRefused(t *testing.T) {
	w := newWorld(t, acmeserver.Options{RejectNonces: -1}) // a refused nonce is a second request
	i := w.issuer()
	c := certificate("site", "example.com")
	obtain(t, i, c)
	w.dns.RefuseUpdates("_acme-challenge.example.com", true)
	w.pass(89 * 24 * time.Hour)
	before := w.acme.Count()
	for attempt := range 2 {
		_, err := i.Obtain(limited(t), c)
		wantError(t, err, "certificate site", "REFUSED", "allow this key to change TXT records there")
		counts := w.acme.Count()
		if orders := counts[acmeserver.KindNewOrder] - before[acmeserver.KindNewOrder]; orders > 1 {
			t.Errorf("after %d attempts the CA was asked for %d orders", attempt+1, orders)
		}
		if spent := counts[acmeserver.KindChallenge] - before[acmeserver.KindChallenge]; spent != 0 {
			t.Errorf("%d challenges were answered", spent)
		}
		w.pass(48 * time.Hour)
	}
}

// TestPropagationOfAProviderWins over the issuer's.
func TestPropagationOfAProviderWins(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	i := w.issuer(func(c *issuer.Config) { c.Propagation = dns01.Wait(time.Hour) }) // the provider's says recursive
	obtain(t, i, certificate("site", "example.com"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	waiting := w.issuer(func(c *issuer.Config) { c.Propagation, c.DNS[0].Propagation = dns01.Wait(time.Hour), "" })
	if _, err := waiting.Obtain(ctx, certificate("other", "www.example.com")); err == nil {
		t.Error("an hour has passed")
	}
}

package issuer_test

import (
	"strings"
	"testing"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/issuer"
)

func TestProbe(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	site := []anycert.Certificate{certificate("site", "example.com", "*.example.com"), certificate("other", "www.example.com")}
	probe := func(i *issuer.Issuer, name string) error {
		warnings, err := i.Probe(limited(t), name, site, true)
		if len(warnings) > 0 {
			t.Errorf("it warns: %q", warnings)
		}
		return err
	}
	if err := probe(w.issuer(), "pebble"); err != nil {
		t.Error(err)
	}
	if n := len(w.dns.Updates()); n != 4 {
		t.Errorf("%d updates, want a trial record written and removed at two names", n)
	}
	w.noRecords("_acme-challenge.example.com", "_acme-challenge.www.example.com")
	wantError(t, probe(w.issuer(), "other"), "no issuer is named other")
	wantError(t, probe(w.issuer(func(c *issuer.Config) { c.Profile = "golden" }), "pebble"), "issuer pebble", "golden")
	wantError(t, probe(w.issuer(func(c *issuer.Config) { c.CABundle = "" }), "pebble"), "issuer pebble", "directory")
	without := w.open(issuer.Options{Issuers: []issuer.Config{w.config()}, Credential: secrets{}.credential})
	wantError(t, probe(without, "pebble"), "DNSUPDATE_TSIG_SECRET")
	if counts := w.acme.Count(); counts[acmeserver.KindNewAccount]+counts[acmeserver.KindNewOrder] > 0 {
		t.Errorf("a probe asked for more than the directory: %v", counts)
	}
	if keys, err := w.store.Keys(t.Context(), anycert.KindAccount); err != nil || len(keys) > 0 {
		t.Errorf("a probe made an account: %v, %v", keys, err)
	}
}

// TestProbeTellsEverything: each certificate with what stands in its way, and what
// only may, without a trial when none is wanted.
func TestProbeTellsEverything(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	w.dns.RefuseUpdates("_acme-challenge.example.com", true)
	err := w.dns.Add(`example.com. 60 IN CAA 0 issuewild "ca.example.org"`, `www.example.com. 60 IN CAA 0 issue "pebble.letsencrypt.org; accounturi=https://ca.example.org/1"`)
	if err != nil {
		t.Fatal(err)
	}
	suspended, elsewhere := certificate("suspended", "*.example.com"), certificate("elsewhere", "*.example.com")
	suspended.Suspended, elsewhere.Issuer = true, "other"
	certificates := []anycert.Certificate{certificate("site", "example.com", "*.example.com"), certificate("www", "www.example.com"), suspended, elsewhere}
	warnings, err := w.issuer().Probe(limited(t), "pebble", certificates, true)
	wantError(t, err, "issuer pebble: ",
		"certificate site: example.com: DNS provider rfc2136 could not write a trial record", "REFUSED",
		`certificate site: *.example.com: example.com. IN CAA 0 issuewild "ca.example.org" does not permit this CA: add example.com. IN CAA 0 issuewild "pebble.letsencrypt.org"`)
	if len(warnings) != 1 || !strings.Contains(warnings[0], "certificate www: www.example.com: ") || !strings.Contains(warnings[0], "has none yet") {
		t.Errorf("it warns: %q", warnings)
	}
	wantNotSaid(t, err, "suspended")
	wantNotSaid(t, err, "elsewhere")
	asked := len(w.dns.Updates())
	_, err = w.issuer().Probe(limited(t), "pebble", certificates, false)
	wantError(t, err, "issuewild")
	wantNotSaid(t, err, "REFUSED")
	if n := len(w.dns.Updates()) - asked; n != 0 {
		t.Errorf("%d updates without a trial", n)
	}
}

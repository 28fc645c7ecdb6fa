package issuer_test

import (
	"testing"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/issuer"
)

func TestProbe(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	if err := w.issuer().Probe(limited(t), "pebble"); err != nil {
		t.Error(err)
	}
	wantError(t, w.issuer().Probe(limited(t), "other"), "no issuer is named other")
	wantError(t, w.issuer(func(c *issuer.Config) { c.Profile = "golden" }).Probe(limited(t), "pebble"), "issuer pebble", "golden")
	wantError(t, w.issuer(func(c *issuer.Config) { c.CABundle = "" }).Probe(limited(t), "pebble"), "issuer pebble", "directory")
	without := w.open(issuer.Options{Issuers: []issuer.Config{w.config()}, Credential: secrets{}.credential})
	wantError(t, without.Probe(limited(t), "pebble"), "DNSUPDATE_TSIG_SECRET")
	if counts := w.acme.Count(); counts[acmeserver.KindNewAccount]+counts[acmeserver.KindNewOrder] > 0 {
		t.Errorf("a probe asked for more than the directory: %v", counts)
	}
	if keys, err := w.store.Keys(t.Context(), anycert.KindAccount); err != nil || len(keys) > 0 {
		t.Errorf("a probe made an account: %v, %v", keys, err)
	}
}

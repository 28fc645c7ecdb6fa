package issuer_test

import (
	"strings"
	"testing"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
)

// What stands in the way of several certificates is told once, with all of them.
func TestProbeTellsEachThingOnce(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	w.dns.RefuseUpdates("_acme-challenge.example.com", true)
	err := w.dns.Add(`www.example.com. 60 IN CAA 0 issue "pebble.letsencrypt.org; accounturi=https://ca.example.org/1"`)
	if err != nil {
		t.Fatal(err)
	}
	certificates := []anycert.Certificate{certificate("site", "example.com", "www.example.com"), certificate("wild", "*.example.com"), certificate("www", "www.example.com")}
	warnings, err := w.issuer().Probe(limited(t), "pebble", certificates, true)
	wantError(t, err, "issuer pebble: certificates site, wild: example.com: DNS provider rfc2136 could not write a trial record")
	if n := strings.Count(err.Error(), "REFUSED"); n != 1 {
		t.Errorf("it is told %d times: %v", n, err)
	}
	if len(warnings) != 1 || !strings.HasPrefix(warnings[0], "certificates site, www: www.example.com: ") {
		t.Errorf("it warns: %q", warnings)
	}
}

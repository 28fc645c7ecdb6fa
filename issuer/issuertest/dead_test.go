package issuertest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/calimits"
	"github.com/anycert/anycert/issuer"
	"github.com/anycert/anycert/issuer/issuertest"
	"github.com/anycert/anycert/issuer/limits"
	"github.com/anycert/anycert/store/storetest"
)

// TestWhatTheDeadFailedAtCounts: each process dies when it has asked the CA to validate a
// domain, which the CA cannot. The next one finds out, and keeps to the CA's limit of
// failures.
func TestWhatTheDeadFailedAtCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := new(issuertest.DNS)
		dns.Lose(func(string) bool { return true })
		model := &issuertest.Model{Now: time.Now, DNS: dns, Lifetime: 90 * day, RetryAfter: day, Limits: calimits.New(calimits.Published(), time.Now)}
		h := &hub{t: t, model: model, store: &storetest.Memory{}, rest: time.Minute,
			certificates: []anycert.Certificate{{Name: "broken", Domains: []string{"broken.example.com", "*.broken.example.com"}, Issuer: issuertest.IssuerName}}}
		h.options = func() issuer.Options {
			o := options(model)
			o.Issuers[0].Limits = limits.Config{Like: "letsencrypt"}
			return o
		}
		h.die = func(point issuer.Point) bool { return point == issuer.Accepted }
		h.run(time.Now().Add(6*time.Hour), func() {})
		if asked := model.Limits.Count(acmeserver.KindChallenge); asked < 12 {
			t.Errorf("the CA was asked to validate %d times only", asked)
		}
		wantNotRefused(t, model)
	})
}

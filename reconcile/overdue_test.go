package reconcile

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anycert/anycert/internal/testenv/certs"
)

// A renewal that does not come is named before the certificate expires, and after it.
func TestOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bareWorld(t, named(1), nil, "prod")
		w.store.Now = time.Now
		w.put("c00", certs.Options{NotBefore: time.Now(), NotAfter: time.Now().Add(90 * 24 * time.Hour)})
		w.hub.Issuer = &planner{issuer: issuer{world: w, err: errBroken}}
		for _, test := range []struct {
			days int
			want []string
		}{
			{59, nil},
			{65, nil},
			{70, []string{"certificate c00: its renewal is due since 2000-03-01 00:00:00Z, and it expires at 2000-03-31 00:00:00Z"}},
			{91, []string{"certificate c00: it expired at 2000-03-31 00:00:00Z, and was not renewed"}},
		} {
			time.Sleep(time.Until(time.Date(2000, 1, 1+test.days, 0, 0, 0, 0, time.UTC)))
			now := time.Now()
			if got := w.hub.overdue(w.hub.truth(t.Context(), w.hub.Certificates), now); !slices.Equal(got, test.want) {
				t.Errorf("after %d days: %s", test.days, strings.Join(got, "; "))
			}
		}
	})
}

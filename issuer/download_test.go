package issuer_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/certs"
)

// TestSomethingElseThanAskedForIsNotStored: the CA answers with a certificate that
// nobody ordered.
func TestSomethingElseThanAskedForIsNotStored(t *testing.T) {
	tests := []struct {
		name    string
		options certs.Options
		foreign bool // its key is not ours
		says    string
	}{
		{name: "a name missing", options: certs.Options{Names: []string{"example.com"}}, says: "-*.example.com"},
		{name: "a name more", options: certs.Options{Names: []string{"example.com", "*.example.com", "evil.example.net"}}, says: "+evil.example.net"},
		{name: "an address", options: certs.Options{Names: []string{"example.com", "*.example.com", "192.0.2.1"}}, says: "no domains"},
		{name: "another key", options: certs.Options{Names: []string{"example.com", "*.example.com"}}, foreign: true, says: "does not belong"},
		{name: "a CA", options: certs.Options{Names: []string{"example.com", "*.example.com"}, IsCA: true}, says: "CA:TRUE"},
		{name: "expired", options: certs.Options{Names: []string{"example.com", "*.example.com"}, NotBefore: time.Now().Add(-2 * day), NotAfter: time.Now().Add(-day)}, says: "expired"},
		{name: "not valid yet", options: certs.Options{Names: []string{"example.com", "*.example.com"}, NotBefore: time.Now().Add(day), NotAfter: time.Now().Add(9 * day)}, says: "check the clocks"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, acmeserver.Options{})
			ca := testenv.CA(t)
			w.acme.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
				if acmeserver.KindOf(r) != acmeserver.KindCertificate {
					return false
				}
				o := test.options
				if !test.foreign {
					key, err := anycert.ParseKey([]byte(w.journalKey("site")))
					if err != nil {
						t.Error(err)
					}
					o.Key = key
				}
				pair, err := ca.Issue(o)
				if err != nil {
					t.Error(err)
				}
				_, _ = rw.Write(pair.ChainPEM)
				return true
			})
			_, err := w.issuer().Obtain(limited(t), certificate("site", "example.com", "*.example.com"))
			wantError(t, err, "the CA issued", test.says)
			if _, err := w.store.Stat(t.Context(), "site"); !errors.Is(err, anycert.ErrNotFound) {
				t.Errorf("the store has it: %v", err)
			}
			if _, err := w.issuer().Obtain(limited(t), certificate("site", "example.com", "*.example.com")); !errors.As(err, new(*anycert.PostponedError)) {
				t.Errorf("it is tried again at once: %v", err)
			}
			w.acme.Intercept(nil)
			w.pass(2 * time.Minute)
			obtain(t, w.issuer(), certificate("site", "example.com", "*.example.com"))
		})
	}
}

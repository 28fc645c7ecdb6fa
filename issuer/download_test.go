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
	"github.com/anycert/anycert/issuer"
	"github.com/anycert/anycert/store/local"
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

// TestDeadOrderIsReplacedAtOnce: what an order of before has led to is of no use any
// more, as after a crash before the order was dropped. That is no failure.
func TestDeadOrderIsReplacedAtOnce(t *testing.T) {
	answers := map[string]func(rw http.ResponseWriter, key string){
		"expired": func(rw http.ResponseWriter, text string) {
			key, err := anycert.ParseKey([]byte(text))
			if err != nil {
				t.Error(err)
			}
			pair, err := testenv.CA(t).Issue(certs.Options{Names: []string{"example.com"}, Key: key, NotBefore: time.Now().Add(-2 * day), NotAfter: time.Now().Add(-day)})
			if err != nil {
				t.Error(err)
			}
			_, _ = rw.Write(pair.ChainPEM)
		},
		"gone": func(rw http.ResponseWriter, _ string) {
			acmeserver.Fail(rw, http.StatusNotFound, "malformed", "")
		},
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, acmeserver.Options{RejectNonces: -1}) // a refused nonce is a second request
			task := w.task(certificate("site", "example.com"))
			task.DieAt = issuer.Finalized
			if got := code(t, task.start(t)); got != -1 {
				t.Fatalf("the process ended with %d, it should have died", got)
			}
			key, asked := journalKey(t, task.Local), 0
			w.acme.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
				if acmeserver.KindOf(r) != acmeserver.KindCertificate {
					return false
				}
				if asked++; asked > 1 {
					return false
				}
				answer(rw, key)
				return true
			})
			file, err := local.Config{Path: task.Local}.Open()
			if err != nil {
				t.Fatal(err)
			}
			obtain(t, w.open(issuer.Options{Issuers: []issuer.Config{w.config()}, Store: file, Records: file}), task.Certificate)
			if asked != 2 {
				t.Errorf("certificates were asked for %d times", asked)
			}
			if orders := len(w.acme.Orders()); orders != 2 {
				t.Errorf("%d orders were made", orders)
			}
			if _, _, err := file.Load(t.Context(), anycert.KindRenewal, "site"); !errors.Is(err, anycert.ErrNotFound) {
				t.Errorf("a failure was counted: %v", err)
			}
			if left, err := file.Keys(t.Context(), anycert.KindOrder); err != nil || len(left) > 0 {
				t.Errorf("journals are left: %v, %v", left, err)
			}
		})
	}
}

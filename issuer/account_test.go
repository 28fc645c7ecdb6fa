package issuer_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/issuer"
)

// accountsUsed lists the accounts that made orders.
func (w *world) accountsUsed() map[string]int {
	used := map[string]int{}
	for _, order := range w.acme.Orders() {
		used[order.Account]++
	}
	return used
}

func TestOneAccountForAllThatBeginAtOnce(t *testing.T) {
	w := newWorld(t, acmeserver.Options{RejectNonces: 30})
	w.oneAccountAtATime()
	var group sync.WaitGroup
	for _, name := range []string{"a", "b", "c", "d"} {
		i := w.issuer() // a process each
		group.Go(func() {
			if _, err := i.Obtain(limited(t), certificate(name, name+".example.com")); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if used := w.accountsUsed(); len(used) != 1 {
		t.Errorf("accounts and their orders: %v", used)
	}
}

func TestAccountIsFoundAgainByItsKey(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	obtain(t, w.issuer(), certificate("a", "a.example.com"))

	w.loseAccountURL()

	obtain(t, w.issuer(), certificate("b", "b.example.com"))
	if used := w.accountsUsed(); len(used) != 1 {
		t.Errorf("accounts and their orders: %v", used)
	}
}

// TestAccountThatTheCAForgotIsMadeAnew: a test CA was started afresh, say.
func TestAccountThatTheCAForgotIsMadeAnew(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	i := w.issuer()
	obtain(t, i, certificate("a", "a.example.com"))
	once := true
	w.acme.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		if acmeserver.KindOf(r) != acmeserver.KindNewOrder || !once {
			return false
		}
		once = false
		acmeserver.Fail(rw, http.StatusBadRequest, "accountDoesNotExist", "")
		return true
	})
	before := w.acme.Count()[acmeserver.KindNewAccount]
	obtain(t, i, certificate("b", "b.example.com"))
	if w.acme.Count()[acmeserver.KindNewAccount] == before {
		t.Error("no account was asked for")
	}
}

func TestAnotherDirectoryIsAnotherAccount(t *testing.T) {
	w, other := newWorld(t, acmeserver.Options{}), newWorld(t, acmeserver.Options{})
	obtain(t, w.issuer(), certificate("site", "example.com"))

	there := w.issuer(func(c *issuer.Config) { c.Directory, c.CABundle = other.acme.URL, other.roots })
	_, err := there.Obtain(limited(t), certificate("site", "example.com"))
	wantError(t, err, "could not validate") // the other CA asks the other DNS
	if used := other.accountsUsed(); len(used) != 1 {
		t.Errorf("accounts at the other CA: %v", used)
	}
	var record struct {
		Accounts map[string]struct{ Key, URL string }
	}
	after, _, err := w.store.Load(t.Context(), anycert.KindAccount, "pebble")
	if err != nil {
		t.Fatal(err)
	}
	mustJSON(t, after.Reveal(), &record)
	if len(record.Accounts) != 2 || record.Accounts[w.acme.URL].Key == record.Accounts[other.acme.URL].Key {
		t.Error("there are not two accounts with two keys")
	}
}

func TestExternalAccountBinding(t *testing.T) {
	const kid, mac = "kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	w := newWorld(t, acmeserver.Options{EAB: map[string]string{kid: mac}})
	open := func(eab *issuer.EAB, text string) *issuer.Issuer {
		config := w.config()
		config.EAB = eab
		return w.open(issuer.Options{Issuers: []issuer.Config{config},
			Credential: secrets{"env TSIG_SECRET": w.dns.Secret, "env EAB": text}.credential})
	}
	hmac := anycert.Reference{Env: "EAB"}

	_, err := open(nil, "").Obtain(limited(t), certificate("a", "example.com"))
	wantError(t, err, "external account binding", "eab")

	_, err = open(&issuer.EAB{KID: kid, HMAC: hmac}, "").Obtain(limited(t), certificate("b", "example.com"))
	wantError(t, err, "eab.hmac")

	_, err = open(&issuer.EAB{KID: kid, HMAC: hmac}, "d3JvbmctbWFjLWtleS10aGF0LWlzLWxvbmctZW5vdWdo").Obtain(limited(t), certificate("c", "example.com"))
	wantError(t, err, "making the ACME account")

	// A server that shows what it was given: none of it is repeated.
	w.acme.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		if acmeserver.KindOf(r) != acmeserver.KindNewAccount {
			return false
		}
		rw.WriteHeader(http.StatusUnauthorized)
		_, _ = rw.Write([]byte(`{"type":"urn:ietf:params:acme:error:unauthorized","detail":"the MAC key ` + mac + ` is no good"}`))
		return true
	})
	_, err = open(&issuer.EAB{KID: kid, HMAC: hmac}, mac).Obtain(limited(t), certificate("d", "example.com"))
	wantNotSaid(t, err, mac)
	w.acme.Intercept(nil)

	obtain(t, open(&issuer.EAB{KID: kid, HMAC: hmac}, mac), certificate("e", "example.com"))
}

// TestAccountFromBeforeBindings: the CA wants an external account binding now, and
// refuses the account that was made without. One with the binding takes its place.
func TestAccountFromBeforeBindings(t *testing.T) {
	const kid, mac = "kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	for _, lost := range []bool{false, true} { // with the account's URL, and without
		w := newWorld(t, acmeserver.Options{EAB: map[string]string{kid: mac}})
		config := w.config()
		config.EAB = &issuer.EAB{KID: kid, HMAC: anycert.Reference{Env: "EAB"}}
		made := func() *issuer.Issuer {
			return w.open(issuer.Options{Issuers: []issuer.Config{config},
				Credential: secrets{"env TSIG_SECRET": w.dns.Secret, "env EAB": mac}.credential})
		}
		obtain(t, made(), certificate("a", "a.example.com"))
		before := w.account()
		if lost {
			w.loseAccountURL()
		}
		w.acme.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
			signed := protected(r)
			if signed.KID != before.URL && (len(signed.JWK) == 0 || w.account().Key != before.Key) {
				return false
			}
			acmeserver.Fail(rw, http.StatusUnauthorized, "externalAccountRequired", "")
			return true
		})
		obtain(t, made(), certificate("b", "b.example.com"))
		if after := w.account(); after.Key == before.Key || after.URL == before.URL {
			t.Error("the account is the one from before")
		}
		if used := w.accountsUsed(); len(used) != 2 {
			t.Errorf("accounts and their orders: %v", used)
		}

		// Where no binding is configured, a person has to.
		config.EAB = nil
		known := w.account()
		w.acme.Intercept(refusing(acmeserver.KindNewOrder, http.StatusUnauthorized, "externalAccountRequired"))
		_, err := made().Obtain(limited(t), certificate("c", "c.example.com"))
		wantError(t, err, "externalAccountRequired")
		if w.account() != known {
			t.Error("without a binding the account was replaced")
		}
	}
}

// keptAccount is an account as the store keeps it.
type keptAccount struct {
	Key string `json:"key"`
	URL string `json:"url,omitempty"`
}

// account is that of the issuer "pebble".
func (w *world) account() keptAccount {
	w.t.Helper()
	var record struct{ Accounts map[string]keptAccount }
	text, _, err := w.store.Load(w.t.Context(), anycert.KindAccount, "pebble")
	if err != nil {
		w.t.Fatal(err)
	}
	mustJSON(w.t, text.Reveal(), &record)
	return record.Accounts[w.acme.URL]
}

// loseAccountURL is a process that died before it wrote it.
func (w *world) loseAccountURL() {
	w.t.Helper()
	text, version, err := w.store.Load(w.t.Context(), anycert.KindAccount, "pebble")
	if err != nil {
		w.t.Fatal(err)
	}
	var record struct {
		Schema   int                    `json:"schema"`
		Accounts map[string]keptAccount `json:"accounts"`
	}
	mustJSON(w.t, text.Reveal(), &record)
	for directory, account := range record.Accounts {
		record.Accounts[directory] = keptAccount{Key: account.Key}
	}
	if _, err := w.store.Save(w.t.Context(), anycert.KindAccount, "pebble", version, anycert.NewSecret(toJSON(w.t, record))); err != nil {
		w.t.Fatal(err)
	}
}

// header is by whom a request is signed.
type header struct {
	KID string
	JWK json.RawMessage
}

func protected(r *http.Request) (h header) {
	body, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	var signed struct{ Protected string }
	if err != nil || json.Unmarshal(body, &signed) != nil {
		return header{}
	}
	if text, err := base64.RawURLEncoding.DecodeString(signed.Protected); err == nil {
		_ = json.Unmarshal(text, &h)
	}
	return h
}

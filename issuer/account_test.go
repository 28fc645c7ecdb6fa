package issuer_test

import (
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

	text, version, err := w.store.Load(t.Context(), anycert.KindAccount, "pebble")
	if err != nil {
		t.Fatal(err)
	}
	var record struct {
		Schema   int
		Accounts map[string]map[string]string
	}
	mustJSON(t, text.Reveal(), &record)
	for _, account := range record.Accounts {
		delete(account, "url") // the process died before it wrote it
	}
	if _, err := w.store.Save(t.Context(), anycert.KindAccount, "pebble", version, anycert.NewSecret(toJSON(t, map[string]any{"schema": record.Schema, "accounts": record.Accounts}))); err != nil {
		t.Fatal(err)
	}

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

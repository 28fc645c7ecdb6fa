package vaultpki

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/world"
)

// two is an office with Pebble as the first CA, behind a door, and Vault's PKI as the
// second. The store has a certificate of the second one, which is due a quarter of a
// minute after it was issued; three quarters are left then.
type two struct {
	*office
	pebble *door
	config string
}

func newTwo(t *testing.T) *two {
	t.Helper()
	s := &two{office: open(t)}
	s.shell("vault patch pki/roles/servers ttl=60s\nvault write pki/config/acme eab_policy=not-required")
	address, _, _ := strings.Cut(strings.TrimPrefix(s.ACME.URL, "https://"), "/")
	s.pebble = newDoor(t, address)
	second := s.issuer("vault-pki", "servers", "")
	s.Kept(s.Report(0, s.hub("hub", "example", "vault-pki", second), "sync"))
	s.config = s.hub("hub", "example", "[pebble, vault-pki]", s.pebble.through(s.Issuer("pebble")), second)
	return s
}

// due is when a version is to be renewed, and left what is left of it then.
func due(v world.Stored) (at time.Time, left time.Duration) {
	half := v.Leaf.NotAfter.Sub(v.Leaf.NotBefore) / 2
	return v.Leaf.NotBefore.Add(half), half
}

// byVault tells whether Vault's PKI issued a version.
func byVault(v world.Stored) bool { return v.Leaf.Issuer.CommonName == "Example Intermediate" }

// The first CA refuses connections when the certificate is due: after a tenth of what is
// left of it the second one is asked. Once the first is back, it is the one that is
// asked for the next renewal. What the second issued is as declared until then.
func TestSecondCA(t *testing.T) {
	t.Parallel()
	s := newTwo(t)
	first, m := s.Stored("example"), s.Now()
	s.pebble.close()
	d := s.Daemon(s.config)
	failed := s.fails(d)
	d.HangUp() // a pass at once, which comes too soon
	second := s.awaitVersion(d, "example", 2)
	left := first.Leaf.NotAfter.Sub(failed)
	switch {
	case !byVault(second):
		t.Errorf("while Pebble was away %s issued", second.Leaf.Issuer)
	case issued(second).Before(failed.Add(left / 10).Add(-time.Second)): // a certificate's moments are whole seconds
		t.Errorf("Pebble failed at %s, with %s left, and the second CA issued at %s: that was too soon", failed, left, issued(second))
	}
	if orders := len(s.ACME.Orders()); orders != 0 {
		t.Errorf("Pebble has %d orders", orders)
	}

	s.pebble.open()
	third := s.awaitVersion(d, "example", 3)
	if at, _ := due(second); byVault(third) {
		t.Errorf("Pebble was back, and %s issued", third.Leaf.Issuer)
	} else if third.Leaf.NotBefore.Before(at.Add(-time.Second)) {
		t.Errorf("what the second CA issued was due at %s and replaced at %s", at, third.Leaf.NotBefore)
	}
	d.Await("has pushed it", func() error { return third.Same(s.InFiles(s.Files, "example")) })
	d.End()
	s.apart()
	if n := s.orders(m); n != 1 {
		t.Errorf("Vault's PKI has %d orders, want one", n)
	}
	if orders := s.ACME.Orders(); len(orders) != 1 || orders[0].Replaces != "" {
		t.Errorf("Pebble has these orders, want one that replaces nothing of another CA's: %+v", orders)
	}
}

// fails waits until the first attempt has failed at Pebble, and tells when it did.
func (s *two) fails(d *world.Daemon) (at time.Time) {
	s.T.Helper()
	d.Await("has failed at Pebble", func() error {
		failed := d.Said("order failed")
		if failed == nil {
			return errors.New("no order has failed")
		}
		if reason := failed["reason"]; !strings.Contains(reason, "issuer pebble") || !strings.Contains(reason, "connection refused") {
			s.T.Errorf("want the refused connection to pebble: %s", reason)
		}
		var err error
		at, err = time.Parse(time.RFC3339Nano, failed["time"])
		return err
	})
	return at
}

// What a person must mend does not go to the second CA, also when it lasts.
func TestRefusalIsNoOutage(t *testing.T) {
	t.Parallel()
	s := newTwo(t)
	m := s.Now()
	s.ACME.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if acmeserver.KindOf(r) != acmeserver.KindNewOrder {
			return false
		}
		acmeserver.Fail(w, http.StatusForbidden, "caa", "")
		return true
	})
	refusals := func() (n int) {
		for _, r := range s.ACME.Requests() {
			if r.Kind == acmeserver.KindNewOrder && r.Status == http.StatusForbidden {
				n++
			}
		}
		return n
	}
	d := s.Daemon(s.config)
	await := func(n int) {
		t.Helper()
		d.Await(fmt.Sprintf("has been refused %d times", n), func() error {
			if got := refusals(); got < n {
				return fmt.Errorf("there were %d refusals", got)
			}
			return nil
		})
	}
	await(1)
	_, left := due(s.Stored("example"))
	long := time.Now().Add(left / 10)
	d.Await("has had the time after which another CA may be asked", func() error {
		if time.Now().Before(long) {
			return errors.New("not yet")
		}
		return nil
	})
	for range 2 {
		s.pass(d)
	}
	// A changed configuration is a new attempt, and still the first CA's.
	text, err := os.ReadFile(s.config)
	s.Must(err)
	s.Must(os.WriteFile(s.config, []byte(strings.Replace(string(text), "email: ops@", "email: noc@", 1)), 0o600))
	d.HangUp()
	await(2)
	d.End()
	if n := s.orders(m); n != 0 {
		t.Errorf("Vault's PKI was asked for %d orders", n)
	}
	if got := s.Run(s.config, "status"); !got.Says("caa") {
		t.Errorf("status does not tell why: %v", got)
	}
}

// pass has the daemon make a pass, and waits until it looks at the certificate in it.
func (s *two) pass(d *world.Daemon) {
	s.T.Helper()
	m := s.Now()
	d.HangUp()
	d.Await("makes a pass", func() error {
		for _, r := range s.VaultSince(m) {
			if r.Path == "secret/metadata/anycert/certs/example" {
				return nil
			}
		}
		return errors.New("it has not looked at the certificate")
	})
}

// apart expects an account of its own at each CA.
func (s *two) apart() {
	s.T.Helper()
	var urls, keys []string
	for _, issuer := range []string{"pebble", "vault-pki"} {
		record, err := s.Vault.Client().KVv2("secret").Get(s.T.Context(), "anycert/accounts/"+issuer)
		s.Must(err)
		text, _ := record.Data["value"].(string)
		var known struct {
			Accounts map[string]struct{ Key, URL string } `json:"accounts"`
		}
		s.Must(json.Unmarshal([]byte(text), &known))
		if len(known.Accounts) != 1 {
			s.T.Errorf("issuer %s has accounts at %d directories", issuer, len(known.Accounts))
		}
		for _, account := range known.Accounts {
			urls, keys = append(urls, account.URL), append(keys, account.Key)
		}
	}
	if slices.Contains(urls, "") || len(slices.Compact(urls)) != 2 || len(slices.Compact(keys)) != 2 {
		s.T.Errorf("the accounts are %v, and their keys are %d", urls, len(slices.Compact(keys)))
	}
}

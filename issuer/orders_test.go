package issuer_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/issuer"
	"github.com/anycert/anycert/store/storetest"
)

func TestKeyTypes(t *testing.T) {
	w := newWorld(t, acmeserver.Options{ReuseAuthz: 100})
	i := w.issuer()
	for _, kind := range anycert.KeyTypes() {
		c := certificate("site-"+string(kind), "example.com")
		c.KeyType = kind
		obtain(t, i, c)
		if got, err := anycert.KeyTypeOf(w.bundle(c.Name).Leaf().PublicKey); err != nil || got != kind {
			t.Errorf("asked for %s, got %s: %v", kind, got, err)
		}
	}
}

func TestProfile(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	obtain(t, w.issuer(func(c *issuer.Config) { c.Profile = "shortlived" }), certificate("site", "example.com"))
	leaf := w.bundle("site").Leaf()
	if got := leaf.NotAfter.Sub(leaf.NotBefore).Round(time.Hour); got != 160*time.Hour {
		t.Errorf("the lifetime is %s", got)
	}
	if entry, _ := w.store.Stat(t.Context(), "site"); entry.Origin.Profile != "shortlived" {
		t.Errorf("the origin is %+v", entry.Origin)
	}

	_, err := w.issuer(func(c *issuer.Config) { c.Profile = "golden" }).Obtain(limited(t), certificate("other", "example.com"))
	wantError(t, err, "certificate other", "no profile golden", "shortlived, tlsserver")
	if made := len(w.acme.Orders()); made != 1 {
		t.Errorf("%d orders were made", made)
	}
}

func TestRenewalMakesANewKeyUnlessItIsToBeKept(t *testing.T) {
	for _, reuse := range []bool{false, true} {
		t.Run(map[bool]string{false: "new", true: "kept"}[reuse], func(t *testing.T) {
			w := newWorld(t, acmeserver.Options{})
			i := w.issuer(func(c *issuer.Config) { c.Profile = "default" })
			c := certificate("site", "example.com")
			c.ReuseKey = reuse
			obtain(t, i, c)
			before := w.bundle("site")
			w.pass(61 * day)

			if entry := obtain(t, i, c); entry.Version != 2 {
				t.Fatalf("the version is %d", entry.Version)
			}
			after := w.bundle("site")
			if same := before.KeyPEM().Reveal() == after.KeyPEM().Reveal(); same != reuse {
				t.Errorf("the key is the same: %v", same)
			}
			if before.Leaf().Equal(after.Leaf()) {
				t.Error("it is the old certificate")
			}
			w.noJournal()
		})
	}
}

func TestChangedDomainsMakeAnotherOrder(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	i := w.issuer()
	obtain(t, i, certificate("site", "example.com"))
	c := certificate("site", "example.com", "www.example.com")
	if entry := obtain(t, i, c); entry.Version != 2 {
		t.Errorf("the version is %d", entry.Version)
	}
	wantNames(t, w.bundle("site").Leaf().DNSNames, c.Domains)
}

// TestJournalOfOtherDomainsIsNotUsed: the configuration changed while an order was
// open.
func TestJournalOfOtherDomainsIsNotUsed(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	w.acme.Intercept(failing(acmeserver.KindFinalize))
	i := w.issuer()
	if _, err := i.Obtain(limited(t), certificate("site", "example.com")); err == nil {
		t.Fatal("no error")
	}
	w.acme.Intercept(nil)
	c := certificate("site", "www.example.com")
	obtain(t, i, c) // at once: another order has no failures to wait for
	wantNames(t, w.bundle("site").Leaf().DNSNames, c.Domains)
}

func TestPreferredChain(t *testing.T) {
	w := newWorld(t, acmeserver.Options{AlternateChains: 1})
	obtain(t, w.issuer(), certificate("default", "example.com"))
	last := w.bundle("default").Chain()
	byDefault := last[len(last)-1].Issuer.CommonName

	i := w.issuer(func(c *issuer.Config) { c.PreferredChain = rootName(t, w.acme.RootPEM(1)) })
	obtain(t, i, certificate("other", "example.com"))
	chain := w.bundle("other").Chain()
	if got := chain[len(chain)-1].Issuer.CommonName; got != rootName(t, w.acme.RootPEM(1)) || got == byDefault {
		t.Errorf("the chain ends at %q, the default at %q", got, byDefault)
	}

	i = w.issuer(func(c *issuer.Config) { c.PreferredChain = "nobody" })
	obtain(t, i, certificate("third", "example.com"))
}

func TestTwoIssuersOneOrder(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	issuers := []*issuer.Issuer{w.issuer(), w.issuer(), w.issuer()}
	var group sync.WaitGroup
	var mu sync.Mutex
	obtained, claimed := 0, 0
	for n := range 9 {
		group.Go(func() {
			_, err := issuers[n%3].Obtain(limited(t), certificate("site", "example.com"))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				obtained++
			case errors.Is(err, anycert.ErrClaimed):
				claimed++
			default:
				t.Error(err)
			}
		})
	}
	group.Wait()
	if obtained == 0 || obtained+claimed != 9 {
		t.Errorf("%d obtained it, %d left it", obtained, claimed)
	}
	if orders := len(w.acme.Orders()); orders != 1 {
		t.Errorf("%d orders were made", orders)
	}
	if accounts := w.acme.Count()[acmeserver.KindNewAccount]; accounts > 4 { // a look and a registration, and their refused nonces
		t.Logf("accounts were asked for %d times", accounts)
	}
	w.noJournal()
}

// TestOutdatedHolderStops: the claim of a process that was stopped is taken over, and
// the process finds out before its next step, wherever it was: between the two no call
// is made for an order that is not its own any more.
func TestOutdatedHolderStops(t *testing.T) {
	for _, away := range issuer.Points() {
		if away == issuer.FailureWritten {
			continue
		}
		t.Run(string(away), func(t *testing.T) {
			w := newWorld(t, acmeserver.Options{})
			c := certificate("site", "example.com")
			var second *issuer.Issuer
			var asked map[string]int
			first := w.open(issuer.Options{Issuers: []issuer.Config{w.config()}, At: func(point issuer.Point) {
				if point != away {
					return
				}
				w.pass(5 * time.Minute) // longer than any claim
				if _, err := second.Obtain(limited(t), c); err != nil {
					t.Error(err)
				}
				asked = w.acme.Count()
			}})
			second = w.issuer()
			_, err := first.Obtain(limited(t), c)
			switch away { // where it looks next at what the store has, it is content with that
			case issuer.Begun, issuer.IntentWritten, issuer.StoreBefore, issuer.Stored, issuer.Forgotten, issuer.Ended:
				if err != nil {
					t.Error(err)
				}
			default:
				if !errors.Is(err, anycert.ErrClaimed) {
					t.Errorf("the outdated holder got %v", err)
				}
			}
			if entry, err := w.store.Stat(t.Context(), "site"); err != nil || entry.Version != 1 {
				t.Errorf("the store has version %d: %v", entry.Version, err)
			}
			if n := len(w.acme.CertificatesFor("example.com")); n != 1 {
				t.Errorf("%d certificates were issued", n)
			}
			most := map[issuer.Point]int{issuer.OrderCreated: 2}[away] // Pebble does not find an order again
			if orders := len(w.acme.Orders()); orders > max(1, most) {
				t.Errorf("%d orders were made", orders)
			}
			w.wantFinalized(1)
			w.noJournal()
			for kind, n := range w.acme.Count() {
				if more := n - asked[kind]; more > 0 && kind != acmeserver.KindNewNonce && !nothingYet(away, kind) {
					t.Errorf("the outdated holder asked the CA %d times for %s", more, kind)
				}
			}
		})
	}
}

// nothingYet reports whether asking for kind is harmless there: the account belongs to
// all processes, and its making is no part of an order.
func nothingYet(away issuer.Point, kind string) bool {
	return kind == acmeserver.KindDirectory || away == issuer.AccountBefore && kind == acmeserver.KindNewAccount
}

// wantFinalized counts the requests to finalize an order, but for those with a
// refused nonce.
func (w *world) wantFinalized(times int) {
	w.t.Helper()
	made := 0
	for _, request := range w.acme.Requests() {
		if request.Kind == acmeserver.KindFinalize && request.Status != http.StatusBadRequest {
			made++
		}
	}
	if made != times {
		w.t.Errorf("orders were finalized %d times, want %d", made, times)
	}
}

// TestOrderThatIsNotNeededAnyMoreIsEnded: a person put a certificate there while
// the order waited for its next attempt.
func TestOrderThatIsNotNeededAnyMoreIsEnded(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	i := w.issuer()
	obtain(t, i, certificate("source", "example.com"))
	by := w.bundle("source")
	w.acme.Intercept(failing(acmeserver.KindFinalize))
	if _, err := i.Obtain(limited(t), certificate("site", "example.com")); err == nil {
		t.Fatal("no error")
	}
	w.store.WriteByHand("site", string(by.FullChainPEM()), by.KeyPEM().Reveal())
	if entry := obtain(t, i, certificate("site", "example.com")); entry.Version != 1 || entry.Digest != by.Digest() {
		t.Errorf("version %d holds %s", entry.Version, entry.Digest)
	}
	w.noJournal()
}

// TestEndedJournalHoldsNoKey: between the last write and the deletion.
func TestEndedJournalHoldsNoKey(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	ended := false
	i := w.open(issuer.Options{Issuers: []issuer.Config{w.config()}, At: func(point issuer.Point) {
		if point == issuer.Ended {
			ended = true
			text, _, err := w.store.Load(t.Context(), anycert.KindOrder, "site")
			if err != nil || text.Reveal() != `{"schema":1,"done":true,"replaces":0}` {
				t.Errorf("the ended journal is %q: %v", text.Reveal(), err)
			}
		}
	}})
	obtain(t, i, certificate("site", "example.com"))
	if !ended {
		t.Error("the journal was not ended")
	}
}

func TestJournalOfANewerSchemaIsLeftAlone(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	const text = `{"schema":99,"future":true}`
	if _, err := w.store.Save(t.Context(), anycert.KindOrder, "site", 0, anycert.NewSecret(text)); err != nil {
		t.Fatal(err)
	}
	_, err := w.issuer().Obtain(limited(t), certificate("site", "example.com"))
	wantError(t, err, "newer anycert", "orders/site")
	if got, version, err := w.store.Load(t.Context(), anycert.KindOrder, "site"); err != nil || version != 1 || got.Reveal() != text {
		t.Errorf("the journal was touched: version %d, %v", version, err)
	}
}

func TestMalformedJournalShowsNothing(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	if _, err := w.store.Save(t.Context(), anycert.KindOrder, "site", 0, anycert.NewSecret(`{"key": hunter2`)); err != nil {
		t.Fatal(err)
	}
	_, err := w.issuer().Obtain(limited(t), certificate("site", "example.com"))
	if !errors.Is(err, anycert.ErrMalformed) {
		t.Errorf("got %v", err)
	}
	wantError(t, err, "orders/site", "delete it")
}

// TestCanceledOrderIsGoneOnWith: a daemon that is told to stop gives its claim
// back, and the order is no failure.
func TestCanceledOrderIsGoneOnWith(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	c := certificate("site", "example.com")
	ctx, cancel := context.WithCancel(limited(t))
	first := w.open(issuer.Options{Issuers: []issuer.Config{w.config()}, At: func(point issuer.Point) {
		if point == issuer.OrderWritten {
			cancel()
		}
	}})
	if _, err := first.Obtain(ctx, c); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	obtain(t, w.issuer(), c)
	if orders := len(w.acme.Orders()); orders != 1 {
		t.Errorf("%d orders were made", orders)
	}
}

// TestStoreThatIsAwayCountsAsNoFailure: the certificate was issued, and Vault is
// sealed. It is stored when Vault is back, without another order.
func TestStoreThatIsAwayCountsAsNoFailure(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	sealed := true
	w.store = &storetest.Memory{Fail: func(op storetest.Op, _ string) error {
		if op == storetest.OpPut && sealed {
			return anycert.ErrUnavailable
		}
		return nil
	}}
	i := w.issuer()
	c := certificate("site", "example.com")
	if _, err := i.Obtain(limited(t), c); !errors.Is(err, anycert.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	sealed = false
	obtain(t, i, c)
	if orders, issued := len(w.acme.Orders()), len(w.acme.Certificates()); orders != 1 || issued != 1 {
		t.Errorf("%d orders, %d certificates", orders, issued)
	}
}

// TestWrittenByHandMeanwhileStays: what a person puts there while an order is
// under way, and is as good, is not replaced.
func TestWrittenByHandMeanwhileStays(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	obtain(t, w.issuer(), certificate("source", "example.com"))
	other := w.bundle("source")
	i := w.open(issuer.Options{Issuers: []issuer.Config{w.config()}, At: func(point issuer.Point) {
		if point == issuer.Downloaded {
			w.store.WriteByHand("site", string(other.FullChainPEM()), other.KeyPEM().Reveal())
		}
	}})
	entry := obtain(t, i, certificate("site", "example.com"))
	if entry.Version != 1 || entry.Digest != other.Digest() {
		t.Errorf("version %d holds %s", entry.Version, entry.Digest)
	}
	w.noJournal()
}

// TestDeletedIsNotObtained: somebody deleted the entry; that is no reason to ask a
// CA.
func TestDeletedIsNotObtained(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	i := w.issuer()
	obtain(t, i, certificate("site", "example.com"))
	w.store.SoftDelete("site")
	if _, err := i.Obtain(limited(t), certificate("site", "example.com")); !errors.Is(err, anycert.ErrDeleted) {
		t.Errorf("got %v", err)
	}
	if orders := len(w.acme.Orders()); orders != 1 {
		t.Errorf("%d orders were made", orders)
	}
}

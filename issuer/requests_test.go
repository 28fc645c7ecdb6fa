package issuer_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/issuer"
	"github.com/anycert/anycert/store/storetest"
)

// asks is an issuer over the world's store that knows the store's past.
func (w *world) asks() *issuer.Issuer {
	w.t.Helper()
	return w.open(issuer.Options{Issuers: []issuer.Config{w.config()}, History: w.store})
}

// example keeps its key at each renewal.
func keepsKey() anycert.Certificate {
	c := certificate("example", "example.com", "*.example.com")
	c.ReuseKey = true
	return c
}

// compromised asks for another certificate in the place of version, of which it is said
// that its key is known to others.
func (w *world) compromised(i *issuer.Issuer, c anycert.Certificate, version int) anycert.Request {
	w.t.Helper()
	kept, err := i.Request(w.t.Context(), c, anycert.Request{Time: w.now(), By: "ops@laptop", Version: version, Compromised: true, Deadline: w.now().Add(24 * time.Hour)})
	if err != nil {
		w.t.Fatal(err)
	}
	return kept
}

// renewed obtains a certificate that keeps its key for so many versions, all with one key.
func (w *world) versions(i *issuer.Issuer, c anycert.Certificate, n int) {
	w.t.Helper()
	obtain(w.t, i, c)
	for version := 1; version < n; version++ {
		if _, err := i.Request(w.t.Context(), c, anycert.Request{Time: w.now(), Version: version}); err != nil {
			w.t.Fatal(err)
		}
		obtain(w.t, i, c)
		if done, err := i.Settle(w.t.Context(), c, false); !done || err != nil {
			w.t.Fatalf("a plain request is not ended by its certificate: %v, %v", done, err)
		}
	}
}

// gone tells what of the old key is left: at the CA, in the store, in a journal.
func (w *world) gone(old ...*anycert.Bundle) (left []string) {
	w.t.Helper()
	for n, bundle := range old {
		if reason, revoked := w.acme.Revoked(bundle.Leaf()); !revoked || reason != 1 {
			left = append(left, fmt.Sprintf("the certificate of version %d is not revoked as compromised", n+1))
		}
		if _, err := w.store.Get(w.t.Context(), "example", n+1); !errors.Is(err, anycert.ErrDeleted) && !errors.Is(err, anycert.ErrNotFound) {
			left = append(left, fmt.Sprintf("version %d is in the store (%v)", n+1, err))
		}
	}
	for _, kind := range []string{anycert.KindRequest, anycert.KindOrder} {
		if keys, err := w.store.Keys(w.t.Context(), kind); err != nil || len(keys) > 0 {
			left = append(left, fmt.Sprintf("%s are left: %v %v", kind, keys, err))
		}
	}
	return left
}

func (w *world) versionOf(version int) *anycert.Bundle {
	w.t.Helper()
	bundle, err := w.store.Get(w.t.Context(), "example", version)
	if err != nil {
		w.t.Fatal(err)
	}
	return bundle
}

// A compromised key is replaced by another one, also where keys are kept. All its
// certificates are revoked when every place serves the new one, and every version and
// journal that holds it is destroyed.
func TestCompromised(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	i, c := w.asks(), keepsKey()
	w.versions(i, c, 2)
	old := []*anycert.Bundle{w.versionOf(1), w.versionOf(2)}
	if anycert.SPKIOf(old[0].Leaf()) != anycert.SPKIOf(old[1].Leaf()) {
		t.Fatal("the key was not kept")
	}
	w.compromised(i, c, 2)
	if r := i.Renewal(c, &anycert.Entry{Name: c.Name, Version: 2, Leaf: old[1].Leaf()}, w.now()); !r.Due(w.now()) || r.Urgency != anycert.Compromised {
		t.Errorf("the renewal is %+v", r)
	}
	if done, err := i.Settle(t.Context(), c, true); done || err != nil {
		t.Errorf("settled before it was replaced: %v, %v", done, err)
	}
	entry := obtain(t, i, c)
	if entry.Version != 3 || anycert.SPKIOf(entry.Leaf) == anycert.SPKIOf(old[0].Leaf()) {
		t.Fatalf("version %d has the compromised key", entry.Version)
	}
	if done, err := i.Settle(t.Context(), c, false); done || err != nil || len(w.gone(old...)) != 5 {
		t.Errorf("before every place serves it: %v, %v, left %q", done, err, w.gone(old...))
	}
	w.plantJournal(old[0])
	if done, err := i.Settle(t.Context(), c, true); !done || err != nil {
		t.Fatalf("settled: %v, %v", done, err)
	}
	if left := w.gone(old...); len(left) > 0 {
		t.Errorf("%q", left)
	}
	if _, revoked := w.acme.Revoked(entry.Leaf); revoked {
		t.Error("the new certificate was revoked")
	}
	if done, err := i.Settle(t.Context(), c, true); !done || err != nil {
		t.Errorf("settled once more: %v, %v", done, err)
	}
}

// plantJournal writes the journal of an order that was begun with a bundle's key, and
// never ended.
func (w *world) plantJournal(bundle *anycert.Bundle) {
	w.t.Helper()
	text, err := json.Marshal(map[string]any{"schema": 1, "issuer": "pebble", "directory": w.acme.URL, "domains": []string{"example.com"}, "key": bundle.KeyPEM().Reveal()})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.store.Save(w.t.Context(), anycert.KindOrder, "example", 0, anycert.NewSecret(string(text))); err != nil {
		w.t.Fatal(err)
	}
}

// At the deadline it is revoked although somebody still serves it.
func TestCompromisedDeadline(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	i, c := w.asks(), keepsKey()
	w.versions(i, c, 1)
	old := w.versionOf(1)
	w.compromised(i, c, 1)
	obtain(t, i, c)
	w.pass(23 * time.Hour)
	if done, err := i.Settle(t.Context(), c, false); done || err != nil {
		t.Fatalf("before the deadline: %v, %v", done, err)
	}
	w.pass(2 * time.Hour)
	if done, err := i.Settle(t.Context(), c, false); !done || err != nil || len(w.gone(old)) > 0 {
		t.Errorf("at the deadline: %v, %v, left %q", done, err, w.gone(old))
	}
}

// A process dies before any of its calls to the store, one after the other. Whoever comes
// next ends what was begun.
func TestSettleSurvivesItsProcess(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	var calls, allowed atomic.Int64
	allowed.Store(1 << 60)
	w.store.Fail = func(storetest.Op, string) error {
		if calls.Add(1) > allowed.Load() {
			return fmt.Errorf("the process is dead: %w", anycert.ErrUnavailable)
		}
		return nil
	}
	i, c := w.asks(), keepsKey()
	w.versions(i, c, 1)
	old := w.versionOf(1)
	w.compromised(i, c, 1)
	obtain(t, i, c)
	w.plantJournal(old)
	before := w.store.Snapshot()
	deaths := 0
	for ; ; deaths++ {
		w.store.Restore(before)
		calls.Store(0)
		allowed.Store(int64(deaths))
		done, err := w.asks().Settle(t.Context(), c, true)
		allowed.Store(1 << 60)
		if done && err == nil {
			break
		}
		if err == nil {
			t.Errorf("dead before call %d, it tells no error", deaths+1)
		}
		w.pass(2 * time.Hour) // what was put off
		if done, err := w.asks().Settle(t.Context(), c, true); !done || err != nil {
			t.Errorf("after a death before call %d: %v, %v", deaths+1, done, err)
		}
		if left := w.gone(old); len(left) > 0 {
			t.Errorf("after a death before call %d: %q", deaths+1, left)
		}
		w.pass(-2 * time.Hour)
	}
	if deaths < 6 {
		t.Errorf("the end of a request takes %d calls to the store, so this tries too little", deaths)
	}
	if left := w.gone(old); len(left) > 0 {
		t.Errorf("%q", left)
	}
}

// A CA that does not answer is asked again later. What the store holds is destroyed all
// the same, and the revocation needs nothing of it.
func TestRevocationOutlivesTheStore(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	i, c := w.asks(), keepsKey()
	w.versions(i, c, 1)
	old := w.versionOf(1)
	w.compromised(i, c, 1)
	obtain(t, i, c)
	w.acme.Intercept(failing(acmeserver.KindRevoke))
	_, err := i.Settle(t.Context(), c, true)
	wantError(t, err, "certificate example", fmt.Sprintf("serial %x", old.Leaf().SerialNumber), "attempt 1", "issuer pebble")
	if _, err := w.store.Get(t.Context(), "example", 1); !errors.Is(err, anycert.ErrDeleted) {
		t.Errorf("version 1: %v", err)
	}
	asked := w.acme.Count()[acmeserver.KindRevoke]
	_, err = w.asks().Settle(t.Context(), c, true)
	if postponed := new(anycert.PostponedError); !errors.As(err, &postponed) || w.acme.Count()[acmeserver.KindRevoke] != asked {
		t.Errorf("asked again at once: %v", err)
	}
	w.acme.Intercept(nil)
	w.pass(2 * time.Minute)
	if done, err := w.asks().Settle(t.Context(), c, true); !done || err != nil || len(w.gone(old)) > 0 {
		t.Errorf("%v, %v, left %q", done, err, w.gone(old))
	}
}

// What is revoked already is no error, and neither is what has expired; that is not asked
// for at all.
func TestRevokeTwice(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	i, c := w.asks(), certificate("example", "example.com")
	entry := obtain(t, i, c)
	for range 2 {
		if err := i.Revoke(t.Context(), c, entry.Leaf, entry.Origin, "superseded"); err != nil {
			t.Fatal(err)
		}
	}
	if reason, revoked := w.acme.Revoked(entry.Leaf); !revoked || reason != 4 {
		t.Errorf("revoked: %v, for %d", revoked, reason)
	}
	asked := w.acme.Count()[acmeserver.KindRevoke]
	w.pass(91 * 24 * time.Hour)
	if err := i.Revoke(t.Context(), c, entry.Leaf, entry.Origin, "superseded"); err != nil || w.acme.Count()[acmeserver.KindRevoke] != asked {
		t.Errorf("what has expired: %v", err)
	}
	wantError(t, i.Revoke(t.Context(), c, entry.Leaf, entry.Origin, "boredom"), "boredom", "superseded")
}

// A CA that is not configured any more, and one that does not know what a person put
// there, are told with what to do.
func TestRevokeWhatIsNotOurs(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	i, c := w.asks(), certificate("example", "example.com")
	entry := obtain(t, i, c)
	gone := anycert.Origin{Issuer: "former", Directory: "https://ca.example.org/dir"}
	wantError(t, i.Revoke(t.Context(), c, entry.Leaf, gone, "compromised"), "former", "https://ca.example.org/dir", "declare it again")

	pair := testenv.IssueFrom(t, testenv.CA(t), certs.Options{Names: []string{"example.com"}})
	bundle, err := anycert.ParseBundle(pair.ChainPEM, pair.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	if entry, err = w.store.Put(t.Context(), "example", 1, bundle, anycert.Origin{}); err != nil {
		t.Fatal(err)
	}
	w.compromised(i, c, 2)
	obtain(t, i, c)
	done, err := i.Settle(t.Context(), c, true)
	if wantError(t, err, "put into the store by hand", "have it revoked by the CA that issued it"); !done {
		t.Error("what nobody here can do is tried for ever")
	}
	if _, err := w.store.Get(t.Context(), "example", 2); !errors.Is(err, anycert.ErrDeleted) {
		t.Errorf("its key is still in the store: %v", err)
	}
}

// A compromised key that comes back is replaced once more, before anything is ended.
func TestCompromisedKeyComesBack(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	i, c := w.asks(), keepsKey()
	w.versions(i, c, 1)
	old := w.versionOf(1)
	w.compromised(i, c, 1)
	obtain(t, i, c)
	if _, err := w.store.Put(t.Context(), "example", 2, old, anycert.Origin{Issuer: "pebble", Directory: w.acme.URL, By: "ops@laptop: rollback to 1"}); err != nil {
		t.Fatal(err)
	}
	done, err := i.Settle(t.Context(), c, true)
	if wantError(t, err, "version 3", "again"); done {
		t.Fatal("ended with the compromised key in force")
	}
	entry := obtain(t, i, c)
	if entry.Version != 4 {
		t.Fatalf("version %d", entry.Version)
	}
	if done, err := i.Settle(t.Context(), c, true); !done || err != nil || len(w.gone(old)) > 0 {
		t.Errorf("%v, %v, left %q", done, err, w.gone(old))
	}
	if _, err := w.store.Get(t.Context(), "example", 3); !errors.Is(err, anycert.ErrDeleted) {
		t.Errorf("version 3: %v", err)
	}
}

// A superseded certificate that comes back is replaced once more: what is in force is not
// revoked.
func TestSupersededCertificateComesBack(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	i, c := w.asks(), keepsKey()
	w.versions(i, c, 1)
	old := w.versionOf(1)
	if _, err := i.Request(t.Context(), c, anycert.Request{Time: w.now(), Version: 1, Superseded: true, Deadline: w.now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	obtain(t, i, c)
	if _, err := w.store.Put(t.Context(), "example", 2, old, anycert.Origin{Issuer: "pebble", Directory: w.acme.URL}); err != nil {
		t.Fatal(err)
	}
	done, err := i.Settle(t.Context(), c, true)
	wantError(t, err, "version 3", "is to be revoked")
	if _, revoked := w.acme.Revoked(old.Leaf()); revoked || done {
		t.Fatalf("the certificate in force is revoked: %v, ended: %v", revoked, done)
	}
	obtain(t, i, c)
	done, err = i.Settle(t.Context(), c, true)
	if _, revoked := w.acme.Revoked(old.Leaf()); !revoked || !done || err != nil {
		t.Errorf("revoked %v, %v, %v", revoked, done, err)
	}
}

// What is asked for twice is kept once; more than that is added; what a later anycert
// wrote is neither heeded nor overwritten.
func TestRequestsAreKept(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	i, c := w.asks(), certificate("example", "example.com")
	obtain(t, i, c)
	first, err := i.Request(t.Context(), c, anycert.Request{Time: w.now().UTC().Truncate(time.Second), By: "a@laptop", Version: 1, RotateKey: true})
	if err != nil {
		t.Fatal(err)
	}
	written := w.store.Counts().Records
	again, err := i.Request(t.Context(), c, anycert.Request{Time: first.Time, By: "b@laptop", Version: 1})
	if err != nil || again != first || w.store.Counts().Records != written {
		t.Errorf("asked for as much: %+v, %v", again, err)
	}
	later, err := i.Request(t.Context(), c, anycert.Request{Time: first.Time.Add(time.Hour), By: "b@laptop", Version: 1})
	if err != nil || later.Begun != first.Time || !later.Time.After(first.Time) || !later.RotateKey {
		t.Errorf("asked for again later: %+v, %v", later, err)
	}
	w.pass(2 * time.Hour)
	more := w.compromised(i, c, 1)
	if !more.RotateKey || !more.Compromised || more.Version != 1 {
		t.Errorf("asked for more: %+v", more)
	}
	other := w.asks()
	if err := other.Recall(t.Context(), nil, false); err != nil {
		t.Fatal(err)
	}
	if got := other.Requests()["example"]; !got.Compromised || !got.Deadline.Equal(more.Deadline) || got.By != more.By {
		t.Errorf("another process reads %+v", got)
	}

	newer := `{"schema":2,"future":true}`
	if _, err := w.store.Save(t.Context(), anycert.KindRequest, "shop", 0, anycert.NewSecret(newer)); err != nil {
		t.Fatal(err)
	}
	shop := certificate("shop", "shop.example.com")
	wantError(t, other.Recall(t.Context(), nil, false), "requests/shop", "newer anycert")
	_, err = other.Request(t.Context(), shop, anycert.Request{})
	wantError(t, err, "requests/shop", "newer anycert", "upgrade this one")
	_, err = other.Settle(t.Context(), shop, true)
	wantError(t, err, "newer anycert")
	if text, version, err := w.store.Load(t.Context(), anycert.KindRequest, "shop"); err != nil || version != 1 || text.Reveal() != newer {
		t.Errorf("it was overwritten: version %d, %v", version, err)
	}
	if _, kept := other.Requests()["example"]; !kept {
		t.Error("one that cannot be read hides the others")
	}
}

// Many requests are not read again at each recall; one that is gone is forgotten.
func TestManyRequestsAreListed(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	var loads atomic.Int64
	w.store.Fail = func(op storetest.Op, name string) error {
		if op == storetest.OpLoad && strings.HasPrefix(name, anycert.KindRequest) {
			loads.Add(1)
		}
		return nil
	}
	i := w.asks()
	for n := range 100 {
		c := certificate(fmt.Sprintf("c%02d", n), fmt.Sprintf("c%02d.example.com", n))
		if _, err := i.Request(t.Context(), c, anycert.Request{Time: w.now()}); err != nil {
			t.Fatal(err)
		}
	}
	other := w.asks()
	for range 3 {
		if err := other.Recall(t.Context(), nil, false); err != nil {
			t.Fatal(err)
		}
	}
	if n := loads.Load(); n != 200 { // by Request, and by the first Recall
		t.Errorf("%d requests were read", n)
	}
	if err := w.store.Delete(t.Context(), anycert.KindRequest, "c07"); err != nil {
		t.Fatal(err)
	}
	if err := other.Recall(t.Context(), nil, false); err != nil {
		t.Fatal(err)
	}
	if names := other.Requests(); len(names) != 99 {
		t.Errorf("%d requests", len(names))
	}
}

// What is superseded is revoked as that, and its key destroyed nowhere.
func TestSuperseded(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	i, c := w.asks(), keepsKey()
	w.versions(i, c, 1)
	old := w.versionOf(1)
	if _, err := i.Request(t.Context(), c, anycert.Request{Time: w.now(), Version: 1, Superseded: true, Deadline: w.now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	obtain(t, i, c)
	if done, err := i.Settle(t.Context(), c, true); !done || err != nil {
		t.Fatal(done, err)
	}
	if reason, revoked := w.acme.Revoked(old.Leaf()); !revoked || reason != 4 {
		t.Errorf("revoked: %v, for %d", revoked, reason)
	}
	if _, err := w.store.Get(t.Context(), "example", 1); err != nil {
		t.Errorf("version 1: %v", err)
	}
	if !slices.ContainsFunc(w.acme.Requests(), func(r acmeserver.Request) bool {
		return r.Kind == acmeserver.KindRevoke && r.Status == http.StatusOK
	}) {
		t.Error("the CA was not asked")
	}
}

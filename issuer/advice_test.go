package issuer_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/issuer"
	"github.com/anycert/anycert/store/local"
)

// wanted is a certificate and what the store has of it.
func (w *world) wanted(c anycert.Certificate) anycert.Wanted {
	w.t.Helper()
	entry, err := w.store.Stat(w.t.Context(), c.Name)
	if err != nil {
		w.t.Fatal(err)
	}
	return anycert.Wanted{Certificate: c, Entry: &entry}
}

// recall asks what is due to be asked, and tells how often the CA was.
func (w *world) recall(i *issuer.Issuer, wanted anycert.Wanted) (questions int) {
	w.t.Helper()
	before := w.acme.Count()[acmeserver.KindRenewalInfo]
	if err := i.Recall(w.t.Context(), []anycert.Wanted{wanted}, true); err != nil {
		w.t.Fatal(err)
	}
	return w.acme.Count()[acmeserver.KindRenewalInfo] - before
}

// advise lets the CA suggest a window for what the store has.
func (w *world) advise(wanted anycert.Wanted, start, end time.Time, explanation string) {
	w.t.Helper()
	if err := w.acme.SetRenewalInfo(wanted.Entry.Leaf, start, end, explanation); err != nil {
		w.t.Fatal(err)
	}
}

// long is an issuer of certificates of 90 days.
func long(c *issuer.Config) { c.Profile = "default" }

// TestAdviceIsFollowed: asked no oftener than the CA says, across restarts, and one
// instant is kept for as long as it lies in the window.
func TestAdviceIsFollowed(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	i, c := w.issuer(long), certificate("site", "example.com")
	obtain(t, i, c)
	site := w.wanted(c)
	from := site.Entry.Leaf.NotBefore
	w.advise(site, from.Add(40*day), from.Add(42*day), "https://ca.example.com/incident")

	if n := w.recall(i, site); n != 1 {
		t.Errorf("a new certificate was asked about %d times", n)
	}
	first := i.Renewal(c, site.Entry, w.now())
	if first.At.Before(from.Add(40*day)) || first.At.After(from.Add(42*day)) {
		t.Errorf("it is renewed at %s", first.At)
	}
	for _, word := range []string{"the CA advises", "https://ca.example.com/incident"} {
		if !strings.Contains(first.Reason, word) {
			t.Errorf("the reason does not say %q: %s", word, first.Reason)
		}
	}

	w.pass(6*time.Hour - time.Minute) // Pebble says six hours
	restarted := w.issuer(long)
	if n := w.recall(i, site) + w.recall(restarted, site); n != 0 {
		t.Errorf("it was asked about %d times before its time", n)
	}
	if got := restarted.Renewal(c, site.Entry, w.now()); got != first {
		t.Errorf("after a restart it is %+v, was %+v", got, first)
	}
	w.pass(2 * time.Minute)
	if n := w.recall(i, site) + w.recall(restarted, site); n != 1 {
		t.Errorf("two processes asked %d times", n)
	}

	w.advise(site, first.At.Add(-time.Hour), first.At.Add(day), "") // another window around the instant
	w.pass(7 * time.Hour)
	w.recall(i, site)
	if got := i.Renewal(c, site.Entry, w.now()); !got.At.Equal(first.At) || got.Reason == first.Reason {
		t.Errorf("in the new window it is renewed at %s, was %s: %s", got.At, first.At, got.Reason)
	}
	w.advise(site, from.Add(time.Hour), from.Add(2*time.Hour), "") // a revocation is near
	w.pass(7 * time.Hour)
	w.recall(i, site)
	got := i.Renewal(c, site.Entry, w.now())
	if got.At.Before(from.Add(time.Hour)) || got.At.After(from.Add(2*time.Hour)) || !got.Due(w.now()) || got.Urgency != anycert.NearExpiry {
		t.Errorf("it is renewed at %s, %s", got.At, got.Urgency)
	}
}

// TestAdviceThatCannotBeFollowed is told and ignored, and asked for again in its time.
func TestAdviceThatCannotBeFollowed(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	i, c := w.issuer(long), certificate("site", "example.com")
	obtain(t, i, c)
	site := w.wanted(c)
	w.advise(site, site.Entry.Leaf.NotBefore.Add(-day), site.Entry.Leaf.NotBefore, "")
	err := i.Recall(t.Context(), []anycert.Wanted{site}, true)
	wantError(t, err, "certificate site", "ignored", "begins before")
	if got := i.Renewal(c, site.Entry, w.now()); got.Reason != "a third of its lifetime is left" {
		t.Errorf("it is renewed because %s", got.Reason)
	}
	if n := w.recall(i, site); n != 0 {
		t.Errorf("it was asked again at once, %d times", n)
	}

	w.pass(7 * time.Hour)
	if err := w.acme.SetRenewalInfoText(site.Entry.Leaf, "<html>\n"); err != nil {
		t.Fatal(err)
	}
	for _, pause := range []time.Duration{time.Minute, 4 * time.Minute, 16 * time.Minute, 64 * time.Minute, 6 * time.Hour, 6 * time.Hour} {
		wantError(t, i.Recall(t.Context(), []anycert.Wanted{site}, true), "certificate site", "RFC 9773")
		w.pass(max(pause, 6*time.Hour) - time.Minute) // Pebble says six hours with nonsense, too
		if n := w.recall(i, site); n != 0 {
			t.Errorf("it was asked again before its time")
		}
		w.pass(2 * time.Minute)
	}
}

// TestManyProcessesAskOnce, also when all begin at the same moment.
func TestManyProcessesAskOnce(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	c := certificate("site", "example.com")
	obtain(t, w.issuer(long), c)
	site := w.wanted(c)
	before := w.acme.Count()[acmeserver.KindRenewalInfo]
	var group sync.WaitGroup
	instants := map[string]int{}
	for range 6 {
		i := w.issuer(long)
		group.Go(func() {
			if err := i.Recall(t.Context(), []anycert.Wanted{site}, true); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for range 3 {
		i := w.issuer(long)
		w.recall(i, site)
		instants[i.Renewal(c, site.Entry, w.now()).At.String()]++
	}
	if n := w.acme.Count()[acmeserver.KindRenewalInfo] - before; n != 1 {
		t.Errorf("the CA was asked %d times", n)
	}
	if len(instants) != 1 {
		t.Errorf("the instants are %v", instants)
	}
}

// TestCAThatGivesNoAnswer holds up no pass: the others wait with their questions.
func TestCAThatGivesNoAnswer(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	i := w.issuer(long)
	obtain(t, i, certificate("site", "example.com"))
	site := w.wanted(certificate("site", "example.com"))
	var wanted []anycert.Wanted
	for n := range 40 {
		one := site
		one.Certificate.Name = fmt.Sprintf("site-%d", n)
		wanted = append(wanted, one)
	}
	var questions atomic.Int32
	w.acme.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		if acmeserver.KindOf(r) != acmeserver.KindRenewalInfo {
			return false
		}
		questions.Add(1)
		return dead(rw, r)
	})
	if err := i.Recall(t.Context(), wanted, true); err == nil {
		t.Error("nobody is told")
	}
	if n := questions.Load(); n < 1 || n > 16 { // as many as are asked at once, and net/http's second try
		t.Errorf("it was asked %d times", n)
	}
	w.acme.Intercept(nil)
	w.pass(7 * time.Minute)
	if err := i.Recall(t.Context(), wanted, true); err != nil {
		t.Error(err)
	}
	if n := w.acme.Count()[acmeserver.KindRenewalInfo]; n != len(wanted) {
		t.Errorf("%d certificates were asked about, want %d", n, len(wanted))
	}
}

// TestReplaces: the CA is told what is replaced from the beginning of its window on, and
// makes the order without that when it was replaced already.
func TestReplaces(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	i, c := w.issuer(long), certificate("site", "example.com")
	obtain(t, i, c)
	site := w.wanted(c)
	from := site.Entry.Leaf.NotBefore
	w.advise(site, from, from.Add(2*time.Second), "")
	w.recall(i, site)
	before := w.store.Snapshot()
	w.pass(3 * time.Second)
	if entry := obtain(t, i, c); entry.Version != 2 {
		t.Fatalf("the version is %d", entry.Version)
	}
	orders := w.acme.Orders()
	if len(orders) != 2 || orders[0].Replaces != "" || orders[1].Replaces == "" {
		t.Errorf("the orders are %+v", orders)
	}

	w.store.Restore(before) // a backup of the store: the CA knows of a replacement
	if entry := obtain(t, w.issuer(long), c); entry.Version != 2 {
		t.Errorf("the version is %d", entry.Version)
	}
	if orders = w.acme.Orders(); len(orders) != 3 || orders[2].Replaces != "" {
		t.Errorf("the orders are %+v", orders)
	}
	w.noJournal()
}

// TestReplacesThatTheCACannotFollow: a CA that fails at what is to be replaced is asked
// without it in the same attempt.
func TestReplacesThatTheCACannotFollow(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	i, c := w.issuer(long), certificate("site", "example.com")
	obtain(t, i, c)
	site := w.wanted(c)
	from := site.Entry.Leaf.NotBefore
	w.advise(site, from, from.Add(2*time.Second), "")
	w.recall(i, site)
	w.pass(3 * time.Second)
	w.acme.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		if replacedBy(r) == "" {
			return false
		}
		acmeserver.Fail(rw, http.StatusInternalServerError, "serverInternal", "")
		return true
	})
	if entry := obtain(t, i, c); entry.Version != 2 {
		t.Errorf("the version is %d", entry.Version)
	}
	if orders := w.acme.Orders(); len(orders) != 2 || orders[1].Replaces != "" {
		t.Errorf("the orders are %+v", orders)
	}
}

// TestNoReplacesForAnotherCA: what another issuer ordered is not this one's to
// replace.
func TestNoReplacesForAnotherCA(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	i, c := w.issuer(long), certificate("site", "example.com")
	obtain(t, i, c)
	site := w.wanted(c)
	from := site.Entry.Leaf.NotBefore
	w.advise(site, from, from.Add(2*time.Second), "")
	w.recall(i, site)
	w.pass(time.Minute)

	config := w.config()
	config.Name, config.Profile = "renamed", "default"
	other := w.open(issuer.Options{Issuers: []issuer.Config{config}})
	c.Issuer = "renamed"
	obtain(t, other, c)
	if orders := w.acme.Orders(); len(orders) != 2 || orders[1].Replaces != "" {
		t.Errorf("the orders are %+v", orders)
	}
}

// TestKilledWhileReplacing: the order that is lost with the process is, for the CA, the
// replacement. Boulder says so as soon as it has the order, Pebble when it is finalized.
func TestKilledWhileReplacing(t *testing.T) {
	for _, point := range []issuer.Point{issuer.LimitsTaken, issuer.OrderBefore, issuer.OrderCreated, issuer.OrderWritten, issuer.Accepted, issuer.Finalized, issuer.Stored} {
		t.Run(string(point), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, acmeserver.Options{})
			task := w.task(certificate("site", "example.com"))
			file, err := local.Config{Path: task.Local}.Open()
			if err != nil {
				t.Fatal(err)
			}
			config := w.config()
			i := w.open(issuer.Options{Issuers: []issuer.Config{config}, Store: file, Records: file})
			entry := obtain(t, i, task.Certificate)
			from := entry.Leaf.NotBefore
			site := anycert.Wanted{Certificate: task.Certificate, Entry: &entry}
			w.advise(site, from, from.Add(time.Second), "")
			w.recall(i, site)
			for !i.Renewal(task.Certificate, &entry, time.Now()).Due(time.Now()) {
				time.Sleep(20 * time.Millisecond)
			}
			w.acme.Intercept(w.onceReplaced())

			task.DieAt = point
			if got := code(t, task.start(t)); got != -1 {
				t.Fatalf("the process ended with %d, it should have died at %s", got, point)
			}
			task.DieAt = ""
			if got := code(t, task.start(t)); got != 0 {
				t.Fatalf("the next process ended with %d", got)
			}
			if entry, err := file.Stat(t.Context(), "site"); err != nil || entry.Version != 2 {
				t.Errorf("the store has version %d: %v", entry.Version, err)
			}
			if issued := w.acme.CertificatesFor("example.com"); len(issued) != 2 {
				t.Errorf("the CA issued %d certificates", len(issued))
			}
			most := map[issuer.Point]int{issuer.OrderCreated: 3}[point]
			if orders := w.acme.Orders(); len(orders) > max(2, most) {
				t.Errorf("%d orders were made", len(orders))
			}
			if names, err := file.Keys(t.Context(), anycert.KindOrder); err != nil || len(names) > 0 {
				t.Errorf("journals are left: %v, %v", names, err)
			}
		})
	}
}

// onceReplaced lets each certificate be replaced by one order that was made, as Boulder
// does.
func (w *world) onceReplaced() acmeserver.Interceptor {
	return func(rw http.ResponseWriter, r *http.Request) bool {
		replaces := replacedBy(r)
		if replaces == "" {
			return false
		}
		for _, order := range w.acme.Orders() {
			if order.Replaces == replaces {
				acmeserver.Fail(rw, http.StatusConflict, "alreadyReplaced", "")
				return true
			}
		}
		return false
	}
}

// replacedBy is what a request for an order is to replace.
func replacedBy(r *http.Request) string {
	if acmeserver.KindOf(r) != acmeserver.KindNewOrder {
		return ""
	}
	body, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil {
		return ""
	}
	var signed struct{ Payload string }
	var order struct{ Replaces string }
	if json.Unmarshal(body, &signed) != nil {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(signed.Payload)
	if err != nil || json.Unmarshal(payload, &order) != nil {
		return ""
	}
	return order.Replaces
}

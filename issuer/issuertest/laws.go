package issuertest

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/issuer"
)

// A day of passes, with restarts, asks as often as Retry-After allows, and twice a day
// at least (RFC 9773, section 4.3).
func adviceIsAskedNoOftener(t *testing.T, w *world) {
	c := Certificate("site")
	i, other := w.start(t), w.start(t)
	w.obtain(t, i, c)
	before := w.Asked()
	for n := range 24 * 12 {
		w.recall(t, i, c)
		w.recall(t, other, c)
		if n%7 == 0 {
			i = w.start(t)
		}
		w.pass(5 * time.Minute)
	}
	most := int(day/RetryAfter) + 1
	if asked := w.Asked() - before; asked > most || asked < 2 {
		t.Errorf("a day has %d questions, want 2 to %d", asked, most)
	}
}

// The instant is chosen once for all processes; a window that moves away from it has
// another one, and one that only grows keeps it (RFC 9773, section 4.2).
func oneInstantIsKept(t *testing.T, w *world) {
	c := Certificate("site")
	leaf := w.obtain(t, w.start(t), c).Leaf
	start := w.now().Add(20 * day).Truncate(time.Second)
	w.SetWindow(t, leaf, start, start.Add(10*day))
	first := w.renewal(t, w.start(t), c).At
	if first.Before(start) || !first.Before(start.Add(10*day)) {
		t.Errorf("the instant is %s, and not within the window from %s", first, start)
	}
	for range 5 {
		if again := w.renewal(t, w.start(t), c).At; !again.Equal(first) {
			t.Errorf("the instant is %s, and was %s", again, first)
		}
	}
	w.pass(RetryAfter + time.Hour)
	w.SetWindow(t, leaf, start.Add(-day), start.Add(11*day))
	if again := w.renewal(t, w.start(t), c).At; !again.Equal(first) {
		t.Errorf("in a larger window the instant is %s, and was %s", again, first)
	}
	w.pass(RetryAfter + time.Hour)
	start = w.now().Add(day)
	w.SetWindow(t, leaf, start, start.Add(day))
	if again := w.renewal(t, w.start(t), c).At; again.Before(start.Add(-time.Second)) || again.After(start.Add(day)) {
		t.Errorf("in another window, from %s, the instant is %s", start, again)
	}
}

// A renewal in the window tells which certificate it replaces, and is not counted.
func renewalsReplace(t *testing.T, w *world) {
	c := Certificate("site")
	i := w.start(t)
	for n := range 8 { // more than the exact set of names has
		entry := w.obtain(t, i, c)
		if entry.Version != n+1 {
			t.Fatalf("the version is %d, want %d", entry.Version, n+1)
		}
		w.pass(RetryAfter)
		w.SetWindow(t, entry.Leaf, w.now().Add(-time.Hour), w.now().Add(time.Hour))
		renewal := w.renewal(t, i, c)
		if renewal.At.After(w.now().Add(time.Hour)) {
			t.Fatalf("it is renewed at %s: %s", renewal.At, renewal.Reason)
		}
		w.pass(max(0, renewal.At.Sub(w.now()))) // any instant of the window may have been chosen
	}
	for n, o := range w.Orders() {
		if want := n > 0; (o.Replaces != "") != want {
			t.Errorf("order %d replaces %q", n, o.Replaces)
		}
	}
}

// The CA has forgotten nothing, the store has: it was restored from a backup.
func alreadyReplaced(t *testing.T, w *world) {
	c := Certificate("site")
	entry := w.obtain(t, w.start(t), c)
	w.SetWindow(t, entry.Leaf, w.now().Add(-time.Second), w.now().Add(time.Hour))
	w.pass(time.Hour - time.Second)
	w.recall(t, w.start(t), c)
	backup := w.store.Snapshot()
	i := w.start(t)
	w.recall(t, i, c)
	w.obtain(t, i, c)
	w.store.Restore(backup)
	i = w.start(t)
	w.recall(t, i, c)
	if again := w.obtain(t, i, c); again.Version != 2 {
		t.Errorf("the version is %d", again.Version)
	}
	orders := w.Orders()
	if last := orders[len(orders)-1]; len(orders) != 3 || last.Replaces != "" {
		t.Errorf("%d orders were made, the last one replaces %q", len(orders), last.Replaces)
	}
}

// Two processes that are restarted all the time take no more than there is, and all of
// it.
func limitsAreShared(t *testing.T, w *world) {
	begun := w.now()
	two := []*issuer.Issuer{w.start(t), w.start(t)}
	obtained := map[string]bool{}
	round := func() {
		for n := range 14 {
			c := Certificate(fmt.Sprint("site", n))
			_, err := two[n%2].Obtain(t.Context(), c)
			switch {
			case err == nil:
				obtained[c.Name] = true
			case !postponed(err):
				t.Fatal(err)
			}
		}
		two[0], two[1] = two[1], w.start(t)
	}
	round()
	round()
	const most, share = 10, 1 // of which is kept for what has expired
	if len(obtained) != most-share {
		t.Errorf("%d certificates were obtained at once, want %d", len(obtained), most-share)
	}
	c := Certificate("site13")
	w.recall(t, two[0], c)
	slots := two[0].Plan(w.wanted(t, c), w.now())
	if len(slots) != 1 || slots[0].At.Sub(begun) > 7*day/most+time.Minute || slots[0].Reason == "" {
		t.Fatalf("the next one is planned as %+v", slots)
	}
	for n := 1; n <= 3; n++ {
		w.pass(slots[0].At.Sub(w.now()) + time.Second)
		round()
		if want := most - share + n; len(obtained) != want {
			t.Errorf("after %d times the wait for one there are %d, want %d", n, len(obtained), want)
		}
		w.pass(7*day/most - w.now().Sub(slots[0].At))
		slots[0].At = w.now()
	}
}

// theLastIsForTheExpired: what has expired goes before what is new, and has the share
// that is kept for it.
func theLastIsForTheExpired(t *testing.T, w *world) {
	old := Certificate("old")
	other := old
	other.Domains = []string{"old." + Zone, "older." + Zone}
	i := w.start(t)
	w.obtain(t, i, old)
	w.pass(Lifetime + day)
	w.recall(t, i, old)
	for n := range 20 {
		if _, err := i.Obtain(t.Context(), Certificate(fmt.Sprint("site", n))); postponed(err) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	newest := Certificate("newest")
	w.recall(t, i, newest, other)
	slots := i.Plan(w.wanted(t, newest, other), w.now())
	if len(slots) != 2 || slots[0].Certificate != "old" || slots[0].Urgency != anycert.Expired || slots[0].At.After(w.now()) || !slots[1].At.After(w.now()) {
		t.Fatalf("the plan is %+v", slots)
	}
	if _, err := i.Obtain(t.Context(), newest); !postponed(err) {
		t.Errorf("the new one is not postponed: %v", err)
	}
	w.obtain(t, i, other)
}

// After 429 nothing is ordered, by any process, until the time that the CA named.
func retryAfterIsObeyed(t *testing.T, w *world) {
	c := Certificate("site")
	asked := 0
	var mu sync.Mutex
	w.Intercept(failing(acmeserver.KindNewOrder, http.StatusTooManyRequests, "rateLimited", "7200", func() {
		mu.Lock()
		defer mu.Unlock()
		asked++
	}))
	if _, err := w.start(t).Obtain(t.Context(), c); err == nil {
		t.Fatal("no error")
	}
	w.Intercept(nil)
	orders, _ := w.count()
	for range 11 {
		w.pass(10 * time.Minute)
		if _, err := w.start(t).Obtain(t.Context(), c); !postponed(err) {
			t.Fatalf("it is tried again too early: %v", err)
		}
	}
	if again, _ := w.count(); asked != 1 || again != orders {
		t.Errorf("%d requests were made, want 1", asked+again-orders)
	}
	w.pass(40 * time.Minute)
	w.obtain(t, w.start(t), c)
}

func oneOrder(t *testing.T, w *world) {
	c := Certificate("site")
	three := []*issuer.Issuer{w.start(t), w.start(t), w.start(t)}
	var group sync.WaitGroup
	var obtained atomic.Int32
	for n := range 9 {
		group.Go(func() {
			_, err := three[n%3].Obtain(t.Context(), c)
			if err == nil {
				obtained.Add(1)
			} else if !errors.Is(err, anycert.ErrClaimed) {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if orders, issued := w.count(); orders != 1 || issued != 1 || obtained.Load() == 0 {
		t.Errorf("%d orders were made, %d certificates issued", orders, issued)
	}
}

// A process that dies at any point loses no key, and costs no certificate and at most
// one order.
func keysSurviveCrashes(t *testing.T, w *world) {
	died := 0
	for n, point := range issuer.Points() {
		c := Certificate(fmt.Sprint("site", n))
		c.Domains = []string{fmt.Sprintf("www.site%d.%s", n, Zone)}
		if n >= 5 {
			w.pass(18 * time.Hour) // until the limit has one more
		}
		orders, issued := w.count()
		if !w.dies(t, c, point) {
			continue
		}
		died++
		w.pass(2 * time.Minute) // its claim ends
		i := w.start(t)
		w.recall(t, i, c)
		w.obtain(t, i, c)
		again, certificates := w.count()
		if certificates != issued+1 || again > orders+2 {
			t.Errorf("at %s: %d orders and %d certificates were made", point, again-orders, certificates-issued)
		}
		if keys, err := w.store.Keys(t.Context(), anycert.KindOrder); err != nil || len(keys) > 0 {
			t.Errorf("at %s: journals are left: %v, %v", point, keys, err)
		}
		entry := w.wanted(t, c)[0].Entry
		if _, err := w.store.Get(t.Context(), c.Name, entry.Version); err != nil { // the key belongs to the certificate
			t.Errorf("at %s: %v", point, err)
		}
	}
	if died < 10 {
		t.Errorf("it died at %d points only", died)
	}
}

// A name that cannot be validated is tried a few times, and then once a day, whatever
// is restarted.
func failuresAreBounded(t *testing.T, w *world) {
	c := Certificate("site")
	w.Lose(true)
	failed := 0
	for n := range 2 * 24 * 12 {
		i := w.start(t)
		w.recall(t, i, c)
		if _, err := i.Obtain(t.Context(), c); err != nil && !postponed(err) {
			failed++
		} else if err == nil {
			t.Fatal("it was obtained")
		}
		if n == 1 && failed == 0 {
			t.Fatal("nothing failed")
		}
		w.pass(5 * time.Minute)
	}
	if orders, _ := w.count(); orders > 6 {
		t.Errorf("%d orders were made in two days, want at most 6", orders)
	}
	w.Lose(false)
	w.pass(day + 4*time.Hour)
	w.obtain(t, w.start(t), c)
}

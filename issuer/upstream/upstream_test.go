package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/issuer/upstream"
	"github.com/anycert/anycert/store/storetest"
)

const day = 24 * time.Hour

// cluster is a source in memory.
type cluster struct {
	mu     sync.Mutex
	bundle *anycert.Bundle
	err    error
	asked  int
}

func (c *cluster) Place(certificate string) (anycert.Target, error) {
	return anycert.Target{Key: "k8s://old/web/" + certificate, Label: "Secret web/" + certificate + " of cluster old", Certificate: certificate}, nil
}

func (c *cluster) Fetch(context.Context, string) (*anycert.Bundle, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	return c.bundle, c.err
}

func (c *cluster) holds(bundle *anycert.Bundle) { c.bundle, c.err = bundle, nil }

// world is an issuer with a clock of its own.
type world struct {
	t           *testing.T
	ca          *certs.CA
	source      *cluster
	store       *storetest.Memory
	issuer      *upstream.Issuer
	certificate anycert.Certificate
	now         time.Time
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, ca: testenv.CA(t), source: new(cluster), store: new(storetest.Memory), now: time.Now(),
		certificate: anycert.Certificate{Name: "example", Domains: []string{"example.com", "*.example.com"}, Issuer: "old-cluster"}}
	w.issuer = w.another()
	return w
}

// another is the issuer of another hub on the same store.
func (w *world) another() *upstream.Issuer {
	return upstream.New(upstream.Options{Sources: map[string]anycert.Source{"old-cluster": w.source}, Store: w.store,
		Now: func() time.Time { return w.now }})
}

// bundle is a certificate of 90 days that began so long before the world.
func (w *world) bundle(age time.Duration, names ...string) *anycert.Bundle {
	w.t.Helper()
	return w.lasting(90*day, age, names...)
}

// lasting is bundle with another lifetime.
func (w *world) lasting(lifetime, age time.Duration, names ...string) *anycert.Bundle {
	w.t.Helper()
	if names == nil {
		names = w.certificate.Domains
	}
	begin := time.Now().Add(-age)
	pair := testenv.IssueFrom(w.t, w.ca, certs.Options{Names: names, NotBefore: begin, NotAfter: begin.Add(lifetime), Intermediate: true})
	bundle, err := anycert.ParseBundle(pair.ChainPEM, pair.KeyPEM)
	if err != nil {
		w.t.Fatal(err)
	}
	return bundle
}

func (w *world) put(bundle *anycert.Bundle) {
	w.t.Helper()
	expected := 0
	if entry := w.entry(); entry != nil {
		expected = entry.Version
	}
	if _, err := w.store.Put(w.t.Context(), "example", expected, bundle, anycert.Origin{}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) entry() *anycert.Entry {
	w.t.Helper()
	entry, err := w.store.Stat(w.t.Context(), "example")
	if errors.Is(err, anycert.ErrNotFound) {
		return nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return &entry
}

func (w *world) obtain() error {
	_, err := w.issuer.Obtain(w.t.Context(), w.certificate)
	return err
}

func (w *world) renewal() anycert.Renewal {
	return w.issuer.Renewal(w.certificate, w.entry(), w.now)
}

// What is there and what is in the store decide together.
func TestObtain(t *testing.T) {
	for name, test := range map[string]struct {
		stored, there time.Duration // how long ago its validity began; 0: nothing
		names         []string
		changed       bool
		want          error // nil when it was written
		words         string
	}{
		"the first":                   {there: 10 * day, changed: true},
		"a newer one":                 {stored: 40 * day, there: 10 * day, changed: true},
		"an older one":                {stored: 10 * day, there: 40 * day, want: anycert.ErrUnchanged},
		"one in place of what ended":  {stored: 91 * day, there: 10 * day, changed: true},
		"an older one that ended":     {stored: 40 * day, there: 91 * day, want: anycert.ErrUnchanged},
		"the first, without a name":   {there: 10 * day, names: []string{"example.com"}, want: anycert.ErrUnfit, words: "it does not cover *.example.com"},
		"a newer one, without a name": {stored: 40 * day, there: 10 * day, names: []string{"example.com"}, want: anycert.ErrUnfit, words: "Secret web/example of cluster old has another certificate, which is not taken"},
		"the first, which has ended":  {there: 91 * day, want: anycert.ErrUnfit, words: "it expired at"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if test.stored > 0 {
				w.put(w.bundle(test.stored))
			}
			before := w.entry()
			w.source.holds(w.bundle(test.there, test.names...))
			err := w.obtain()
			if !errors.Is(err, test.want) {
				t.Fatalf("%v, want %v", err, test.want)
			}
			if err != nil && !strings.Contains(err.Error(), test.words) {
				t.Errorf("%q is missing in: %v", test.words, err)
			}
			after := w.entry()
			if !test.changed {
				if diff := cmp.Diff(version(before), version(after)); diff != "" {
					t.Error("the store was changed:", diff)
				}
				return
			}
			if after.Digest != w.source.bundle.Digest() || after.Origin != (anycert.Origin{Issuer: "old-cluster"}) {
				t.Errorf("the store has %s by %+v, want %s by old-cluster", after.Digest, after.Origin, w.source.bundle.Digest())
			}
		})
	}
}

func version(entry *anycert.Entry) int {
	if entry == nil {
		return 0
	}
	return entry.Version
}

// A second look writes nothing, neither a certificate nor a record.
func TestSecondLookWritesNothing(t *testing.T) {
	w := newWorld(t)
	w.source.holds(w.bundle(10 * day))
	if err := w.obtain(); err != nil {
		t.Fatal(err)
	}
	before := w.store.Counts()
	for range 3 {
		if err := w.obtain(); !errors.Is(err, anycert.ErrUnchanged) {
			t.Fatal(err)
		}
	}
	after := w.store.Counts()
	if after.Writes != before.Writes || after.Records != 0 || after.KeysRead != 0 {
		t.Errorf("%+v after %+v: a look that finds nothing newer reads no key and writes nothing", after, before)
	}
}

// Two hubs that find the same at once write it once.
func TestTwoHubs(t *testing.T) {
	w := newWorld(t)
	w.put(w.bundle(40 * day))
	w.source.holds(w.bundle(10 * day))
	var wait sync.WaitGroup
	errs := make([]error, 8)
	for n := range errs {
		hub := w.another()
		wait.Go(func() { _, errs[n] = hub.Obtain(t.Context(), w.certificate) })
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil && !errors.Is(err, anycert.ErrUnchanged) {
			t.Error(err)
		}
	}
	if got := w.entry().Version; got != 2 {
		t.Errorf("version %d is current, want 2: they wrote more than once", got)
	}
}

// Somebody else's write between the look and ours is looked at, not overwritten.
func TestWriteMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.put(w.bundle(40 * day))
	w.source.holds(w.bundle(10 * day))
	bought := w.bundle(time.Hour)
	meanwhile := sync.OnceFunc(func() { w.put(bought) })
	store := &storeThat{Memory: w.store, before: meanwhile}
	issuer := upstream.New(upstream.Options{Sources: map[string]anycert.Source{"old-cluster": w.source}, Store: store})
	if _, err := issuer.Obtain(t.Context(), w.certificate); !errors.Is(err, anycert.ErrUnchanged) {
		t.Errorf("%v, want ErrUnchanged: what was put there meanwhile is newer", err)
	}
	if entry := w.entry(); entry.Digest != bought.Digest() {
		t.Error("what somebody else had written is gone")
	}
}

// storeThat does something before each Put.
type storeThat struct {
	*storetest.Memory
	before func()
}

func (s *storeThat) Put(ctx context.Context, name string, expected int, bundle *anycert.Bundle, origin anycert.Origin) (anycert.Entry, error) {
	s.before()
	return s.Memory.Put(ctx, name, expected, bundle, origin)
}

func TestSourceOrStoreFails(t *testing.T) {
	w := newWorld(t)
	w.put(w.bundle(40 * day))
	w.source.err = fmt.Errorf("reading Secret web/example: %w", anycert.ErrForbidden)
	if err := w.obtain(); !errors.Is(err, anycert.ErrForbidden) || !strings.Contains(err.Error(), "obtaining certificate example from issuer old-cluster: ") {
		t.Error(err)
	}
	w.source.holds(w.bundle(10 * day))
	w.store.Fail = func(op storetest.Op, _ string) error {
		if op == storetest.OpPut {
			return fmt.Errorf("sealed: %w", anycert.ErrUnavailable)
		}
		return nil
	}
	if err := w.obtain(); !errors.Is(err, anycert.ErrUnavailable) || !strings.Contains(err.Error(), "storing the certificate") {
		t.Error(err)
	}
	if w.renewal().At.After(w.now) {
		t.Error("what could not be stored is not tried again in the next pass")
	}
}

// A dead cluster is asked once a pass, however many certificates come from it.
func TestOutageIsShared(t *testing.T) {
	w := newWorld(t)
	w.source.err = fmt.Errorf("reading Secret web/example: %w", anycert.ErrUnavailable)
	for range 5 {
		if err := w.obtain(); !errors.Is(err, anycert.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	if w.source.asked != 1 {
		t.Errorf("asked %d times, want once", w.source.asked)
	}
	w.now = w.now.Add(5 * time.Second)
	w.source.holds(w.bundle(10 * day))
	if err := w.obtain(); err != nil {
		t.Errorf("in the next pass: %v", err)
	}
}

// Renewal asks nobody, and says when and where it is looked at next.
func TestRenewal(t *testing.T) {
	w := newWorld(t)
	const calm = "Secret web/example of cluster old is looked at in each pass"
	if got := w.renewal(); !got.Due(w.now) || got.Reason != calm {
		t.Errorf("nothing was looked at yet: %+v", got)
	}
	w.source.holds(w.bundle(10 * day))
	if err := w.obtain(); err != nil {
		t.Fatal(err)
	}
	if got := w.renewal(); got.Due(w.now) || got.Reason != calm {
		t.Errorf("right after a look: %+v", got)
	}
	w.now = w.now.Add(5 * time.Second) // the shortest time between two passes
	if got := w.renewal(); !got.Due(w.now) || w.now.Sub(got.At) > time.Second {
		t.Errorf("in the next pass: %+v", got)
	}
	w.now = w.now.Add(day) // a slow schedule
	if got := w.renewal(); !got.Due(w.now) || w.now.Sub(got.At) > time.Second {
		t.Errorf("in a pass a day later: %+v: it counts as overdue", got)
	}
	if w.source.asked != 1 {
		t.Errorf("the source was asked %d times", w.source.asked)
	}
	suspended, unknown := w.certificate, w.certificate
	suspended.Suspended, unknown.Issuer = true, "new-cluster"
	for _, certificate := range []anycert.Certificate{suspended, unknown} {
		if got := w.issuer.Renewal(certificate, nil, w.now); !got.At.IsZero() {
			t.Errorf("%+v: %+v", certificate, got)
		}
	}
}

// Whoever should have renewed and did not is told of while there is time.
func TestLate(t *testing.T) {
	w := newWorld(t)
	w.source.holds(w.bundle(80 * day))
	if err := w.obtain(); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(5 * time.Second)
	if err := w.obtain(); !errors.Is(err, anycert.ErrUnchanged) {
		t.Fatalf("10 days before its end: %v", err)
	}
	w.now = w.now.Add(2 * day)
	err := w.obtain()
	if err == nil || errors.Is(err, anycert.ErrUnchanged) || !strings.Contains(err.Error(), "Secret web/example of cluster old has nothing newer") {
		t.Errorf("8 days before its end: %v", err)
	}
	got := w.renewal()
	if end := w.entry().Leaf.NotAfter; w.now.Sub(got.At) < end.Sub(got.At)/4 {
		t.Errorf("%+v: this does not count as overdue", got)
	}
	w.source.holds(w.bundle(10 * day))
	if err := w.obtain(); err != nil {
		t.Errorf("a newer one at last: %v", err)
	}
}

// A CA may date its certificates back, and so may another one that cert-manager went
// over to: what was issued last need not begin last. It is taken before the other ends.
func TestRenewedWithAnEarlierBegin(t *testing.T) {
	w := newWorld(t)
	w.put(w.bundle(75 * day))
	w.source.holds(w.lasting(365*day, 80*day))
	if err := w.obtain(); !errors.Is(err, anycert.ErrUnchanged) {
		t.Errorf("while the one in the store is not late: %v", err)
	}
	w.now = w.now.Add(7 * day)
	if err := w.obtain(); err != nil {
		t.Errorf("8 days before the end of the one in the store: %v", err)
	}
}

// A source that flaps, such as two tools that fight over one Secret, does not make the
// store flap: whatever the certificates are, the last of some changes is the end.
func TestFlappingSource(t *testing.T) {
	w := newWorld(t)
	var bundles []*anycert.Bundle
	for _, of := range []struct{ lifetime, age time.Duration }{
		{90 * day, 10 * day}, {90 * day, 82 * day}, {90 * day, 85 * day}, {90 * day, 91 * day}, {90 * day, -day},
		{365 * day, 90 * day}, {365 * day, 350 * day}, {6 * day, day}, {6 * day, 5*day + 12*time.Hour}, {time.Hour, 58 * time.Minute},
	} {
		bundles = append(bundles, w.lasting(of.lifetime, of.age))
	}
	for _, a := range bundles {
		for _, b := range bundles {
			for _, c := range bundles {
				w.store.Restore(storetest.State{})
				for range 3 {
					for _, bundle := range []*anycert.Bundle{a, b, c} {
						w.source.holds(bundle)
						_ = w.obtain()
					}
				}
				if got := version(w.entry()); got > 3 {
					t.Fatalf("three certificates made %d versions: %v, %v, %v", got, a.Leaf().NotAfter, b.Leaf().NotAfter, c.Leaf().NotAfter)
				}
			}
		}
	}
}

// A hub whose clock is slow does not undo what it takes to be of the future.
func TestSlowClock(t *testing.T) {
	w := newWorld(t)
	w.put(w.bundle(time.Minute))
	w.source.holds(w.bundle(40 * day))
	w.now = w.now.Add(-5 * time.Minute)
	if err := w.obtain(); !errors.Is(err, anycert.ErrUnchanged) {
		t.Errorf("%v, want ErrUnchanged: it was put there a minute ago", err)
	}
}

// The first that is found may be late itself: it is taken, and looked for again.
func TestLateFromTheBeginning(t *testing.T) {
	w := newWorld(t)
	w.source.holds(w.bundle(85 * day))
	if err := w.obtain(); err != nil {
		t.Fatal(err)
	}
	if got := w.renewal(); got.Due(w.now) {
		t.Errorf("right after it was written: %+v: it counts as obtained in vain", got)
	}
	w.now = w.now.Add(5 * time.Second)
	if got := w.renewal(); !got.Due(w.now) {
		t.Errorf("in the next pass: %+v", got)
	}
}

func TestProbe(t *testing.T) {
	w := newWorld(t)
	certificates := []anycert.Certificate{w.certificate, {Name: "other", Domains: []string{"example.org"}, Issuer: "letsencrypt"}}
	w.source.holds(w.bundle(10 * day))
	if err := w.issuer.Probe(t.Context(), "old-cluster", certificates); err != nil {
		t.Error(err)
	}
	w.source.holds(w.bundle(10*day, "example.com"))
	if err := w.issuer.Probe(t.Context(), "old-cluster", certificates); !errors.Is(err, anycert.ErrUnfit) {
		t.Error(err)
	}
	if w.entry() != nil {
		t.Error("a probe wrote into the store")
	}
}

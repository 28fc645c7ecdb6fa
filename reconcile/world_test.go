package reconcile

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/sinks/sinktest"
	"github.com/anycert/anycert/store/storetest"
)

// world is a hub over a store and sinks in memory: everything real but the far ends.
type world struct {
	t     *testing.T
	ca    *certs.CA
	store *storetest.Memory
	sides map[string]*sinktest.Memory
	log   *syncBuffer
	hub   *Hub
}

var example = anycert.Certificate{Name: "example", Domains: []string{"example.com", "*.example.com"}, Issuer: "test"}

// newWorld has one certificate, in version 1, and a sink of two places for each name.
func newWorld(t *testing.T, sinks ...string) *world {
	t.Helper()
	w := bareWorld(t, []anycert.Certificate{example}, nil, sinks...)
	w.put("example", certs.Options{})
	return w
}

func bareWorld(t *testing.T, certificates []anycert.Certificate, fault sinktest.Fault, sinks ...string) *world {
	t.Helper()
	ca, err := certs.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, ca: ca, store: &storetest.Memory{}, sides: make(map[string]*sinktest.Memory), log: new(syncBuffer)}
	parts := Parts{Owner: "prod", Store: w.store, Certificates: certificates}
	for _, name := range sinks {
		w.sides[name] = sinktest.NewMemory(forSink(name, fault), "web", "api")
		parts.Agents = append(parts.Agents, Agent{Name: name, Type: "memory", Sink: w.sides[name].Sink("prod"), Certificates: certificates})
	}
	w.hub = New(parts, slog.New(slog.NewTextHandler(w.log, nil)))
	return w
}

// hubOf is a hub that is asked for nothing but its sinks.
func hubOf(agents ...Agent) *Hub { return New(Parts{Agents: agents}, slog.New(slog.DiscardHandler)) }

// forSink tells a fault which sink asks, by the target's key.
func forSink(name string, fault sinktest.Fault) sinktest.Fault {
	if fault == nil {
		return nil
	}
	return func(ctx context.Context, op string, target anycert.Target) error {
		target.Key = name
		return fault(ctx, op, target)
	}
}

func (w *world) bundle(options certs.Options) *anycert.Bundle {
	w.t.Helper()
	if options.Names == nil {
		options.Names = example.Domains
	}
	pair, err := w.ca.Issue(options)
	if err != nil {
		w.t.Fatal(err)
	}
	bundle, err := anycert.ParseBundle(pair.ChainPEM, pair.KeyPEM)
	if err != nil {
		w.t.Fatal(err)
	}
	return bundle
}

// put writes the next version of a certificate to the store, later by the clock.
func (w *world) put(name string, options certs.Options) anycert.Entry {
	w.t.Helper()
	if w.store.Now == nil {
		at := time.Now().Add(-time.Hour)
		w.store.Now = func() time.Time { at = at.Add(time.Minute); return at }
	}
	expected := 0
	if entry, err := w.store.Stat(w.t.Context(), name); err == nil {
		expected = entry.Version
	}
	entry, err := w.store.Put(w.t.Context(), name, expected, w.bundle(options), anycert.Origin{})
	if err != nil {
		w.t.Fatal(err)
	}
	return entry
}

func (w *world) sync() *Report  { return w.hub.Sync(w.t.Context(), SyncOptions{}) }
func (w *world) audit() *Report { return w.hub.Audit(w.t.Context(), Only{}) }

// serves tells whether the place holds the version that entry speaks of.
func (w *world) serves(sink, label string, entry anycert.Entry) bool {
	w.t.Helper()
	object, ok := w.sides[sink].Get(label)
	if !ok {
		return false
	}
	chain, err := anycert.ParseChain(object.ChainPEM)
	return err == nil && anycert.DigestOf(chain) == entry.Digest
}

func (w *world) writes() int {
	n := 0
	for _, side := range w.sides {
		n += side.Writes()
	}
	return n
}

// find returns the promise of a target.
func find(t *testing.T, report *Report, sink, label string) Promise {
	t.Helper()
	for _, p := range report.Promises {
		if p.Sink == sink && p.Target == label {
			return p
		}
	}
	t.Fatalf("no promise for %s %s in %v", sink, label, report.Promises)
	return Promise{}
}

func wantVerdicts(t *testing.T, report *Report, want Verdict) {
	t.Helper()
	if len(report.Promises) == 0 {
		t.Fatal("no promises")
	}
	for _, p := range report.Promises {
		if p.Verdict != want {
			t.Errorf("%s %s is %s (%s), want %s", p.Sink, p.Target, p.Verdict, p.Reason, want)
		}
	}
}

// actions lists what a report did or would do: "sink label action".
func actions(report *Report) []string {
	var list []string
	for _, p := range report.Promises {
		if p.Action != None {
			list = append(list, strings.Join([]string{p.Sink, p.Target, string(p.Action)}, " "))
		}
	}
	slices.Sort(list)
	return list
}

// issuer is a CA that answers at once, or fails.
type issuer struct {
	world *world
	err   error

	mu    sync.Mutex
	calls []string
}

func (i *issuer) Renewal(_ anycert.Certificate, entry *anycert.Entry, now time.Time) anycert.Renewal {
	if entry == nil {
		return anycert.Renewal{At: now, Reason: "nothing issued yet"}
	}
	return anycert.Renewal{At: entry.Leaf.NotAfter.Add(-30 * 24 * time.Hour), Reason: "a third of its lifetime is left"}
}

func (i *issuer) Obtain(_ context.Context, c anycert.Certificate) (anycert.Entry, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.calls = append(i.calls, c.Name)
	if i.err != nil {
		return anycert.Entry{}, i.err
	}
	return i.world.put(c.Name, certs.Options{}), nil
}

// set changes what it answers from now on.
func (i *issuer) set(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.err = err
}

func (i *issuer) Unfinished(context.Context) ([]string, error) { return nil, nil }

func (*issuer) Recall(context.Context, []anycert.Wanted, bool) error { return nil }

func (*issuer) Plan(wanted []anycert.Wanted, now time.Time) (slots []anycert.Slot) {
	for _, w := range wanted {
		slots = append(slots, anycert.Slot{Certificate: w.Certificate.Name, At: now})
	}
	return slots
}

func (i *issuer) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.calls)
}

var errBroken = errors.New("the other side is broken")

// syncBuffer is a buffer for logs of many goroutines.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Package webtest lets a small hub run in memory and tells what it exports, so that what
// asks for metrics can be checked against the real ones.
package webtest

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/reconcile"
	"github.com/anycert/anycert/sinks/sinktest"
	"github.com/anycert/anycert/store/storetest"
)

// Hub is what a test wants of a hub.
type Hub struct {
	Fault sinktest.Fault // of the sink prod
	Order error          // why the certificate wanted cannot be obtained
}

// Start lets a hub run until the test ends: the certificate example lies in the store and
// belongs to the sink prod, the certificate wanted is ordered from the issuer test in
// vain. It returns when a pass and an order have ended.
func (h Hub) Start(t testing.TB) *reconcile.Health {
	t.Helper()
	store := &storetest.Memory{}
	example := anycert.Certificate{Name: "example", Domains: []string{"example.com"}}
	wanted := anycert.Certificate{Name: "wanted", Domains: []string{"wanted.example.com"}, Issuer: "test"}
	put(t, store, example)
	prod := sinktest.NewMemory(h.Fault, "web", "api")
	hub := reconcile.New(reconcile.Parts{
		Owner:        "example",
		Store:        store,
		Issuer:       issuer{h.Order},
		Certificates: []anycert.Certificate{example, wanted},
		Agents:       []reconcile.Agent{{Name: "prod", Type: "memory", Sink: prod.Sink("example"), Certificates: []anycert.Certificate{example}}},
	}, slog.New(slog.DiscardHandler))
	loop := reconcile.NewLoop(hub, everyMinute{})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); loop.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	await(t, "a pass and an order", func() bool {
		s := loop.Health().Snapshot()
		return !s.Sinks[0].Passed.IsZero() && s.Certificates[1].OrderFailed
	})
	return loop.Health()
}

func put(t testing.TB, store *storetest.Memory, c anycert.Certificate) {
	t.Helper()
	ca, err := certs.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(certs.Options{Names: c.Domains})
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := anycert.ParseBundle(pair.ChainPEM, pair.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Put(t.Context(), c.Name, 0, bundle, anycert.Origin{}); err != nil {
		t.Fatal(err)
	}
}

// await waits for what a loop does by itself within milliseconds.
func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// issuer fails.
type issuer struct{ err error }

func (i issuer) Renewal(c anycert.Certificate, _ *anycert.Entry, now time.Time) anycert.Renewal {
	if c.Issuer == "" {
		return anycert.Renewal{}
	}
	return anycert.Renewal{At: now, Reason: "nothing was issued yet"}
}

func (i issuer) Obtain(context.Context, anycert.Certificate) (anycert.Entry, error) {
	if i.err == nil {
		return anycert.Entry{}, errors.New("there is no CA")
	}
	return anycert.Entry{}, i.err
}

func (i issuer) Unfinished(context.Context) ([]string, error) { return nil, nil }

func (issuer) Recall(context.Context, []anycert.Wanted, bool) error { return nil }

func (issuer) Plan(wanted []anycert.Wanted, now time.Time) (slots []anycert.Slot) {
	for _, w := range wanted {
		slots = append(slots, anycert.Slot{Certificate: w.Certificate.Name, At: now})
	}
	return slots
}

type everyMinute struct{}

func (everyMinute) Next(t time.Time) time.Time { return t.Add(time.Minute) }

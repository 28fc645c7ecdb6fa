package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/certs"
)

// viewed finds a certificate in a view.
func viewed(t *testing.T, v View, name string) CertificateView {
	t.Helper()
	for _, c := range v.Certificates {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("%s is not in the view", name)
	return CertificateView{}
}

// The view follows what the passes see, and each promise has the age of its verdict.
func TestViewFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		fault := func(_ context.Context, op string, target anycert.Target) error {
			if target.Key == "two" && down.Load() {
				return errBroken
			}
			return nil
		}
		w := bareWorld(t, []anycert.Certificate{example}, fault, "one", "two")
		w.store.Now = time.Now
		loop := NewLoop(w.hub, every(time.Minute))
		health := loop.Health()
		if v := health.View(time.Now()); !v.Looked.IsZero() || v.Owner != "prod" || len(v.Sinks) != 2 || viewed(t, v, "example").State != Pending ||
			fmt.Sprint(viewed(t, v, "example").Unseen) != "[one two]" {
			t.Errorf("before the first pass: %+v", v)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); loop.Run(ctx) }()
		defer func() { cancel(); <-ended }()
		look := func(minutes int) (View, CertificateView) {
			time.Sleep(time.Duration(minutes) * time.Minute)
			synctest.Wait()
			v := health.View(time.Now())
			return v, viewed(t, v, "example")
		}
		if _, c := look(0); c.State != Pending || c.Version != 0 || len(c.Promises) != 4 || len(c.Unseen) != 0 {
			t.Errorf("nothing is there: %+v", c)
		}
		w.put("example", certs.Options{NotAfter: time.Now().Add(90 * 24 * time.Hour)})
		v, c := look(1)
		if c.State != Well || c.Version != 1 || c.NotBefore == nil || c.NotAfter == nil || v.Sinks[0].Verdicts[Kept] != 2 {
			t.Errorf("all is kept: %+v", c)
		}
		if first := v.Changes[0]; first.Kind != PushChange || first.What != "created" || first.Why != "nothing is there" || !first.Well {
			t.Errorf("the last change is %+v", first)
		}
		since := c.Promises[0].Since
		v, c = look(3)
		if p := c.Promises[0]; !p.Since.Equal(since) || !p.Seen.After(since) || p.Verified.Before(since.Add(2*time.Minute)) {
			t.Errorf("since %s, seen %s, verified %s", p.Since, p.Seen, p.Verified)
		}
		passes := v.Sinks[1].Passes
		if n := len(passes); n != 5 || passes[0].Waiting != 2 || passes[1].Pushed != 2 || passes[4].Kept != 2 || passes[4].Pushed != 0 {
			t.Errorf("%+v", passes)
		}
		down.Store(true)
		v, c = look(1)
		if c.State != Failing || v.Sinks[1].Verdicts[Unknown] != 2 || v.Sinks[0].Verdicts[Kept] != 2 || v.Changes[0].What != "unknown" || v.Changes[0].Well {
			t.Errorf("a sink is down: %+v %+v", c, v.Changes[0])
		}
		for _, p := range c.Promises {
			if broken := p.Sink == "two"; p.Ill() != broken || broken && (!strings.Contains(p.Reason, errBroken.Error()) || p.Since.Equal(since)) {
				t.Errorf("%+v", p)
			}
		}
		if _, c = look(200); len(health.View(time.Now()).Sinks[0].Passes) != keptPasses || c.State != Failing {
			t.Errorf("%d passes are kept", len(health.View(time.Now()).Sinks[0].Passes))
		}
	})
}

// A store that does not answer makes nobody forget what it said last.
func TestViewRemembersTheStore(t *testing.T) {
	w := newWorld(t, "one")
	health := newHealth(w.hub)
	read := func(truth Truth) CertificateView {
		now := time.Now()
		states := w.hub.states(truth, now)
		health.read(now, states, w.hub.report(w.hub.Certificates, truth, now).Certificates, w.hub.plights(truth, states, now), nil)
		return viewed(t, health.View(now), "example")
	}
	before := read(readTruth(t.Context(), w.store, w.hub.Certificates))
	sealed := fmt.Errorf("%w: Vault is sealed", anycert.ErrUnavailable)
	after := read(Truth{"example": {Err: sealed}})
	if before.Version != 1 || after.Version != 1 || after.Digest != before.Digest || !after.NotAfter.Equal(*before.NotAfter) {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if after.State != Failing || !strings.Contains(after.Problem, "Vault is sealed") {
		t.Errorf("it does not say why: %+v", after)
	}
	gone := read(Truth{"example": {Err: anycert.ErrDeleted}})
	if gone.Version != 0 || gone.NotAfter != nil || gone.State != Failing {
		t.Errorf("it was deleted: %+v", gone)
	}
}

// What a reload takes out is gone, what it leaves is still known.
func TestViewAfterReload(t *testing.T) {
	w := newWorld(t, "one")
	health := newHealth(w.hub)
	truth := readTruth(t.Context(), w.store, w.hub.Certificates)
	states := w.hub.states(truth, time.Now())
	health.read(time.Now(), states, w.hub.report(w.hub.Certificates, truth, time.Now()).Certificates, w.hub.plights(truth, states, time.Now()), nil)
	parts := w.hub.Parts
	renamed := example
	renamed.Owner = "somebody else"
	parts.Certificates = []anycert.Certificate{renamed, {Name: "new", Domains: []string{"new.example.com"}, Suspended: true}}
	parts.Agents = []Agent{{Name: "frozen", Type: "memory", Suspended: true}}
	health.configured(w.hub.With(parts))
	v := health.View(time.Now())
	if c := viewed(t, v, "example"); c.Version != 1 || c.Owner != "somebody else" {
		t.Errorf("%+v", c)
	}
	if c := viewed(t, v, "new"); c.State != Suspended || len(v.Certificates) != 2 || len(v.Sinks) != 1 || !v.Sinks[0].Suspended {
		t.Errorf("%+v", v)
	}
}

// The last hundred are remembered, the newest first, each as one line.
func TestRecentChanges(t *testing.T) {
	c := newChanges(slog.New(slog.DiscardHandler))
	for i := range 250 {
		c.order(example, anycert.Entry{Version: i}, "it is due\nnow", nil)
	}
	list := c.recent.list()
	if len(list) != keptChanges || list[0].Version != 249 || list[99].Version != 150 || list[0].Why != "it is due now" {
		t.Errorf("%d changes: %+v … %+v", len(list), list[0], list[len(list)-1])
	}
	c.order(example, anycert.Entry{}, "it is due", errors.New("no answer"))
	c.order(example, anycert.Entry{}, "it is due", errors.New("no answer"))
	if list = c.recent.list(); list[0].What != "order failed" || list[1].What != "obtained" {
		t.Errorf("the same again is no change: %+v", list[:2])
	}
}

// Package canary has the shipped binary renew a certificate that goes to a canary first:
// a bad one stops there, and all other places go on serving the old one, as handshakes
// show; a good one follows. And it has a person put something else into the store, which
// the brake keeps from being everywhere at once.
//
// What docs/canary.md shows is what was printed here; it is written by
//
//	go test ./internal/e2e/canary -run TestABrokenChainStopsAtTheCanary -update
package canary

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/world"
)

// gap is what is wrong with a chain that lost its intermediate.
const gap = "the chain lacks its intermediate"

// held expects that all promises but those of the canary wait for it, for what its
// clients would be served.
func (s *scene) held(when string, r world.Report) {
	s.T.Helper()
	waiting := 0
	for _, p := range r.Promises {
		switch {
		case p.Sink == "first" && p.Verdict == "kept":
		case p.Sink != "first" && p.Verdict == "waiting" && strings.HasPrefix(p.Reason, "canary first ") && strings.Contains(p.Reason, gap):
			waiting++
		default:
			s.T.Errorf("%s: %v", when, p)
		}
		if p.Sink != "first" && (p.Action != "" || p.Pushed) {
			s.T.Errorf("%s: something is done: %v", when, p)
		}
	}
	if waiting != 7 {
		s.T.Errorf("%s: %d promises wait", when, waiting)
	}
}

// A CA answers without its intermediate. The canary gets it, nobody else does, whatever
// is run and how often; going back is one command and one pass.
func TestABrokenChainStopsAtTheCanary(t *testing.T) {
	t.Parallel()
	s := newScene(t, "0s", acmeserver.Options{})
	old := s.begin()
	shown := map[string]string{}

	s.ACME.LoseIntermediates(true)
	m := mark(s.World)
	if got := s.Run(s.config, "renew", "example", "--timeout", "30s"); got.Code != 1 {
		t.Error(got)
	}
	broken := s.Stored("example")
	if broken.Version != 2 || strings.Count(string(broken.Chain), "BEGIN") != 1 {
		t.Fatalf("version %d in Vault: %s", broken.Version, broken.Chain)
	}
	s.awaitCanary(broken)
	s.others("after the renewal", old)
	s.held("sync", s.Report(0, s.config, "sync"))
	s.others("after a sync", old)
	if err := s.trusted(s.canary()); err == nil {
		t.Error("clients take what the canary serves")
	}
	if got := since(s.World, m); got != (pushes{}) {
		t.Errorf("places were written to: %+v", got)
	}
	if now := s.Stored("example"); now.Version != 2 {
		t.Errorf("version %d is in Vault", now.Version)
	}

	before := s.Now()
	sync := s.Run(s.config, "sync")
	s.WroteNothing("another sync", before)
	s.held("audit", s.Report(2, s.config, "audit"))
	audit := s.Run(s.config, "audit")
	s.held("status", s.Report(0, s.config, "status"))
	status := s.Run(s.config, "status")
	s.WroteNothing("looking", before)
	for _, got := range []world.Result{sync, audit} {
		if strings.Count(got.Stdout, " waiting ") != 7 || !got.Says("waiting canary first has version 2, and the world is not served it: "+s.Canary.Addr) || !got.Says(gap) {
			t.Error(got)
		}
	}
	if sync.Code != 0 || audit.Code != 2 || status.Code != 0 || !status.Says("1 kept, 7 waiting") {
		t.Errorf("exit codes: sync %d, audit %d, %v", sync.Code, audit.Code, status)
	}
	shown["sync"] = s.Run(s.config, "sync", "--only", "prod").Stdout
	shown["audit"] = s.Run(s.config, "audit", "--only", "first").Stdout
	s.WroteNothing("a part of it", before)

	rollback := s.Run(s.config, "rollback", "example", "--to", "1")
	if rollback.Code != 0 {
		t.Fatal(rollback)
	}
	back := s.Run(s.config, "sync") // the one pass
	if back.Code != 0 {
		t.Error(back)
	}
	now := s.Stored("example")
	if string(now.Chain) != string(old.Chain) || now.Version != 3 {
		t.Errorf("version %d is in Vault: %s", now.Version, now.Chain)
	}
	s.awaitCanary(old)
	s.Must(s.trusted(s.canary()))
	s.Must(s.Second.WaitServing(t.Context(), old.Leaf))
	s.others("after going back", old)
	s.Kept(s.Report(0, s.config, "audit"))
	before = s.Now()
	s.Kept(s.Report(0, s.config, "sync"))
	s.WroteNothing("a sync after going back", before)
	shown["rollback"], shown["back"] = rollback.Stdout, back.Stdout
	s.page(shown)
}

// The same with a daemon: it tells people what the canary's clients are served, and goes
// on as soon as somebody went back.
func TestABrokenChainStopsAtTheCanaryOfADaemon(t *testing.T) {
	t.Parallel()
	s := newScene(t, "2s", acmeserver.Options{})
	old := s.begin()
	d := s.Daemon(s.config)
	d.AwaitReady()
	s.ACME.LoseIntermediates(true)
	m := mark(s.World)
	if got := s.Run(s.config, "renew", "example", "--timeout", "1s"); got.Code != 1 { // the daemon goes on with it
		t.Error(got)
	}
	s.stops(d, m, old)
	if got := s.Run(s.config, "rollback", "example", "--to", "1"); got.Code != 0 {
		t.Fatal(got)
	}
	d.Await("has gone back", func() error { return s.serves(s.canary(), old) })
	s.others("after going back", old)
	told(d, s.Hook, "end critical wire/first/example")
	d.AwaitReady()
	d.End()
	if got := since(s.World, m); got != (pushes{}) {
		t.Errorf("places were written to: %+v", got)
	}
	s.Kept(s.Report(0, s.config, "audit"))
}

// A renewal on the CA's advice stops as well. What was gone back to is still due then: as
// the CA has mended its chain, the next one is everywhere.
func TestABrokenChainOnAdvice(t *testing.T) {
	t.Parallel()
	s := newScene(t, "2s", acmeserver.Options{RetryAfterAdvice: 60}) // no client of ours asks more often
	old := s.begin()
	d := s.Daemon(s.config)
	d.AwaitReady()
	s.ACME.LoseIntermediates(true)
	m := mark(s.World)
	s.Must(s.ACME.SetRenewalInfo(old.Leaf, time.Now(), time.Now().Add(time.Second), ""))
	s.stops(d, m, old)
	s.ACME.LoseIntermediates(false)
	if got := s.Run(s.config, "rollback", "example", "--to", "1"); got.Code != 0 {
		t.Fatal(got)
	}
	d.Await("has the next one", func() error {
		if now := s.Stored("example"); now.Version != 4 {
			return fmt.Errorf("version %d is in Vault", now.Version)
		}
		return nil
	})
	whole := s.Stored("example")
	d.Await("has every place follow", func() error { return s.follow(whole) })
	s.awaitCanary(whole)
	s.others("in the end", whole)
	d.End()
	s.Kept(s.Report(0, s.config, "audit"))
}

// stops waits until a daemon has the second version, and expects that it goes no further
// than to the canary, and that people are told.
func (s *scene) stops(d *world.Daemon, m moment, old world.Stored) {
	s.T.Helper()
	d.Await("has the next version", func() error {
		if now := s.Stored("example"); now.Version != 2 {
			return fmt.Errorf("version %d is in Vault", now.Version)
		}
		return nil
	})
	broken := s.Stored("example")
	s.awaitCanary(broken)
	alarm := told(d, s.Hook, "start critical wire/first/example")
	if !strings.Contains(alarm.Alarm.Text, gap) {
		s.T.Errorf("it says %s", alarm.Alarm.Text)
	}
	d.Answers("/metrics", 200, `anycert_wire{certificate="example",sink="first",wire="unfit"} 1`)
	d.AwaitUnready(gap)
	before := s.Now()
	passes(s.World, d, "prod", 3)
	s.WroteNothing("three passes", before, "/alarms/", "/renewals/") // the CA's advice is asked for once in a while
	s.others("while it waits", old)
	if err := s.serves(s.canary(), broken); err != nil {
		s.T.Errorf("the canary: %v", err)
	}
	if got := since(s.World, m); got != (pushes{}) {
		s.T.Errorf("places were written to: %+v", got)
	}
	s.held("audit", s.Report(2, s.config, "audit"))
}

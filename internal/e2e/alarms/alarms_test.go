package alarms

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert/internal/testenv/world"
)

const (
	begins  = "start warning renewal/example"
	changes = "change warning renewal/example"
	ends    = "end warning renewal/example"
)

// The DNS credential disappears: the alarm is out at the first attempt, before anything is
// asked of the CA. It changes with the reason, and ends when that is mended; a restart in
// between tells nothing twice.
func TestTheCredentialDisappears(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Must(os.Remove(s.credential))
	begun := time.Now()
	first := s.Daemon(s.config)
	events := s.told(first, begins)
	if took := time.Since(begun); took > time.Minute {
		t.Errorf("the alarm is out after %s", took)
	}
	a := events[0].Alarm
	if a.Certificate != "example" || a.Owner != "web team" || a.Description != "the site and its API" || events[0].Hub != "hub" ||
		!strings.Contains(a.Text, s.credential) || !strings.Contains(events[0].Text, "web team") {
		t.Errorf("%+v", events[0])
	}
	s.alerted(first, "AnycertRenewal warning example web team")
	s.asksNothing("without a credential")

	s.give("bm90IHRoZSBzZWNyZXQgb2YgYW55Ym9keQ==")
	s.anew("hostmaster")
	first.HangUp()
	events = s.told(first, begins, changes)
	if text := events[1].Alarm.Text; text == a.Text || !strings.Contains(text, "_acme-challenge.example.com") {
		t.Errorf("the change says %q", text)
	}
	s.asksNothing("with a credential that is refused")

	first.End()
	s.give(s.DNS.Secret)
	s.anew("ops")
	second := s.Daemon(s.config)
	second.AwaitReady()
	events = s.told(second, begins, changes, ends)
	for _, e := range events {
		if !e.Alarm.Since.Equal(events[0].Alarm.Since) {
			t.Errorf("%s began at %s, and then at %s", e, events[0].Alarm.Since, e.Alarm.Since)
		}
	}
	s.alerted(second)
	if n := len(s.ACME.Orders()); n != 1 {
		t.Errorf("%d orders were made", n)
	}
	second.End()
	third := s.Daemon(s.config)
	third.AwaitReady()
	s.passes(third)
	s.told(third, begins, changes, ends)
	s.noSecrets(first, second, third)
}

// Two daemons on one store tell once.
func TestTwoDaemonsTellOnce(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Must(os.Remove(s.credential))
	daemons := []*world.Daemon{s.Daemon(s.config), s.Daemon(s.config)}
	s.told(daemons[0], begins)
	s.passes(daemons...)
	s.told(daemons[0], begins)
	s.give(s.DNS.Secret)
	s.anew("hostmaster")
	for _, d := range daemons {
		d.HangUp()
	}
	s.told(daemons[0], begins, ends)
	s.passes(daemons...)
	s.told(daemons[1], begins, ends)
	s.noSecrets(daemons...)
}

// The receiver is dead, and the store is as well: the daemon mends what it can, and what
// was not heard is told when somebody listens again.
func TestNobodyListens(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.hook.Answer(500)
	s.Must(os.Remove(s.credential))
	d := s.Daemon(s.config)
	d.AwaitUnready("receiver oncall of alarms has taken nothing since")
	if said := d.Said("alarms do not reach the receiver"); said["reason"] != "it answers 500" || said["receiver"] != "oncall" {
		t.Errorf("the log says %v", said)
	}
	d.Answers("/metrics", 200, `anycert_receiver_failing{receiver="oncall"} 1`)
	d.Answers("/metrics", 200, `anycert_notifications_total{receiver="prometheus",result="success"}`)
	s.give(s.DNS.Secret)
	s.anew("hostmaster")
	d.HangUp()
	d.Await("has filled the directory", func() error {
		if chain, _ := s.InFiles(s.Files, "example"); chain == nil {
			return os.ErrNotExist
		}
		return nil
	})
	s.hook.Answer(0)
	s.told(d, begins, ends)
	s.noSecrets(d)
}

// passes waits until each of daemons has made a few passes more, and so has looked at its
// alarms.
func (s *scene) passes(daemons ...*world.Daemon) {
	s.T.Helper()
	begun := make([]int, len(daemons))
	for i, d := range daemons {
		begun[i] = s.passed(d)
	}
	for i, d := range daemons {
		d.Await("has made two passes", func() error {
			if n := s.passed(d) - begun[i]; n < 2 {
				return fmt.Errorf("it has made %d", n)
			}
			return nil
		})
	}
}

var count = regexp.MustCompile(`(?m)^anycert_pass_duration_seconds_count\{sink="nginx"\} (\d+)$`)

func (s *scene) passed(d *world.Daemon) int {
	s.T.Helper()
	_, text, err := d.Get(s.T.Context(), "/metrics")
	s.Must(err)
	found := count.FindStringSubmatch(text)
	if found == nil {
		return 0
	}
	n, err := strconv.Atoi(found[1])
	s.Must(err)
	return n
}

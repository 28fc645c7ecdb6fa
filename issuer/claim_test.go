package issuer

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestClaimHeld(t *testing.T) {
	now := time.Now()
	me := identity()
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	other := func(change func(*claim)) *claim {
		c := claim{Holder: "other", Process: "other", PID: os.Getppid(), Host: me.Host, Until: now.Add(time.Minute)}
		change(&c)
		return &c
	}
	tests := []struct {
		name  string
		claim *claim
		want  bool
	}{
		{"nobody", nil, false},
		{"myself", other(func(c *claim) { c.Holder = "me" }), false},
		{"a living process here", other(func(*claim) {}), true},
		{"a dead process here", other(func(c *claim) { c.PID = gone.Process.Pid }), false},
		{"one that had my process id", other(func(c *claim) { c.PID = os.Getpid() }), false},
		{"another issuer of this process", other(func(c *claim) { c.Process, c.PID = me.Process, me.PID }), true},
		{"a process elsewhere", other(func(c *claim) { c.PID, c.Host = gone.Process.Pid, "elsewhere" }), true},
		{"a process who knows where", other(func(c *claim) { c.PID, c.Host = gone.Process.Pid, "" }), true},
		{"a clock that is minutes ahead", other(func(c *claim) { c.Host, c.Until = "elsewhere", now.Add(20*time.Minute) }), true},
		{"a clock that was days ahead", other(func(c *claim) { c.Host, c.Until = "elsewhere", now.Add(48*time.Hour) }), false},
		{"a claim that ran out", other(func(c *claim) { c.Host, c.Until = "elsewhere", now }), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := test.claim.held("me", now); got != test.want {
				t.Errorf("held is %v", got)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		value string
		want  time.Duration
		ok    bool
	}{
		{"", 0, false},
		{"120", 2 * time.Minute, true},
		{"-1", 0, false},
		{"soon", 0, false},
		{"Sun, 01 Nov 2026 12:00:30 GMT", 30 * time.Second, true},
		{"Sun, 01 Nov 2026 11:00:00 GMT", 0, true},
		{"999999999999", maxPostpone, true},
		{"Sun, 01 Nov 2099 12:00:30 GMT", maxPostpone, true},
	}
	for _, test := range tests {
		if got, ok := parseRetryAfter(test.value, now); got != test.want || ok != test.ok {
			t.Errorf("%q is read as %s, %v; want %s, %v", test.value, got, ok, test.want, test.ok)
		}
	}
}

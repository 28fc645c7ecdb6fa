package issuer

import (
	"cmp"
	"crypto/rand"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	// claimTime is how long a claim holds without being extended. It is what
	// another machine waits after a crash.
	claimTime = 90 * time.Second
	// beat is how often a claim is extended: two beats may be missed.
	beat = claimTime / 3
)

// claim says who is at an order, and until when.
type claim struct {
	Holder  string    `json:"holder"`  // random, of one Issuer
	Process string    `json:"process"` // random, of the process
	PID     int       `json:"pid"`
	Host    string    `json:"host"` // where PID means something; empty where that cannot be told
	Until   time.Time `json:"until"`
}

// identity is this process as claims name it.
var identity = sync.OnceValue(func() claim {
	return claim{Process: rand.Text(), PID: os.Getpid(), Host: host()}
})

// held reports whether someone else than holder is at the order. A claim of a
// process that has ended on this very host is free at once, so that a restarted
// daemon goes on with its order; any other waits for the claim's end.
func (c *claim) held(holder string, now time.Time) bool {
	switch {
	case c == nil, c.Holder == holder, !now.Before(c.Until):
		return false
	}
	me := identity()
	if c.Process == me.Process {
		return true // another Issuer of this process, as while a new configuration is loaded
	}
	if c.Host == "" || c.Host != me.Host {
		return true
	}
	return c.PID != me.PID && alive(c.PID)
}

// host names the place that process ids are counted in: the machine, its boot and
// the PID namespace, so that two containers of one name are told apart.
func host() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	namespace, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	return strings.Join([]string{cmp.Or(name, "?"), strings.TrimSpace(string(boot)), namespace}, " ")
}

package issuer

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/anycert/anycert"
)

const (
	// claimTime is how long a claim holds without being extended. It is what
	// another machine waits after a crash.
	claimTime = 90 * time.Second
	// beat is how often a claim is extended: two beats may be missed.
	beat = claimTime / 3
	// wrongClock is how far ahead of ours a clock may be and still be taken for right.
	// What one further ahead has written would hold up the work for as long.
	wrongClock = time.Hour
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
	case c == nil, c.Holder == holder, !now.Before(c.Until), c.Until.Sub(now) > claimTime+wrongClock:
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

// keep extends the claim until stop is called. The context that it returns ends
// when the claim is lost.
func (w *work) keep(ctx context.Context) (kept context.Context, stop func()) {
	kept, cancel := context.WithCancelCause(ctx)
	w.mu.Lock()
	w.lose = cancel
	w.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(beat)
		defer ticker.Stop()
		for {
			select {
			case <-kept.Done():
				return
			case <-ticker.C:
				if err := w.beat(kept); err != nil {
					cancel(err)
				}
			}
		}
	}()
	return kept, func() {
		cancel(context.Canceled)
		<-done
	}
}

// beat extends the claim once. A store that is away for a moment is waited for as
// long as the claim holds.
func (w *work) beat(ctx context.Context) error {
	err := w.update(ctx, func(*journal) {})
	if err == nil || errors.Is(err, anycert.ErrClaimed) {
		return err
	}
	if w.left() > 0 {
		return nil
	}
	return fmt.Errorf("the claim on the order could not be extended: %w", err)
}

// left is how long the claim holds, by our clock: by the one of the wall, since the other
// stands still while a machine is suspended, and by that one, since the first may be set
// back.
func (w *work) left() time.Duration {
	begun := w.begun()
	if begun == nil || begun.Claim == nil {
		return 0
	}
	until, now := begun.Claim.Until, w.now()
	return min(until.Sub(now), until.Round(0).Sub(now.Round(0)))
}

// fence lets no request to the CA begin unless it will end before the claim does. A
// process that was stopped for longer than its claim finds out here, at its next step,
// that another one has taken over.
func (w *work) fence(ctx context.Context) error {
	if w.left() >= requestTime {
		return nil
	}
	return w.update(ctx, func(*journal) {})
}

package main

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/anycert/anycert/internal/testenv/process"
)

// gate is where each call of the daemon to another system passes, on its way there
// and back. It kills the daemon.
type gate struct {
	passes func(p point, armed bool) (kill bool) // see book.pass
	now    atomic.Pointer[life]                  // of the last daemon that was started
	orders atomic.Int64                          // calls to the CA that are under way
}

// life is one daemon, from its start to its death.
type life struct {
	gate  *gate
	child *process.Process
	armed bool // it is killed at a point; else at a moment that the dice choose

	once sync.Once
	dead chan struct{} // closed when it was killed
}

func (g *gate) begin(child *process.Process, armed bool) *life {
	l := &life{gate: g, child: child, armed: armed, dead: make(chan struct{})}
	g.now.Store(l)
	return l
}

// diesAt tells whether the daemon was killed here and now.
func (l *life) diesAt(p point) bool {
	if l == nil || l.ended() || !l.gate.passes(p, l.armed) {
		return false
	}
	l.kill()
	return true
}

func (l *life) ended() bool {
	select {
	case <-l.dead:
		return true
	default:
		return false
	}
}

// kill ends the daemon with SIGKILL.
func (l *life) kill() {
	l.once.Do(func() {
		close(l.dead) // first: what it still sends was never sent
		l.child.Kill()
	})
}

// rest waits until the CA has answered whatever had reached it, so that the records of
// the CA say what came before a crash and what after.
func (g *gate) rest() {
	for g.orders.Load() > 0 {
		time.Sleep(5 * time.Millisecond)
	}
}

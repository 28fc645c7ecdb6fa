package reconcile

import (
	"context"
	"sync"
	"time"
)

// firstLookPatience is how long targets without a mark wait for the first look at the
// others.
const firstLookPatience = 30 * time.Second

// firstLook is the look of a new process at every sink, once. Until it has seen the
// marks at the others, it cannot know that the store went back, and what has no place
// for a mark must not be pushed to (law 2).
type firstLook struct {
	mu     sync.Mutex
	unseen map[string]bool // sinks by name
	done   chan struct{}   // closed when none is left
}

func newFirstLook(agents []Agent) *firstLook {
	f := &firstLook{unseen: make(map[string]bool), done: make(chan struct{})}
	for _, agent := range agents {
		if !agent.Suspended {
			f.unseen[agent.Name] = true
		}
	}
	if len(f.unseen) == 0 {
		close(f.done)
	}
	return f
}

// awaits reports whether a sink was not seen yet.
func (f *firstLook) awaits(sink string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.unseen[sink]
}

// seen says that the marks at a sink are known now, or cannot be read.
func (f *firstLook) seen(sink string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.unseen[sink] {
		return
	}
	if delete(f.unseen, sink); len(f.unseen) == 0 {
		close(f.done)
	}
}

// wait returns when every sink was seen, when patience ends, or when ctx does.
func (f *firstLook) wait(ctx context.Context) {
	timer := time.NewTimer(firstLookPatience)
	defer timer.Stop()
	select {
	case <-f.done:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// wantsFirstLook reports whether anything is to be pushed where no mark can be read, or
// that has to be weighed against what is at the other sinks (see brake).
func wantsFirstLook(promises []Promise) bool {
	for _, p := range promises {
		if p.Action != None && p.sighting.observed.Unmarkable || p.sudden() {
			return true
		}
	}
	return false
}

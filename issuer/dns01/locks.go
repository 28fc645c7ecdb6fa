package dns01

import (
	"context"
	"sync"
)

// Locks keeps the records of different orders at one name apart: many providers
// replace or remove all values at a name at once. One is shared by all solvers of
// a process. The zero value is ready.
type Locks struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed when given back
}

// lock waits until nobody else has name.
func (l *Locks) lock(ctx context.Context, name string) (unlock func(), err error) {
	for {
		l.mu.Lock()
		held, taken := l.held[name]
		if !taken {
			break
		}
		l.mu.Unlock()
		select {
		case <-held:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	defer l.mu.Unlock()
	if l.held == nil {
		l.held = map[string]chan struct{}{}
	}
	mine := make(chan struct{})
	l.held[name] = mine
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.held, name)
		close(mine)
	}, nil
}

package reconcile

import (
	"context"
	"sync"
	"time"
)

// patience is with somebody who is asked many things, some at a time. Who fails to
// answer as often in a row as is asked at once seems to hang: what is left is asked
// in a hurry, until there is an answer again. Else a thousand certificates would wait
// for hours.
type patience struct {
	limit int           // how many askings are under way at once
	hurry time.Duration // how long one may take when there is a hurry

	mu   sync.Mutex
	lost int // askings in a row that failed and took their time about it
}

// ask calls do under a time-out, and returns its error.
func (p *patience) ask(ctx context.Context, timeout time.Duration, do func(context.Context) error) error {
	p.mu.Lock()
	if p.lost >= p.limit {
		timeout = min(timeout, p.hurry)
	}
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	begin := time.Now()
	err := do(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lost++; err == nil || time.Since(begin) < p.hurry {
		p.lost = 0
	}
	return err
}

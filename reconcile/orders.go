package reconcile

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/anycert/anycert"
)

// ordersAtOnce bounds the certificates that one process obtains at the same time.
const ordersAtOnce = 8

// orders obtains what is due. It decides when to ask the issuer and keeps one order
// for each certificate under way in this process; the issuer keeps it one for all
// processes.
type orders struct {
	changed *changes
	slots   chan struct{}

	mu       sync.Mutex
	underWay map[string]bool
	failed   map[string]error
}

// orderable reports whether the store leaves no doubt that an order may be made:
// it has an entry, or never had one. Forbidden, sealed, deleted and malformed are
// no reasons to ask a CA.
func orderable(c anycert.Certificate, known Known) bool {
	return c.Issuer != "" && !c.Suspended && (known.Err == nil || errors.Is(known.Err, anycert.ErrNotFound))
}

// due lists the certificates to be obtained now: those whose moment has come, and
// those for which an order was begun and not ended.
func (o *orders) due(ctx context.Context, issuer anycert.Issuer, certificates []anycert.Certificate, truth Truth, now time.Time) []anycert.Certificate {
	if issuer == nil {
		return nil
	}
	unfinished := make(map[string]bool)
	names, err := issuer.Unfinished(ctx)
	o.changed.journals(err)
	for _, name := range names {
		unfinished[name] = true
	}
	var due []anycert.Certificate
	for _, c := range certificates {
		known, read := truth[c.Name]
		if read && orderable(c, known) && (unfinished[c.Name] || issuer.Renewal(c, known.Entry, now).Due(now)) {
			due = append(due, c)
		}
	}
	return due
}

// all obtains certificates and waits until each was written or failed. done is
// called for each that was written, by many goroutines at once.
func (o *orders) all(ctx context.Context, issuer anycert.Issuer, due []anycert.Certificate, done func()) {
	var wait sync.WaitGroup
	for _, c := range due {
		wait.Go(func() {
			if o.one(ctx, issuer, c) {
				done()
			}
		})
	}
	wait.Wait()
}

// one obtains c unless this process is at it already.
func (o *orders) one(ctx context.Context, issuer anycert.Issuer, c anycert.Certificate) (wrote bool) {
	if !o.begin(c.Name) {
		return false
	}
	select { // a failing order holds its slot for a moment only: nobody queues behind it for long
	case o.slots <- struct{}{}:
		defer func() { <-o.slots }()
	case <-ctx.Done():
		o.end(c.Name, nil)
		return false
	}
	entry, err := obtain(ctx, issuer, c)
	o.end(c.Name, err)
	o.changed.order(c, entry, err)
	return err == nil
}

func obtain(ctx context.Context, issuer anycert.Issuer, c anycert.Certificate) (entry anycert.Entry, err error) {
	defer recovered("obtaining certificate "+c.Name, &err)
	return issuer.Obtain(ctx, c)
}

func newOrders(changed *changes) *orders {
	return &orders{changed: changed, slots: make(chan struct{}, ordersAtOnce),
		underWay: make(map[string]bool), failed: make(map[string]error)}
}

func (o *orders) begin(name string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.underWay[name] {
		return false
	}
	o.underWay[name] = true
	return true
}

func (o *orders) end(name string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.underWay, name)
	if err == nil || errors.Is(err, anycert.ErrClaimed) {
		delete(o.failed, name)
		return
	}
	o.failed[name] = err
}

// failure is why the last order for name failed; nil when it did not.
func (o *orders) failure(name string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failed[name]
}

// unlessAbsent leaves out the absence of what nobody has put there yet: that is
// waiting, not a failure.
func unlessAbsent(err error) error {
	if errors.Is(err, anycert.ErrNotFound) {
		return nil
	}
	return err
}

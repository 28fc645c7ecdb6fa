package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anycert/anycert"
)

// ordersAtOnce bounds the certificates that one process obtains at the same time.
const ordersAtOnce = 8

// orders obtains what is due, the most urgent first. It decides when to ask the issuer
// and keeps one order for each certificate under way in this process; the issuer keeps
// it one for all processes.
type orders struct {
	changed *changes

	planning  atomic.Bool // what is to be obtained is being found out
	recalling atomic.Bool // the issuer is reading, or asking CAs for advice
	settling  atomic.Bool // requests are being ended

	mu       sync.Mutex
	queue    []anycert.Wanted // by urgency: what was found to be due last
	workers  int              // that take from the queue
	underWay map[string]bool
	failed   map[string]error
	waits    map[string]anycert.Slot // what the CA's limits hold back
	wrote    map[string]time.Time    // when the last order of each ended well
	vain     map[string]vain
	ended    map[string]Tally // of each issuer
}

// vain is an order that went well and left its certificate as due as it was: our
// clock is wrong, or the CA gives another thing than it was asked for. Another order
// would bring the same, and the next one too (law 10).
type vain struct {
	version int
	reason  string // for which it is due
	until   time.Time
}

// orderable reports whether the store leaves no doubt that an order may be made:
// it has an entry, or never had one. Forbidden, sealed, deleted and malformed are
// no reasons to ask a CA.
func orderable(c anycert.Certificate, known Known) bool {
	return c.Issuer != "" && !c.Suspended && (known.Err == nil || errors.Is(known.Err, anycert.ErrNotFound))
}

// all obtains certificates in their order, some at a time, and waits until each was
// written or failed. What was still to be done by an earlier call, and is not in due,
// is left. done is called for each that was written, by many goroutines at once.
func (o *orders) all(ctx context.Context, issuer anycert.Issuer, due []anycert.Wanted, truth Truth, done func()) {
	var wait sync.WaitGroup
	for range o.enqueue(due, truth) {
		wait.Go(func() {
			for !errors.Is(ctx.Err(), context.Canceled) { // what is queued is another round's then
				w, ok := o.next()
				if !ok {
					break
				}
				if o.one(ctx, issuer, w) {
					done()
				}
			}
			o.goHome()
		})
	}
	wait.Wait()
}

// enqueue replaces what is to be obtained, by what truth said, and tells how many workers
// are missing. What is under way, or ended since, is left out.
func (o *orders) enqueue(due []anycert.Wanted, truth Truth) (missing int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.queue = slices.DeleteFunc(slices.Clone(due), func(w anycert.Wanted) bool {
		return o.underWay[w.Certificate.Name] || o.since(w.Certificate.Name, truth)
	})
	missing = max(0, min(ordersAtOnce-o.workers, len(o.queue)))
	o.workers += missing
	return missing
}

// next takes the most urgent one, if there is any.
func (o *orders) next() (w anycert.Wanted, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.queue) > 0 {
		w, o.queue = o.queue[0], o.queue[1:]
		if !o.underWay[w.Certificate.Name] {
			o.underWay[w.Certificate.Name] = true
			return w, true
		}
	}
	return anycert.Wanted{}, false
}

func (o *orders) goHome() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.workers--
}

// one obtains what next gave.
func (o *orders) one(ctx context.Context, issuer anycert.Issuer, w anycert.Wanted) (wrote bool) {
	c := w.Certificate
	if ctx.Err() != nil {
		err := o.failure(c.Name)
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("certificate %s: the time was over before its order was begun: allow more, or run it again: %w", c.Name, ctx.Err())
		}
		o.end(c.Name, err)
		return false
	}
	because := issuer.Renewal(c, w.Entry, time.Now()).Reason
	entry, err := obtain(ctx, issuer, c)
	if err != nil && errors.Is(ctx.Err(), context.Canceled) { // the end was asked for: it is gone on with later
		o.end(c.Name, o.failure(c.Name))
		return false
	}
	if slot, waits := limited(issuer, w, err, time.Now()); waits {
		o.hold([]anycert.Wanted{w}, map[string]anycert.Slot{c.Name: slot})
		o.end(c.Name, o.failure(c.Name))
		o.count(c.Issuer, err)
		return false
	}
	o.hold([]anycert.Wanted{w}, nil)
	o.changed.order(c, entry, because, err)
	if errors.Is(err, anycert.ErrUnchanged) { // no order was made
		o.end(c.Name, nil)
		return false
	}
	o.count(c.Issuer, err)
	if err == nil {
		o.mu.Lock()
		o.wrote[c.Name] = time.Now()
		o.mu.Unlock()
		o.end(c.Name, o.stillDue(c, entry, issuer, time.Now()))
		return true
	}
	o.end(c.Name, err)
	return false
}

// stillDue tells whether what was obtained is due again at once; if so, it stays as it is
// for half of its time.
func (o *orders) stillDue(c anycert.Certificate, entry anycert.Entry, issuer anycert.Issuer, now time.Time) error {
	renewal := issuer.Renewal(c, &entry, now)
	if !renewal.Due(now) {
		return nil
	}
	until := now.Add(max(entry.Leaf.NotAfter.Sub(now)/2, time.Minute))
	o.mu.Lock()
	o.vain[c.Name] = vain{entry.Version, renewal.Reason, until}
	o.mu.Unlock()
	err := &anycert.PostponedError{Until: until, Err: fmt.Errorf("certificate %s: version %d was obtained and is due again at once (%s): check the clock of this machine, and what the issuer %s gives",
		c.Name, entry.Version, renewal.Reason, c.Issuer)}
	o.changed.order(c, entry, renewal.Reason, err)
	return err
}

// inVain reports whether entry was obtained for the very reason why it is due now.
func (o *orders) inVain(entry *anycert.Entry, renewal anycert.Renewal, now time.Time) bool {
	if entry == nil {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	past, ok := o.vain[entry.Name]
	return ok && past.version == entry.Version && past.reason == renewal.Reason && now.Before(past.until)
}

func obtain(ctx context.Context, issuer anycert.Issuer, c anycert.Certificate) (entry anycert.Entry, err error) {
	defer recovered("obtaining certificate "+c.Name, &err)
	return issuer.Obtain(ctx, c)
}

func newOrders(changed *changes) *orders {
	return &orders{changed: changed, underWay: make(map[string]bool), failed: make(map[string]error),
		waits: make(map[string]anycert.Slot), wrote: make(map[string]time.Time), vain: make(map[string]vain), ended: make(map[string]Tally)}
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

// settle forgets why the last order for name failed, since none is due any more:
// somebody put a certificate there meanwhile, or changed what is declared.
func (o *orders) settle(name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.waits, name)
	if !o.underWay[name] {
		delete(o.failed, name)
	}
}

// count takes note of how an order ended.
func (o *orders) count(issuer string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended[issuer] == nil {
		o.ended[issuer] = NewOrderTally()
	}
	o.ended[issuer][orderOutcome(err)]++
}

// tally is a copy of what was counted of an issuer.
func (o *orders) tally(issuer string) Tally {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended[issuer] == nil {
		return NewOrderTally()
	}
	return maps.Clone(o.ended[issuer])
}

// failure is why the last order for name failed; nil when it did not.
func (o *orders) failure(name string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failed[name]
}

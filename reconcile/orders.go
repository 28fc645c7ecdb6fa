package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
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

// due lists the certificates to be obtained now: those whose moment has come, and
// those for which an order was begun and not ended.
func (o *orders) due(ctx context.Context, issuer anycert.Issuer, certificates []anycert.Certificate, truth Truth, now time.Time) []anycert.Certificate {
	if issuer == nil {
		return nil
	}
	unfinished := make(map[string]bool)
	limited, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	names, err := issuer.Unfinished(limited)
	o.changed.journals(err)
	for _, name := range names {
		unfinished[name] = true
	}
	var due []anycert.Certificate
	for _, c := range certificates {
		known, read := truth[c.Name]
		if !read || !orderable(c, known) {
			continue
		}
		renewal := issuer.Renewal(c, known.Entry, now)
		switch {
		case unfinished[c.Name], renewal.Due(now) && !o.inVain(known.Entry, renewal, now):
			due = append(due, c)
		case err == nil && !renewal.Due(now):
			o.settle(c.Name)
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
		err := o.failure(c.Name)
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("certificate %s: the time was over before its order was begun: allow more, or run it again: %w", c.Name, ctx.Err())
		}
		o.end(c.Name, err)
		return false
	}
	entry, err := obtain(ctx, issuer, c)
	if err != nil && errors.Is(ctx.Err(), context.Canceled) { // the end was asked for: it is gone on with later
		o.end(c.Name, o.failure(c.Name))
		return false
	}
	o.changed.order(c, entry, err)
	if errors.Is(err, anycert.ErrUnchanged) { // no order was made
		o.end(c.Name, nil)
		return false
	}
	o.count(c.Issuer, err)
	if err == nil {
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
	o.changed.order(c, entry, err)
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
	return &orders{changed: changed, slots: make(chan struct{}, ordersAtOnce),
		underWay: make(map[string]bool), failed: make(map[string]error), vain: make(map[string]vain),
		ended: make(map[string]Tally)}
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

// settle forgets why the last order for name failed, since none is due any more:
// somebody put a certificate there meanwhile, or changed what is declared.
func (o *orders) settle(name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
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

// overdue names the certificates that were never obtained and cannot be, and those
// whose renewal has been due for a quarter of the time that was left then, with the
// last failure: long before they expire, somebody has to look.
func (h *Hub) overdue(truth Truth, now time.Time) []string {
	var lines []string
	for _, c := range h.Certificates {
		known := truth[c.Name]
		if h.Issuer == nil || !orderable(c, known) {
			continue
		}
		why := ""
		err := h.orders.failure(c.Name)
		if err != nil {
			why = ": " + err.Error()
		}
		if known.Entry == nil {
			if err != nil {
				lines = append(lines, fmt.Sprintf("certificate %s: it could not be obtained yet%s", c.Name, why))
			}
			continue
		}
		end := known.Entry.Leaf.NotAfter
		renewal := h.Issuer.Renewal(c, known.Entry, now)
		if renewal.Due(now) && now.Sub(renewal.At) > end.Sub(renewal.At)/4 {
			lines = append(lines, fmt.Sprintf("certificate %s: its renewal is due since %s, and it expires at %s%s", c.Name, stamp(renewal.At), stamp(end), why))
		}
	}
	return lines
}

// unlessAbsent leaves out the absence of what nobody has put there yet: that is
// waiting, not a failure.
func unlessAbsent(err error) error {
	if errors.Is(err, anycert.ErrNotFound) {
		return nil
	}
	return err
}

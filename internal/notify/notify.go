// Package notify tells people of alarms: when each starts, when it changes and when it
// ends.
//
// What was told is kept in the store, in one record for each hub, under check-and-set:
// after a restart an end is still told, and of several daemons one tells. An event is put
// there before it is sent, and taken out when it was taken, so that none is lost with the
// process that was to send it; one may come twice, with the same id. While the store does
// not answer, what was told is remembered in memory alone, and goes on.
package notify

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/reconcile"
)

// Setup is what a Notifier is told by a configuration.
type Setup struct {
	Owner     string // of the configuration
	Records   anycert.Records
	Receivers []*Receiver
}

// Notifier tells receivers of alarms. Its methods may be called by several goroutines.
type Notifier struct {
	alarms func(time.Time) reconcile.Alarms
	log    *slog.Logger
	self   string // tells this process from others on the same store

	wake   chan struct{} // something was taken, or could not be
	reload chan reloaded

	mu     sync.Mutex
	counts map[string]*count // of receivers, by name

	// What follows belongs to the goroutine of Run.
	setup   Setup
	book    ledger
	version int                  // of the record that book was read from, or written to
	read    time.Time            // when it was
	unsaved bool                 // book holds what the record does not
	again   time.Time            // the store is not asked before
	over    map[string]time.Time // since when an alarm that is not told to be over is, by key
	senders map[string]sender    // by receiver
	told    string               // what was said last of the store
}

const (
	step         = 5 * time.Second  // between two looks at the alarms
	rereading    = time.Minute      // of the record, for what others wrote
	storeTime    = 10 * time.Second // for one call
	storePause   = 30 * time.Second // after one that failed
	rightsPause  = 10 * time.Minute // after one that the store does not allow
	lastWords    = 2 * time.Second  // for the record, when the end was asked for
	attemptsOnce = 4                // to write what somebody else writes at the same time
)

// New makes a notifier of what alarms tells. A receiver that fails is told to log, once.
func New(alarms func(time.Time) reconcile.Alarms, setup Setup, log *slog.Logger) *Notifier {
	n := &Notifier{alarms: alarms, log: log, self: rand.Text(), setup: setup,
		wake: make(chan struct{}, 1), reload: make(chan reloaded), counts: make(map[string]*count),
		book: newLedger(), over: make(map[string]time.Time), senders: make(map[string]sender)}
	n.count(setup)
	return n
}

// Run tells what there is to tell until ctx ends. It returns soon after that; what was not
// taken by then is sent by the next process, or by another one.
func (n *Notifier) Run(ctx context.Context) {
	work, stop := context.WithCancel(ctx)
	end := n.begin(work)
	ticker := time.NewTicker(step)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			stop()
			end()
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
			defer cancel()
			n.taken(last, time.Now())
			return
		case next := <-n.reload:
			stop()
			end()
			n.taken(ctx, time.Now())
			if work, stop = context.WithCancel(ctx); next.setup.Owner != n.setup.Owner {
				n.book, n.unsaved = newLedger(), false
			}
			n.setup, n.version, n.read, n.again = next.setup, 0, time.Time{}, time.Time{}
			end = n.begin(work)
			close(next.taken)
			continue
		case <-ticker.C:
		case <-n.wake:
		}
		n.look(work, time.Now())
	}
}

// Reload goes over to another configuration. It returns when the old one is not used any
// more, or ctx has ended.
func (n *Notifier) Reload(ctx context.Context, setup Setup) {
	n.count(setup)
	taken := make(chan struct{})
	select {
	case n.reload <- reloaded{setup, taken}:
	case <-ctx.Done():
		return
	}
	select {
	case <-taken:
	case <-ctx.Done():
	}
}

type reloaded struct {
	setup Setup
	taken chan<- struct{} // closed when nothing works with the setup before any more
}

// begin starts a sender for each receiver. end waits for them, which ctx has ended.
func (n *Notifier) begin(ctx context.Context) (end func()) {
	var wait sync.WaitGroup
	n.senders = make(map[string]sender)
	for _, receiver := range n.setup.Receivers {
		s := receiver.sender(n)
		n.senders[receiver.Name] = s
		wait.Go(func() { s.run(ctx) })
	}
	return wait.Wait
}

// look compares the alarms with what was told, keeps and sends what is new. Without
// receivers nothing is told, and nothing kept.
func (n *Notifier) look(ctx context.Context, now time.Time) {
	if len(n.setup.Receivers) == 0 {
		return
	}
	if now.Sub(n.read) >= rereading && !now.Before(n.again) {
		n.load(ctx, now)
	}
	n.taken(ctx, now)
	for name, s := range n.senders {
		s.hand(n.book, name, now)
	}
}

// taken is look without sending.
func (n *Notifier) taken(ctx context.Context, now time.Time) {
	if len(n.setup.Receivers) == 0 {
		return
	}
	alarms := n.alarms(now)
	for range attemptsOnce {
		next := n.book.clone()
		events := next.follow(alarms, n.over, now)
		next.post(events, n.webhooks(), n.self, now)
		changed := len(events) > 0
		changed = next.deliver(n.senders, n.self, now) || changed
		if !changed && !(n.unsaved && !now.Before(n.again)) {
			return
		}
		err := n.save(ctx, &next, now)
		if errors.Is(err, anycert.ErrConflict) {
			if err = n.load(ctx, now); err == nil {
				continue
			}
		}
		n.book, n.unsaved = next, err != nil
		n.say(events)
		return
	}
	n.again = now.Add(storePause) // others write all the time: later
}

// load reads the record. What was told while the store was away is not forgotten.
func (n *Notifier) load(ctx context.Context, now time.Time) error {
	if now.Before(n.again) {
		return anycert.ErrUnavailable
	}
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	n.read = now
	value, version, err := n.setup.Records.Load(ctx, anycert.KindAlarm, n.setup.Owner)
	stored := newLedger()
	switch {
	case errors.Is(err, anycert.ErrNotFound):
		version = 0
	case err == nil:
		stored, err = parseLedger(value.Reveal())
	}
	if err != nil && !errors.Is(err, anycert.ErrNotFound) {
		n.away(err, now)
		return err
	}
	if n.version = version; n.unsaved {
		stored.merge(n.book)
	}
	n.book = stored
	return nil
}

// save writes the next version of the record, if nobody else has.
func (n *Notifier) save(ctx context.Context, next *ledger, now time.Time) error {
	if now.Before(n.again) || n.read.IsZero() {
		return anycert.ErrUnavailable
	}
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	for _, letter := range next.tidy(now) {
		for _, receiver := range letter.To {
			n.dropped(receiver, letter.Event)
		}
	}
	version, err := n.setup.Records.Save(ctx, anycert.KindAlarm, n.setup.Owner, n.version, next.text())
	switch {
	case err == nil:
		n.version, n.read = version, now
		n.remembers(nil)
	case !errors.Is(err, anycert.ErrConflict):
		n.away(err, now)
	}
	return err
}

// away says that what is told cannot be kept, and leaves the store alone for a while.
func (n *Notifier) away(err error, now time.Time) {
	n.again = now.Add(storePause)
	if errors.Is(err, anycert.ErrForbidden) {
		n.again = now.Add(rightsPause)
	}
	n.remembers(err)
}

// remembers says once whether the store does. A store that is away is an alarm of its own.
func (n *Notifier) remembers(err error) {
	text := ""
	if errors.Is(err, anycert.ErrForbidden) || errors.Is(err, anycert.ErrMalformed) {
		text = err.Error()
	}
	if text != "" && text != n.told {
		n.log.Warn("what is told of alarms cannot be kept in the store: after a restart some may be told again, or their end not", "reason", text)
	}
	n.told = text
}

// say logs what is told, for who asks later why nobody was called.
func (n *Notifier) say(events []Event) {
	for _, e := range events {
		n.log.Info("alarm: "+string(e.Event), "alarm", e.Alarm.Key, "severity", string(e.Alarm.Severity), "text", e.Alarm.Text)
	}
}

// webhooks names the receivers that are told events, and not states.
func (n *Notifier) webhooks() []string {
	var names []string
	for _, r := range n.setup.Receivers {
		if r.webhook != nil {
			names = append(names, r.Name)
		}
	}
	slices.Sort(names)
	return names
}

// rouse lets Run look at once.
func (n *Notifier) rouse() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// count counts for the receivers of a setup, and for no others.
func (n *Notifier) count(setup Setup) {
	n.mu.Lock()
	defer n.mu.Unlock()
	before := n.counts
	n.counts = make(map[string]*count)
	for _, r := range setup.Receivers {
		if n.counts[r.Name] = before[r.Name]; n.counts[r.Name] == nil {
			n.counts[r.Name] = &count{ended: make(map[reconcile.Result]int)}
		}
	}
}

// clone is a copy that shares nothing that is changed.
func (l ledger) clone() ledger {
	l.Alarms, l.Outbox = maps.Clone(l.Alarms), slices.Clone(l.Outbox)
	return l
}

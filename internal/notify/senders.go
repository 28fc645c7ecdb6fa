package notify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anycert/anycert/reconcile"
)

// count is what is remembered of one receiver.
type count struct {
	ended   map[reconcile.Result]int
	failing string    // why it takes nothing; empty when it does
	since   time.Time // when that began
}

// States are those of all receivers, by name.
func (n *Notifier) States() []reconcile.ReceiverState {
	n.mu.Lock()
	defer n.mu.Unlock()
	var states []reconcile.ReceiverState
	for name, c := range n.counts {
		states = append(states, reconcile.ReceiverState{Name: name, Failing: c.failing != "", Ended: maps.Clone(c.ended)})
	}
	slices.SortFunc(states, func(a, b reconcile.ReceiverState) int { return strings.Compare(a.Name, b.Name) })
	return states
}

// Problems has a line for each receiver that takes nothing.
func (n *Notifier) Problems() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var lines []string
	for name, c := range n.counts {
		if c.failing != "" {
			lines = append(lines, fmt.Sprintf("receiver %s of alarms has taken nothing since %s: %s", name, c.since.UTC().Format("2006-01-02 15:04:05Z"), c.failing))
		}
	}
	slices.Sort(lines)
	return lines
}

// ended takes note of an attempt, and logs it where that is news.
func (n *Notifier) ended(receiver string, err error, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.counts[receiver]
	if c == nil { // the configuration has gone on without it
		return
	}
	if err == nil {
		if c.ended[reconcile.Success]++; c.failing != "" {
			n.log.Info("alarms reach the receiver again", "receiver", receiver)
		}
		c.failing, c.since = "", time.Time{}
		return
	}
	c.ended[reconcile.Failure]++
	if c.failing == "" {
		c.since = now
		n.log.Error("alarms do not reach the receiver", "receiver", receiver, "reason", err)
	}
	c.failing = err.Error()
}

// dropped takes note of an event that is not tried any more.
func (n *Notifier) dropped(receiver string, e Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if c := n.counts[receiver]; c != nil {
		c.ended[reconcile.Dropped]++
	}
	n.log.Error("an alarm was not told: its receiver did not take it for too long", "receiver", receiver, "alarm", e.Alarm.Key, "event", string(e.Event), "text", e.Alarm.Text)
}

// sender tells one receiver, on a goroutine of its own.
type sender interface {
	run(ctx context.Context)
	hand(l ledger, name string, now time.Time) // what there is to tell
	took(id string) bool                       // whether a letter need not be sent any more
	due() time.Time                            // of the next attempt; in the past when there is none
}

// pauseAfter is how long after so many failures in a row the next attempt is made.
func pauseAfter(failures int, err error) time.Duration {
	pause := min(5*time.Second<<(2*min(failures-1, 5)), maxWait)
	if refused := (refusal{}); errors.As(err, &refused) {
		pause = max(pause, refused.after)
	}
	return pause
}

// turn is when a sender may try again.
type turn struct {
	mu       sync.Mutex
	next     time.Time
	failures int
	ready    chan struct{}
}

func (t *turn) due() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.next
}

// wait waits until there is work, and it may be done. It returns false when ctx ended.
func (t *turn) wait(ctx context.Context) bool {
	select {
	case <-t.ready:
	case <-ctx.Done():
		return false
	}
	timer := time.NewTimer(time.Until(t.due()))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (t *turn) rouse() {
	select {
	case t.ready <- struct{}{}:
	default:
	}
}

func (t *turn) ended(err error, most time.Duration, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		t.failures, t.next = 0, time.Time{}
		return
	}
	t.failures++
	t.next = now.Add(min(pauseAfter(t.failures, err), most))
}

// postman sends letters to a webhook, one after the other, in their order.
type postman struct {
	turn
	notifier *Notifier
	name     string
	webhook  *webhook

	queue []errand
	done  map[string]time.Time // letters that need not be sent any more
}

// errand is an event to be sent. One that stands is not given up.
type errand struct {
	Event
	stands bool
}

// teller tells an Alertmanager what is on.
type teller struct {
	turn
	notifier     *Notifier
	name         string
	alertmanager *manager

	alerts []alert
	last   string // what was told last: names of what is on
	at     time.Time
}

func (r *Receiver) sender(n *Notifier) sender {
	ready := make(chan struct{}, 1)
	if r.webhook != nil {
		return &postman{turn: turn{ready: ready}, notifier: n, name: r.Name, webhook: r.webhook, done: make(map[string]time.Time)}
	}
	return &teller{turn: turn{ready: ready}, notifier: n, name: r.Name, alertmanager: r.alertmanager}
}

func (p *postman) hand(l ledger, name string, now time.Time) {
	p.mu.Lock()
	p.queue = nil
	for _, letter := range l.Outbox {
		if _, done := p.done[letter.ID]; !done && letter.By == p.notifier.self && slices.Contains(letter.To, name) {
			p.queue = append(p.queue, errand{letter.Event, l.stands(letter)})
		}
	}
	for id, at := range p.done {
		if now.Sub(at) > memory {
			delete(p.done, id)
		}
	}
	waiting := len(p.queue) > 0
	p.mu.Unlock()
	if waiting {
		p.rouse()
	}
}

func (p *postman) took(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, done := p.done[id]
	return done
}

// first is the letter to send next.
func (p *postman) first() (errand, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.queue {
		if _, done := p.done[l.ID]; !done {
			return l, true
		}
	}
	return errand{}, false
}

func (p *postman) run(ctx context.Context) {
	for p.wait(ctx) {
		sent := false
		for {
			next, ok := p.first()
			if !ok || !p.deliver(ctx, next) {
				break
			}
			sent = true
		}
		if sent { // once for all of them: each look may write to the store
			p.notifier.rouse()
		}
	}
}

// deliver sends an event, or gives one up that is too old. It returns false when that is to
// be tried again.
func (p *postman) deliver(ctx context.Context, e errand) bool {
	now := time.Now()
	if !e.stands && e.tooOld(now) {
		p.notifier.dropped(p.name, e.Event)
	} else {
		err := p.webhook.send(ctx, e.Event, now)
		if err != nil && ctx.Err() != nil {
			return false
		}
		p.notifier.ended(p.name, err, now)
		if p.ended(err, maxWait, time.Now()); err != nil {
			p.rouse() // for the next attempt
			return false
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done[e.ID] = now
	return true
}

func (t *teller) hand(l ledger, _ string, now time.Time) {
	list := alerts(l, t.alertmanager.hub, now)
	state := ""
	for _, a := range list {
		state += fmt.Sprint(a.Labels, a.Annotations["description"], a.EndsAt.After(now), "\n")
	}
	t.mu.Lock()
	news := state != t.last || len(list) > 0 && now.Sub(t.at) >= refresh
	if news {
		t.alerts, t.last, t.at = list, state, now
	}
	t.mu.Unlock()
	if news {
		t.rouse()
	}
}

// took is true: there are no letters to it.
func (*teller) took(string) bool { return true }

// patienceOfTeller is how long the pause between two attempts is at most: what it is told
// fades.
const patienceOfTeller = 5 * time.Minute

func (t *teller) run(ctx context.Context) {
	for t.wait(ctx) {
		t.mu.Lock()
		alerts := t.alerts
		t.mu.Unlock()
		if len(alerts) == 0 {
			continue
		}
		now := time.Now()
		err := t.alertmanager.send(ctx, alerts)
		if ctx.Err() != nil {
			return
		}
		t.notifier.ended(t.name, err, now)
		if t.ended(err, patienceOfTeller, time.Now()); err != nil {
			t.rouse()
		}
	}
}

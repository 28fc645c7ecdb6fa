package issuer

import (
	"cmp"
	"slices"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/issuer/limits"
)

// Plan implements [anycert.Issuer]. What is never to be obtained has no slot.
func (i *Issuer) Plan(wanted []anycert.Wanted, now time.Time) []anycert.Slot {
	queues := map[*ca]*planned{}
	for _, w := range wanted {
		c, order, renewal := i.next(w, now)
		if c == nil {
			continue
		}
		if queues[c] == nil {
			queues[c] = &planned{}
		}
		queues[c].add(order, renewal)
	}
	i.budgets.mu.Lock()
	defer i.budgets.mu.Unlock()
	var slots []slot
	for c, p := range queues {
		slots = append(slots, p.in(c, i.budgets.known[c.Name], now)...)
	}
	slices.SortFunc(slots, func(a, b slot) int {
		return cmp.Or(a.At.Compare(b.At), -cmp.Compare(a.Urgency, b.Urgency), a.due.Compare(b.due), cmp.Compare(a.Certificate, b.Certificate))
	})
	plain := make([]anycert.Slot, len(slots))
	for n, s := range slots {
		plain[n] = s.Slot
	}
	return plain
}

// next is the CA whose turn it is with a certificate, what its order takes from the
// limits, and when it is due.
func (i *Issuer) next(w anycert.Wanted, now time.Time) (*ca, spending, anycert.Renewal) {
	renewal := i.Renewal(w.Certificate, w.Entry, now)
	known, _ := i.outlooks.get(w.Certificate.Name)
	c, until := i.turn(w.Certificate, w.Entry, known.outlook, now)
	if c == nil || renewal.At.IsZero() {
		return nil, spending{}, renewal
	}
	if failed := renewal.Failure; failed != nil {
		failed.Next = until
	}
	order := &work{Issuer: i, ca: c, certificate: w.Certificate, entry: w.Entry, known: known.outlook, renewal: renewal}
	_, exempt := order.replaces(latestOf(now, renewal.At))
	return c, spending{certificate: w.Certificate.Name, names: w.Certificate.Domains, exempt: exempt,
		renews: order.renews(), urgency: renewal.Urgency}, renewal
}

// planned is what is to be obtained from one CA.
type planned struct {
	turns []limits.Turn
	slots []slot
}

// slot is a Slot, and since when it is due.
type slot struct {
	anycert.Slot
	due time.Time
}

// plan adds a certificate that is due at a time.
func (p *planned) add(order spending, renewal anycert.Renewal) {
	s := slot{due: renewal.At, Slot: anycert.Slot{Certificate: order.certificate, Urgency: renewal.Urgency, Reason: renewal.Reason}}
	from := renewal.At
	if failed := renewal.Failure; failed != nil && failed.Next.After(from) {
		from, s.Reason = failed.Next, "it failed, and is tried again then: "+failed.Text
	}
	p.turns = append(p.turns, limits.Turn{Order: order.order(), Rank: int(renewal.Urgency), From: from})
	p.slots = append(p.slots, s)
}

// in fills in when each can begin.
func (p *planned) in(c *ca, budget *limits.Budget, now time.Time) []slot {
	if budget == nil {
		budget = new(limits.Budget)
	}
	for n, start := range budget.Plan(c.table(), p.turns, now) {
		s := &p.slots[n]
		s.At = start.At
		switch {
		case start.Wait != nil:
			s.Reason = c.explain(*start.Wait)
		case !start.At.After(now):
			s.At, s.Reason = now, ""
		}
	}
	return p.slots
}

func latestOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

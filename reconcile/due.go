package reconcile

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/anycert/anycert"
)

// wanted are the certificates that an order may be made for.
func wanted(certificates []anycert.Certificate, truth Truth) (wanted []anycert.Wanted) {
	for _, c := range certificates {
		if known, read := truth[c.Name]; read && orderable(c, known) {
			wanted = append(wanted, anycert.Wanted{Certificate: c, Entry: known.Entry})
		}
	}
	return wanted
}

// current leaves out what was obtained since the store was asked: that was due then.
func (o *orders) current(all []anycert.Wanted, truth Truth) []anycert.Wanted {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.DeleteFunc(all, func(w anycert.Wanted) bool { return o.since(w.Certificate.Name, truth) })
}

// since reports whether a certificate was obtained since the store was asked. mu is held.
func (o *orders) since(name string, truth Truth) bool {
	wrote, ok := o.wrote[name]
	return ok && !wrote.Before(truth[name].asked)
}

// due lists the certificates to be obtained now, the most urgent first: those whose
// moment has come, and those for which an order was begun and not ended. What the CA's
// limits hold back waits, and that is no failure.
func (o *orders) due(ctx context.Context, issuer anycert.Issuer, all []anycert.Wanted, now time.Time) []anycert.Wanted {
	unfinished := make(map[string]bool)
	limited, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	names, err := issuer.Unfinished(limited)
	o.changed.journals(err)
	for _, name := range names {
		unfinished[name] = true
	}
	var due []anycert.Wanted
	for _, w := range all {
		renewal := issuer.Renewal(w.Certificate, w.Entry, now)
		switch {
		case unfinished[w.Certificate.Name], renewal.Due(now) && !o.inVain(w.Entry, renewal, now):
			due = append(due, w)
		case err == nil && !renewal.Due(now):
			o.settle(w.Certificate.Name)
		}
	}
	ready, held := byUrgency(issuer, due, unfinished, now)
	o.hold(slices.DeleteFunc(due, func(w anycert.Wanted) bool { // whether they hold an order that was begun, that order finds out
		_, waits := held[w.Certificate.Name]
		return unfinished[w.Certificate.Name] && !waits
	}), held)
	return ready
}

// byUrgency puts what is due into the issuer's order. What cannot begin yet is left out:
// held by the CA's limits, unless its order was begun, or waiting after a failure.
func byUrgency(issuer anycert.Issuer, due []anycert.Wanted, unfinished map[string]bool, now time.Time) (ready []anycert.Wanted, held map[string]anycert.Slot) {
	held = make(map[string]anycert.Slot)
	if len(due) == 0 {
		return nil, held
	}
	rank, later := make(map[string]int), make(map[string]anycert.Slot)
	for i, slot := range issuer.Plan(due, now) {
		rank[slot.Certificate] = i
		if slot.At.After(now) {
			later[slot.Certificate] = slot
		}
	}
	for _, w := range due {
		name := w.Certificate.Name
		slot, waits := later[name]
		failed := waits && afterFailure(issuer.Renewal(w.Certificate, w.Entry, now), slot)
		switch {
		case !waits, unfinished[name] && !failed:
			ready = append(ready, w)
		case !failed:
			held[name] = slot
		}
	}
	slices.SortStableFunc(ready, func(a, b anycert.Wanted) int {
		return cmp.Compare(rank[a.Certificate.Name], rank[b.Certificate.Name])
	})
	return ready, held
}

// afterFailure reports whether a slot is late since the last attempt failed, and not for
// the CA's limits.
func afterFailure(renewal anycert.Renewal, slot anycert.Slot) bool {
	return renewal.Failure != nil && !slot.At.After(renewal.Failure.Next)
}

// limited tells whether an order was postponed by the CA's limits: another took what was
// left since it was planned.
func limited(issuer anycert.Issuer, w anycert.Wanted, err error, now time.Time) (anycert.Slot, bool) {
	postponed := new(anycert.PostponedError)
	if !errors.As(err, &postponed) || !postponed.Limited {
		return anycert.Slot{}, false
	}
	urgency := issuer.Renewal(w.Certificate, w.Entry, now).Urgency
	return anycert.Slot{Certificate: w.Certificate.Name, At: postponed.Until, Urgency: urgency, Reason: postponed.Err.Error()}, true
}

// hold takes note of which of due wait for the CA's limits.
func (o *orders) hold(due []anycert.Wanted, held map[string]anycert.Slot) {
	for _, w := range due {
		name := w.Certificate.Name
		slot, waits := held[name]
		o.mu.Lock()
		if delete(o.waits, name); waits {
			o.waits[name] = slot
		}
		o.mu.Unlock()
		o.changed.waits(w.Certificate, slot, waits)
	}
}

// waiting is what the CA's limits hold back of a certificate.
func (o *orders) waiting(name string) (anycert.Slot, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	slot, ok := o.waits[name]
	return slot, ok
}

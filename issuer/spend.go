package issuer

import (
	"context"
	"errors"
	"time"

	"github.com/anycert/anycert"
)

// take takes the order from the CA's limits, once and as the last step before it is made:
// the journal says that it was taken. It decides as well which certificate the CA is told
// to be replaced, since that may make the order free.
func (w *work) take(ctx context.Context) error {
	begun := w.begun()
	if begun.Order != "" || begun.Taken {
		return nil
	}
	replaces, exempt := w.replaces(w.now())
	return w.takeAs(ctx, replaces, exempt)
}

// mayAsk fails as take would, by what is kept now: so that the CA is asked for nothing
// when it asked to be left alone.
func (w *work) mayAsk(ctx context.Context) error {
	if begun := w.begun(); begun.Order != "" || begun.Taken {
		return nil
	}
	if err := w.recallBudget(ctx, w.ca); err != nil {
		return err
	}
	return w.peek(w.now())
}

// peek fails as take would, by what was recalled last: so that nobody is troubled each
// minute by what has to wait for days.
func (w *work) peek(now time.Time) error {
	w.budgets.mu.Lock()
	defer w.budgets.mu.Unlock()
	budget := w.budgets.known[w.ca.Name]
	if budget == nil {
		return nil
	}
	_, exempt := w.replaces(now)
	if wait := budget.Look(w.ca.table(), w.spending(&journal{Exempt: exempt}).order(), now); wait != nil {
		return &anycert.PostponedError{Until: wait.Until, Err: errors.New(w.ca.explain(*wait)), Limited: true}
	}
	return nil
}

func (w *work) takeAs(ctx context.Context, replaces string, exempt bool) error {
	order := w.spending(&journal{Exempt: exempt})
	if err := w.ca.take(ctx, order, w.now()); err != nil {
		return err
	}
	w.at(LimitsTaken)
	if err := w.update(ctx, func(j *journal) { j.Taken, j.Exempt, j.ReplacesID = true, exempt, replaces }); err != nil {
		return err
	}
	w.at(OrderBefore)
	return nil
}

// spending is what the order of a journal takes.
func (w *work) spending(j *journal) spending {
	return spending{
		certificate: w.certificate.Name,
		names:       w.want.Domains,
		exempt:      j != nil && j.Exempt,
		renews:      w.renews(),
		urgency:     w.renewal.Urgency,
	}
}

// renews reports whether the CA has issued what is to be replaced, for just these names.
func (w *work) renews() bool { return w.ca.renews(w.certificate, w.entry) }

// patient is after how many failures an attempt is made in another way: without replaces,
// which may be what the CA fails at; without a rehearsal.
const patient = 3

// replaces names the certificate that the CA is told to be replaced: the one that it
// advised about, from the beginning of its window on. Within the window such an order is
// free (https://letsencrypt.org/docs/rate-limits/#limit-exemptions-for-renewals).
func (w *work) replaces(now time.Time) (id string, exempt bool) {
	if !w.renews() {
		return "", false
	}
	a := w.known.about(w.entry.Leaf)
	if a == nil || a.Start.IsZero() || now.Before(a.Start) {
		return "", false
	}
	if f, failed := w.known.failure(w.ca.Name, w.entry); failed && f.Class == anycert.OfCA && f.Attempts%patient == 0 {
		return "", false
	}
	return a.About, now.Before(a.End)
}

// restore gives back what an order has taken that came to nothing. What cannot be given
// back leaves the budget too small, not too large.
func (w *work) restore(ctx context.Context, j *journal) {
	if c := w.debtor(j); c != nil {
		_ = c.giveBack(ctx, w.taken(c, j), w.now())
	}
}

// spent takes note that an order of a process that died has led to a certificate.
func (w *work) spent(ctx context.Context, j *journal) {
	if c := w.debtor(j); c != nil {
		_ = c.issued(ctx, w.taken(c, j), w.now())
	}
}

// debtor is the CA from whose limits the order of a journal has taken; nil when from none.
func (w *work) debtor(j *journal) *ca {
	if j == nil || !j.Taken {
		return nil
	}
	c, ok := w.cas[j.want.Issuer]
	if !ok || c.directory != j.want.Directory {
		return nil
	}
	return c
}

// taken is what the order of a journal has taken.
func (w *work) taken(c *ca, j *journal) spending {
	return spending{certificate: w.certificate.Name, names: j.want.Domains, exempt: j.Exempt,
		renews: c.renews(w.certificate, w.entry), urgency: w.renewal.Urgency}
}

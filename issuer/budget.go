package issuer

import (
	"context"
	"sync"
	"time"

	"github.com/anycert/anycert"
)

// budgets are what is left of the CAs' limits, as it was read last.
type budgets struct {
	mu sync.Mutex
}

// recallBudgets reads what is left.
func (i *Issuer) recallBudgets(ctx context.Context) error { return nil }

// spending is what one order takes from the limits of its CA.
type spending struct {
	names   []string
	exempt  bool // the CA does not count it: a renewal at the time that the CA advised
	urgency anycert.Urgency
}

// take takes what a new order needs from the limits, for all processes. It fails with
// a *anycert.PostponedError when there is not enough, and has then taken nothing.
func (c *ca) take(ctx context.Context, order spending, now time.Time) error { return nil }

// giveBack returns what an order that led to no certificate has not used.
func (c *ca) giveBack(ctx context.Context, order spending, now time.Time) error { return nil }

// failedAuthorization takes note that the CA could not validate names.
func (c *ca) failedAuthorization(ctx context.Context, names []string, now time.Time) error {
	return nil
}

// obey takes note of a Retry-After that came with a refusal (429, or 503), for all
// processes. What is no such refusal is ignored.
func (c *ca) obey(ctx context.Context, order spending, refusal error, now time.Time) error {
	return nil
}

// Plan implements [anycert.Issuer].
func (i *Issuer) Plan(wanted []anycert.Wanted, now time.Time) []anycert.Slot {
	slots := make([]anycert.Slot, len(wanted))
	for n, w := range wanted {
		slots[n] = anycert.Slot{Certificate: w.Certificate.Name, At: now}
	}
	return slots
}

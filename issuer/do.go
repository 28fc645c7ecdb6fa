package issuer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/failures"
)

// maxPostpone bounds what a CA may ask us to wait.
const maxPostpone = 7 * 24 * time.Hour

// do makes the order that is claimed, stores what comes of it and ends the
// journal; or keeps the failure in the journal.
func (w *work) do(ctx context.Context, solver Prover) (anycert.Entry, error) {
	kept, stop := w.keep(ctx)
	entry, err := w.run(kept, solver)
	lost := context.Cause(kept)
	stop()
	switch {
	case err == nil:
		return entry, w.discard(ctx)
	case errors.Is(lost, anycert.ErrClaimed):
		return anycert.Entry{}, lost
	case errors.Is(err, anycert.ErrClaimed):
		return anycert.Entry{}, err
	case lost != nil, errors.As(err, new(uncounted)):
		// The order is none the worse for it: whoever comes next goes on.
		return anycert.Entry{}, failures.Join(err, w.release(ctx, func(*journal) {}))
	}
	return anycert.Entry{}, w.failed(ctx, err)
}

// run goes from the journal to the store. An account that the CA has lost is made
// anew, once.
func (w *work) run(ctx context.Context, solver Prover) (anycert.Entry, error) {
	if err := w.look(ctx); err != nil { // again: it may have been obtained before it was claimed
		return anycert.Entry{}, err
	}
	if !w.due && w.entry != nil {
		return *w.entry, nil
	}
	var bundle *anycert.Bundle
	gone := ""
	for {
		session, err := w.ca.connect(ctx, gone)
		if err != nil {
			return anycert.Entry{}, err
		}
		bundle, err = w.order(ctx, session, solver)
		if err == nil {
			break
		}
		if gone != "" || !isKind(err, "accountDoesNotExist") {
			return anycert.Entry{}, err
		}
		gone = session.account.URL
	}
	w.at(Downloaded)
	return w.put(ctx, bundle)
}

// put stores a bundle as the version after the one that it replaces. When somebody
// else has written meanwhile what is as good, that stays.
func (w *work) put(ctx context.Context, bundle *anycert.Bundle) (anycert.Entry, error) {
	if err := w.update(ctx, func(*journal) {}); err != nil {
		return anycert.Entry{}, err
	}
	const tries = 3
	for try := 1; ; try++ {
		if err := w.look(ctx); err != nil {
			return anycert.Entry{}, err
		}
		expected := 0
		if w.entry != nil {
			if !w.due {
				return *w.entry, nil
			}
			expected = w.entry.Version
		}
		entry, err := w.store.Put(ctx, w.certificate.Name, expected, bundle, w.want.origin())
		if err == nil {
			w.at(Stored)
			return entry, nil
		}
		if !errors.Is(err, anycert.ErrConflict) || try == tries {
			return anycert.Entry{}, uncounted{fmt.Errorf("storing the certificate: %w", err)}
		}
	}
}

// failed keeps a failure in the journal, and when to try again.
func (w *work) failed(ctx context.Context, err error) error {
	var next time.Time
	attempts := 0
	saved := w.release(ctx, func(j *journal) {
		j.Attempts++
		j.Error = err.Error()
		pause := max(backoff(j.Attempts), askedPause(err))
		j.Next = w.now().Add(pause).UTC().Truncate(time.Second)
		if rejected := new(unusable); errors.As(err, &rejected) {
			j.Order = ""
			if rejected.key {
				j.Key, j.CSR = "", nil
			}
		}
		attempts, next = j.Attempts, j.Next
	})
	if saved != nil {
		return failures.Join(err, saved)
	}
	return fmt.Errorf("%w (attempt %d, the next one is made after %s)", err, attempts, next.Format(time.RFC3339))
}

// backoff is the pause after so many failures: 1, 10 and 100 minutes, then a day,
// give or take a tenth, as Let's Encrypt asks its clients
// (https://letsencrypt.org/docs/integration-guide/#retrying-failures).
func backoff(failures int) time.Duration {
	pauses := []time.Duration{time.Minute, 10 * time.Minute, 100 * time.Minute, 24 * time.Hour}
	pause := pauses[min(failures, len(pauses))-1]
	return pause*9/10 + rand.N(pause/5)
}

// unusable says that an order, or its key as well, is of no use any more.
type unusable struct {
	error
	key bool
}

func (e *unusable) Unwrap() error { return e.error }

package issuer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/failures"
)

// maxPostpone bounds what a CA may ask us to wait.
const maxPostpone = 7 * 24 * time.Hour

// do makes the order that is claimed, stores what comes of it and ends the
// journal; or keeps the failure.
func (w *work) do(ctx context.Context, solver Prover) (anycert.Entry, error) {
	kept, stop := w.keep(ctx)
	entry, err := w.run(kept, solver)
	lost := context.Cause(kept)
	stop()
	switch {
	case err == nil:
		if err := w.discard(ctx); !errors.Is(err, anycert.ErrClaimed) { // then another process ended it
			return entry, err
		}
		return entry, nil
	case errors.Is(lost, anycert.ErrClaimed):
		return anycert.Entry{}, lost
	case errors.Is(err, anycert.ErrClaimed):
		return anycert.Entry{}, err
	case lost != nil, errors.As(err, new(uncounted)):
		// The order is none the worse for it: whoever comes next goes on.
		return anycert.Entry{}, failures.Join(err, w.release(ctx, func(*journal) {}))
	case errors.As(err, new(*anycert.PostponedError)):
		return anycert.Entry{}, failures.Join(err, w.wait(ctx))
	}
	return anycert.Entry{}, w.fail(ctx, err)
}

// wait leaves an order that the limits do not let begin. Without an order at the CA, a
// key has no reason to lie in a journal for days.
func (w *work) wait(ctx context.Context) error {
	if w.begun().Order == "" {
		return w.discard(ctx)
	}
	return w.release(ctx, func(*journal) {})
}

// run goes from the journal to the store. An account that the CA has lost, or takes no
// more since it has no binding, is made anew, once.
func (w *work) run(ctx context.Context, solver Prover) (anycert.Entry, error) {
	if err := w.look(ctx); err != nil { // again: it may have been obtained before it was claimed
		return anycert.Entry{}, err
	}
	if !w.due() && w.entry != nil {
		return *w.entry, nil
	}
	if err := w.mayAsk(ctx); err != nil {
		return anycert.Entry{}, err
	}
	var bundle *anycert.Bundle
	gone := account{}
	for {
		session, err := w.connect(ctx, gone)
		if err != nil {
			return anycert.Entry{}, err
		}
		bundle, err = w.order(ctx, session, solver)
		if err == nil {
			break
		}
		switch unbound := w.ca.unbound(err); {
		case gone.URL != "" || !unbound && !isKind(err, "accountDoesNotExist"):
			return anycert.Entry{}, err
		case unbound:
			gone = session.account
		default:
			gone.URL = session.account.URL
		}
	}
	w.at(Downloaded)
	// A budget that cannot be written stays as it is: the order is held there.
	_ = w.ca.issued(ctx, w.spending(w.begun()), w.now())
	return w.put(ctx, bundle)
}

// connect opens a session that ends with the claim.
func (w *work) connect(ctx context.Context, gone account) (*session, error) {
	s, err := w.ca.connect(ctx, gone)
	if err != nil {
		return nil, err
	}
	s.bound.guard = w.fence
	return s, nil
}

// put stores a bundle as the version after the one that it replaces. When somebody
// else has written meanwhile what is as good, that stays.
func (w *work) put(ctx context.Context, bundle *anycert.Bundle) (anycert.Entry, error) {
	const tries = 3
	for try := 1; ; try++ {
		if err := w.update(ctx, func(j *journal) { j.Taken = false }); err != nil { // it counts now, for good
			return anycert.Entry{}, err
		}
		if err := w.look(ctx); err != nil {
			return anycert.Entry{}, err
		}
		if w.entry != nil && !w.due() {
			return *w.entry, nil
		}
		w.at(StoreBefore)
		entry, err := w.store.Put(ctx, w.certificate.Name, versionOf(w.entry), bundle, w.want.origin())
		if err == nil {
			w.at(Stored)
			w.entry = &entry
			w.succeed(ctx)
			return entry, nil
		}
		if !errors.Is(err, anycert.ErrConflict) || try == tries {
			return anycert.Entry{}, uncounted{fmt.Errorf("storing the certificate: %w", err)}
		}
	}
}

// succeed forgets how the attempts before this one failed. They are about a version
// that is not the current one any more, so nobody heeds them if this cannot be written.
func (w *work) succeed(ctx context.Context) {
	if len(w.known.Failures) > 0 {
		_, _ = w.amend(ctx, w.certificate.Name, w.entry.Version, func(o *outlook) bool {
			had := len(o.Failures) > 0
			o.Failures = nil
			return had
		})
	}
	w.at(Forgotten)
}

// fail keeps a failure, and gives the claim back. The failure is written first: whoever
// finds the journal free knows of it.
func (w *work) fail(ctx context.Context, err error) error {
	told := w.keepFailure(ctx, err)
	w.at(FailureWritten)
	dropped := &journal{}
	saved := w.release(ctx, func(j *journal) {
		j.Attempts, j.Error, j.Next = 0, "", time.Time{}
		rejected := new(unusable)
		if errors.As(err, &rejected) || j.Order == "" {
			*dropped = *j
			j.Order, j.Taken, j.Exempt, j.ReplacesID = "", false, false, ""
		}
		if rejected.key {
			j.Key, j.CSR = "", nil
		}
	})
	if saved != nil {
		return failures.Join(told, saved)
	}
	w.restore(ctx, dropped)
	return told
}

// keepFailure keeps how an attempt ended, for all processes, and tells when the next one
// is made.
func (w *work) keepFailure(ctx context.Context, err error) error {
	if errors.As(err, new(uncounted)) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	w.tell(ctx, err)
	name, config := w.ca.Name, fingerprint(w.ca.Config, w.want)
	var last failure
	read, saved := w.amend(ctx, w.certificate.Name, versionOf(w.entry), func(o *outlook) bool {
		before, _ := o.failure(name, w.entry)
		if j := w.begun(); before.Attempts == 0 && j != nil && j.want.equal(w.want) {
			before = j.older(config, w.entry)
		}
		last = before.again(err, config, situation{entry: w.entry, request: w.request, now: w.now()})
		all := maps.Clone(o.Failures)
		if all == nil {
			all = make(map[string]failure)
		}
		maps.DeleteFunc(all, func(name string, _ failure) bool { return !slices.Contains(w.certificate.Issuers(), name) })
		all[name] = last
		o.Failures = all
		return true
	})
	if saved != nil {
		return failures.Join(err, saved)
	}
	w.known = read.outlook
	return fmt.Errorf("%w (attempt %d, the next one is made after %s)", err, last.Attempts, stamp(last.Next))
}

// older is the failure that an older release kept in the journal.
func (j *journal) older(config string, entry *anycert.Entry) failure {
	if j.Attempts == 0 {
		return failure{}
	}
	return failure{Class: anycert.Passing, Attempts: j.Attempts, Config: config, Version: versionOf(entry)}
}

// tell lets the limits know what the CA said.
func (w *work) tell(ctx context.Context, err error) {
	if errors.As(err, new(rehearsed)) {
		return
	}
	order, now := w.spending(w.begun()), w.now()
	if names := invalidated(err); len(names) > 0 {
		_ = w.ca.failedAuthorization(ctx, names, now)
	}
	_ = w.ca.obey(ctx, order, err, now)
}

package issuer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/anycert/anycert"
)

// lastWords is what the last write of a journal may take after the context of its
// order has ended.
const lastWords = 4 * time.Second

// work is one order under way.
type work struct {
	*Issuer
	ca          *ca // whose turn it is
	certificate anycert.Certificate
	want        want

	entry   *anycert.Entry // what the store has; nil when nothing
	renewal anycert.Renewal
	known   outlook          // as it was read when the work was opened
	request *anycert.Request // of a person, about that entry; nil: none

	mu      sync.Mutex // of the journal: steps and heartbeat write it
	journal *journal   // never changed in place
	version int
	lose    context.CancelCauseFunc // ends the work when the claim is lost; nil before it is kept
}

// open reads what the store has, the journal, and what is known about the renewal, and
// tells whether there is nothing to do, or nothing yet.
func (w *work) open(ctx context.Context) (anycert.Entry, bool, error) {
	var err error
	if w.journal, w.version, err = w.loadJournal(ctx, w.certificate.Name); err != nil {
		return anycert.Entry{}, false, err
	}
	if err := w.look(ctx); err != nil {
		return anycert.Entry{}, false, err
	}
	if err := w.recall(ctx); err != nil {
		return anycert.Entry{}, false, err
	}
	if w.journal != nil {
		if w.journal.Claim.held(w.holder, w.now()) {
			return anycert.Entry{}, false, anycert.ErrClaimed
		}
		if w.journal.stored(w.entry) {
			w.spent(ctx, w.journal)
		}
		if w.journal.Done || !w.due() || w.journal.stored(w.entry) {
			if err := w.discard(ctx); err != nil {
				return anycert.Entry{}, false, err
			}
		}
	}
	switch {
	case !w.due() && w.entry != nil:
		return *w.entry, true, nil
	case !w.due():
		return anycert.Entry{}, false, errors.New(w.renewal.Reason)
	}
	return anycert.Entry{}, false, w.choose()
}

// look reads what the store has.
func (w *work) look(ctx context.Context) error {
	entry, err := w.stat(ctx, w.certificate.Name)
	switch {
	case errors.Is(err, anycert.ErrNotFound):
		w.entry = nil
	case err != nil:
		return uncounted{fmt.Errorf("looking at what the store has: %w", err)}
	default:
		w.entry = &entry
	}
	w.judge()
	return nil
}

// judge finds out whether what the store has is due.
func (w *work) judge() {
	w.renewal = w.Renewal(w.certificate, w.entry, w.now())
	w.request = w.requested(w.certificate.Name, versionOf(w.entry))
}

func (w *work) due() bool { return w.renewal.Due(w.now()) }

// recall reads what is known about the renewal, which another process may have written,
// and judges again.
func (w *work) recall(ctx context.Context) error {
	read, err := w.recollect(ctx, w.certificate.Name, versionOf(w.entry))
	if err != nil && !errors.Is(err, anycert.ErrMalformed) {
		return uncounted{err}
	}
	w.known = read.outlook
	w.judge()
	return nil
}

// choose finds the issuer whose turn it is. An order that was begun and has not failed
// goes on where it was begun. The error is a *PostponedError while nobody is to be
// asked.
func (w *work) choose() error {
	now := w.now()
	begun := w.journal != nil && w.goesOn()
	if !begun {
		c, until := w.turn(w.certificate, w.entry, w.known, now)
		if w.turnTo(c); !until.IsZero() {
			if failed := w.failed(w.certificate, w.entry, w.known, now); failed != nil {
				return &anycert.PostponedError{Until: until, Err: errors.New(failed.Text)}
			}
			return w.peek(now)
		}
		if err := w.olderFailure(now); err != nil {
			return err
		}
	}
	if begun && (w.journal.Taken || w.journal.Order != "") {
		return nil
	}
	return w.peek(now)
}

func (w *work) turnTo(c *ca) { w.ca, w.want = c, c.wants(w.certificate) }

// goesOn reports whether the journal's order is to be gone on with, and turns to its
// issuer.
func (w *work) goesOn() bool {
	for _, name := range w.certificate.Issuers() {
		c, ok := w.cas[name]
		if !ok || !w.journal.want.equal(c.wants(w.certificate)) {
			continue
		}
		if _, failed := w.known.failure(name, w.entry); failed || w.journal.Attempts > 0 {
			return false
		}
		w.turnTo(c)
		return true
	}
	return false
}

// olderFailure heeds one that an older release kept in the journal.
func (w *work) olderFailure(now time.Time) error {
	j := w.journal
	if j == nil || j.Attempts == 0 || !j.want.equal(w.want) || !now.Before(j.Next) || w.request != nil {
		return nil
	}
	return &anycert.PostponedError{Until: j.Next, Err: errors.New(j.Error)}
}

// prepare reads the credentials and looks for challenge records that are somebody
// else's. What is wrong here is told without having troubled the CA.
func (w *work) prepare(ctx context.Context) (Prover, error) {
	solver, err := w.prover(ctx, w.ca.Config)
	if err == nil && !w.resumes() {
		err = solver.Look(ctx, w.want.Domains)
	}
	switch {
	case err == nil:
		return solver, nil
	case ctx.Err() != nil:
		return nil, uncounted{err}
	}
	return nil, unreadable(err)
}

// resumes reports whether the journal has an order that is to be gone on with.
func (w *work) resumes() bool { return w.fits() && w.journal.Order != "" }

// fits reports whether the journal is about what is wanted now.
func (w *work) fits() bool {
	return w.journal != nil && w.journal.want.equal(w.want) && !w.outdated()
}

// outdated reports whether the journal's key is older than a person's wish for another:
// it may be the one that others know.
func (w *work) outdated() bool {
	return w.anotherKey() && !w.journal.Request.Equal(w.request.Time)
}

// anotherKey reports whether a person asked for one.
func (w *work) anotherKey() bool {
	return w.request != nil && (w.request.RotateKey || w.request.Compromised)
}

package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/anycert/anycert"
	joined "github.com/anycert/anycert/internal/failures"
)

// Asked is what is to be replaced, and under which request.
type Asked struct {
	Certificate anycert.Certificate
	Request     anycert.Request
	Before      bool // it was replaced before: it is only to be looked at
}

// Ask finds out what is to be asked for, so that each of certificates is replaced once.
// Entries that were written by hand are indexed, unless it is a rehearsal, which writes
// nothing. What was asked for before and is not done is gone on with; what the
// store got since the first of that was asked for is done already, and so is what it got
// since another moment that a person names. An error means that the store does not say of
// each certificate what it has.
func (h *Hub) Ask(ctx context.Context, certificates []anycert.Certificate, request anycert.Request, since time.Time, rehearsal bool) ([]Asked, error) {
	truth := readTruth(ctx, h.Store, certificates)
	if !rehearsal {
		h.indexer.index(ctx, truth)
	}
	if err := h.recall(ctx, wanted(certificates, truth), false, recallTimeout); err != nil {
		return nil, err
	}
	pending := h.requests()
	begun := since
	for _, c := range certificates {
		before, ok := pending[c.Name]
		if first := firstAsked(before); since.IsZero() && ok && goesOnWith(before, request) && (begun.IsZero() || first.Before(begun)) {
			begun = first
		}
	}
	goesOn := !begun.IsZero()
	if request.Begun = begun; !goesOn {
		request.Begun = request.Time
	}
	var (
		asked []Asked
		wrong []error
	)
	for _, c := range certificates {
		known := truth[c.Name]
		before, isPending := pending[c.Name]
		version, written := 0, time.Time{}
		switch {
		case known.Entry != nil:
			version, written = known.Entry.Version, known.Entry.Time
		case !errors.Is(known.Err, anycert.ErrNotFound):
			wrong = append(wrong, fmt.Errorf("certificate %s: %w", c.Name, known.Err))
			continue
		case request.Revokes():
			wrong = append(wrong, fmt.Errorf("certificate %s: nothing was issued yet, so there is nothing to be revoked", c.Name))
			continue
		}
		mine := request
		mine.Version = version
		switch {
		case isPending && goesOnWith(before, request):
			if request.Revokes() && request.Deadline.Before(before.Deadline) {
				before.Deadline = request.Deadline
			}
			before.Time, before.Begun = request.Time, firstAsked(before)
			asked = append(asked, Asked{Certificate: c, Request: before})
		case goesOn && written.After(begun):
			mine.Version = version - 1
			asked = append(asked, Asked{Certificate: c, Request: mine, Before: true})
		default:
			asked = append(asked, Asked{Certificate: c, Request: mine})
		}
	}
	return asked, joined.Join(wrong...)
}

// firstAsked is when the command was given first that asked for it.
func firstAsked(r anycert.Request) time.Time {
	if r.Begun.IsZero() {
		return r.Time
	}
	return r.Begun
}

// goesOnWith reports whether who does what was asked for before does what is asked for now.
func goesOnWith(before, now anycert.Request) bool {
	return (before.RotateKey || before.Compromised || !now.RotateKey) &&
		(before.Compromised || !now.Compromised) &&
		(before.Superseded || before.Compromised || !now.Superseded)
}

// Keep writes what is asked for into the store. What could not be written is told; the
// rest is asked for.
func (h *Hub) Keep(ctx context.Context, asked []Asked) error {
	requester, ok := h.Issuer.(anycert.Requester)
	if !ok {
		return errors.New("this configuration has no issuer that can be asked for anything")
	}
	failed := make([]error, len(asked))
	var group errgroup.Group
	group.SetLimit(ordersAtOnce)
	for i := range asked {
		if asked[i].Before || ctx.Err() != nil {
			continue
		}
		group.Go(func() error {
			limited, cancel := context.WithTimeout(ctx, settleTimeout)
			defer cancel()
			kept, err := requester.Request(limited, asked[i].Certificate, asked[i].Request)
			if failed[i] = err; err == nil {
				asked[i].Request = kept
			}
			return nil
		})
	}
	_ = group.Wait()
	return joined.Join(failed...)
}

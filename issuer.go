package anycert

import (
	"context"
	"time"
)

// Issuer obtains certificates and puts them into the store.
//
// Its methods may be called by several goroutines at once, also by several
// processes on one store: for each certificate there is one order.
type Issuer interface {
	// Renewal tells when a certificate is to be obtained next and why. It asks
	// nobody. entry is nil when the store has none.
	Renewal(certificate Certificate, entry *Entry, now time.Time) Renewal

	// Obtain makes the order, or goes on with the one that was begun, and returns
	// what it wrote to the store. It looks again, after claiming the order, that
	// the work still needs to be done. ErrClaimed: another process is at it.
	// *PostponedError: it failed before and is not tried again yet.
	Obtain(ctx context.Context, certificate Certificate) (Entry, error)

	// Unfinished lists the certificates for which an order was begun and not
	// ended.
	Unfinished(ctx context.Context) ([]string, error)
}

// Renewal is when a certificate is to be obtained next.
type Renewal struct {
	At     time.Time // zero: never, someone else keeps it
	Reason string    // for people, without a full stop: "a third of its lifetime is left"
}

// Due reports whether that moment has come.
func (r Renewal) Due(now time.Time) bool { return !r.At.IsZero() && !now.Before(r.At) }

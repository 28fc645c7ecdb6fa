package anycert

import (
	"errors"
	"fmt"
	"time"
)

// What can be wrong, told apart by errors.Is. The first group are the states of a
// store; they differ because each asks for another person to do another thing, and
// because none of them ever means that a target may be emptied.
var (
	// ErrNotFound: nothing was ever stored under the name.
	ErrNotFound = errors.New("not in the store")
	// ErrDeleted: there was something, and its current version was deleted or destroyed.
	ErrDeleted = errors.New("deleted in the store")
	// ErrForbidden: the store, or a sink, does not let us.
	ErrForbidden = errors.New("permission denied")
	// ErrUnavailable: sealed, not reachable, in the middle of an election, or out
	// of time. It passes by itself or by an operator's hand; ask again later.
	ErrUnavailable = errors.New("unavailable")
	// ErrMalformed: what was read is not what it should be.
	ErrMalformed = errors.New("malformed")
	// ErrConflict: somebody else wrote first (check-and-set).
	ErrConflict = errors.New("changed by someone else meanwhile")
	// ErrUnindexed: the metadata of an entry does not speak of its current
	// version, so that only a reader of the data could tell more.
	ErrUnindexed = errors.New("written by hand and not looked at yet: run `anycert sync` once")

	// ErrUnfit: the certificate must not be served; see Check.
	ErrUnfit = errors.New("not fit to be served")
	// ErrRefused: the target is someone else's, or may not be changed.
	ErrRefused = errors.New("refused")
	// ErrClaimed: another process is at this order; leave it.
	ErrClaimed = errors.New("another process is at it")
	// ErrUnchanged: an issuer looked for something newer than the store has, and there
	// is nothing. Nothing was written, and nothing is wrong.
	ErrUnchanged = errors.New("nothing newer is there")
)

// PostponedError says that an order is not tried before Until, and what went wrong
// the last time; or, Limited, what limit of the CA it waits for: then nothing went wrong.
type PostponedError struct {
	Until   time.Time
	Err     error
	Limited bool
}

func (e *PostponedError) Error() string {
	return fmt.Sprintf("not tried again before %s: %v", e.Until.UTC().Format(time.RFC3339), e.Err)
}

func (e *PostponedError) Unwrap() error { return e.Err }

package reconcile

import (
	"context"
	"errors"
	"net"

	"github.com/anycert/anycert"
)

// Outcome is how a push or an order ended, in words from closed sets: to count by. What
// exactly went wrong is in the log; no text from elsewhere is in an Outcome.
type Outcome struct {
	Result Result
	Reason Reason
}

// Result is the half of an Outcome that tells whether somebody has to look.
type Result string

const (
	Success  Result = "success"
	Failure  Result = "failure"
	Deferred Result = "deferred" // left for later, or to another process
	Dropped  Result = "dropped"  // tried for too long, and given up
)

// Reason is the half of an Outcome that tells where to look. Most have the name of an
// error of package anycert.
type Reason string

const (
	NoReason    Reason = "none"        // of a success
	Claimed     Reason = "claimed"     // another process is at the order
	Postponed   Reason = "postponed"   // the order failed before and is not tried again yet
	Undone      Reason = "undone"      // the sink took what was pushed, and then something else was seen there
	Forbidden   Reason = "forbidden"   // by the store, the sink or the CA
	NotOurs     Reason = "refused"     // the object is someone else's, or may not be changed
	Unfit       Reason = "unfit"       // the certificate must not be served
	Conflict    Reason = "conflict"    // somebody else wrote first
	Malformed   Reason = "malformed"   // what was read is not what it should be
	NotFound    Reason = "not_found"   // the store has nothing
	Deleted     Reason = "deleted"     // the store had something
	Unindexed   Reason = "unindexed"   // the store's metadata does not speak of the version
	Timeout     Reason = "timeout"     // there was no answer in time
	Unavailable Reason = "unavailable" // sealed, not reachable, overloaded
	Other       Reason = "other"
)

// failures are the reasons that anything may have.
var failures = [...]Reason{Forbidden, NotOurs, Unfit, Conflict, Malformed, NotFound, Deleted, Unindexed, Timeout, Unavailable, Other}

// reasonOf finds the reason of an error, the most telling first.
func reasonOf(err error) Reason {
	var (
		postponed *anycert.PostponedError
		network   net.Error
	)
	switch {
	case err == nil:
		return NoReason
	case errors.As(err, &postponed):
		return Postponed
	case errors.Is(err, anycert.ErrClaimed):
		return Claimed
	case errors.Is(err, anycert.ErrForbidden):
		return Forbidden
	case errors.Is(err, anycert.ErrRefused):
		return NotOurs
	case errors.Is(err, anycert.ErrUnfit):
		return Unfit
	case errors.Is(err, anycert.ErrConflict):
		return Conflict
	case errors.Is(err, anycert.ErrMalformed):
		return Malformed
	case errors.Is(err, anycert.ErrNotFound):
		return NotFound
	case errors.Is(err, anycert.ErrDeleted):
		return Deleted
	case errors.Is(err, anycert.ErrUnindexed):
		return Unindexed
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return Timeout
	case errors.Is(err, anycert.ErrUnavailable), network != nil:
		return Unavailable
	}
	return Other
}

// orderOutcome tells how an order ended.
func orderOutcome(err error) Outcome {
	switch reason := reasonOf(err); reason {
	case NoReason:
		return Outcome{Success, reason}
	case Claimed, Postponed:
		return Outcome{Deferred, reason}
	default:
		return Outcome{Failure, reason}
	}
}

// pushOutcome tells how the push of a promise ended, and false when there was none. A
// push that could not begin, since the store did not give the bundle, is one that failed.
func (p Promise) pushOutcome() (Outcome, bool) {
	switch {
	case !p.Pushed && (p.Action == None || p.Err == nil):
		return Outcome{}, false
	case p.arrived() && (p.Verdict == Kept || p.Verdict == Waiting || p.Verdict == Unknown):
		return Outcome{Success, NoReason}, true
	case p.Err == nil:
		return Outcome{Failure, Undone}, true
	}
	return Outcome{Failure, reasonOf(p.Err)}, true
}

// Tally counts outcomes since the process began. It has every outcome that can be,
// those that never were with 0.
type Tally map[Outcome]int

func newTally(more ...Outcome) Tally {
	tally := Tally{{Success, NoReason}: 0}
	for _, reason := range failures {
		tally[Outcome{Failure, reason}] = 0
	}
	for _, outcome := range more {
		tally[outcome] = 0
	}
	return tally
}

// NewPushTally has 0 for each way in which a push can end.
func NewPushTally() Tally { return newTally(Outcome{Failure, Undone}) }

// NewOrderTally has 0 for each way in which an order can end.
func NewOrderTally() Tally {
	return newTally(Outcome{Deferred, Claimed}, Outcome{Deferred, Postponed})
}

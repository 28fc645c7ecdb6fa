package anycert

import (
	"context"
	"crypto/x509"
	"time"
)

// Issuer obtains certificates and puts them into the store.
//
// Its methods may be called by several goroutines at once, also by several
// processes on one store: for each certificate there is one order.
type Issuer interface {
	// Recall reads what the store keeps about the renewal of certificates: what the
	// CA advised (ARI, RFC 9773), what failed, what a person asked for, what is left
	// of the CA's limits. Renewal and Plan know it from then on. With ask, the CAs
	// are asked for advice where it is due to be asked again, and the answer is kept.
	// What could not be read or asked stays as it was; the error is for people, and
	// no reason to do less.
	Recall(ctx context.Context, wanted []Wanted, ask bool) error

	// Renewal tells when a certificate is to be obtained next and why. It asks
	// nobody. entry is nil when the store has none.
	Renewal(certificate Certificate, entry *Entry, now time.Time) Renewal

	// Plan puts what is to be obtained into the order in which that is to be done,
	// the most urgent first, and tells when the CA's limits let each begin. It takes
	// nothing from the limits and asks nobody.
	Plan(wanted []Wanted, now time.Time) []Slot

	// Obtain makes the order, or goes on with the one that was begun, and returns
	// what it wrote to the store. It looks again, after claiming the order, that
	// the work still needs to be done. ErrClaimed: another process is at it.
	// *PostponedError: it failed before and is not tried again yet, or the CA's
	// limits do not let it begin.
	Obtain(ctx context.Context, certificate Certificate) (Entry, error)

	// Unfinished lists the certificates for which an order was begun and not
	// ended.
	Unfinished(ctx context.Context) ([]string, error)
}

// Wanted is a certificate that is declared, and what the store has of it.
type Wanted struct {
	Certificate Certificate
	Entry       *Entry // nil: nothing
}

// Renewal is when a certificate is to be obtained next.
type Renewal struct {
	At      time.Time // zero: never, someone else keeps it
	Reason  string    // for people, without a full stop: "a third of its lifetime is left"
	Urgency Urgency   // of the order, once it is due
	Failure *Failure  // how the last attempts failed; nil when the last one did not
}

// Due reports whether that moment has come.
func (r Renewal) Due(now time.Time) bool { return !r.At.IsZero() && !now.Before(r.At) }

// Urgency puts orders into their order: the higher, the sooner.
type Urgency int

// The urgencies. What is routine can wait for days, what has expired for nothing.
const (
	Routine     Urgency = iota
	New                 // nothing was issued yet, or what is declared changed
	NearExpiry          // less than half of the time is left that a renewal has, or the CA's window has passed
	Compromised         // its key is known to others
	Expired
)

func (u Urgency) String() string {
	return [...]string{"routine", "new", "near expiry", "compromised", "expired"}[u]
}

// Slot is the place of one certificate in a Plan.
type Slot struct {
	Certificate string
	Urgency     Urgency
	At          time.Time // when its order can begin
	Reason      string    // why not at once; empty when it can
}

// Failure tells how the attempts to obtain a certificate failed, since the last one
// that did not.
type Failure struct {
	Class    FailureClass
	Issuer   string // whose turn it was
	Text     string // what went wrong the last time, and what to do; shows no secret
	Attempts int
	Since    time.Time // of the first
	Last     time.Time
	Next     time.Time // not tried before
}

// FailureClass says whose turn it is.
type FailureClass string

// The classes of failures.
const (
	// ToMend fails until a person changes something: a CAA record, a zone, a token.
	ToMend FailureClass = "to mend"
	// OfCA is a failure on the CA's own side. Another CA may do better.
	OfCA FailureClass = "of the CA"
	// Passing passes by itself: a DNS server that was away, a limit.
	Passing FailureClass = "passing"
)

// Request is what a person asked for about one certificate. It is kept in the store
// until it is done, so that any process goes on with it.
type Request struct {
	Time      time.Time // when it was asked for, the last time
	Begun     time.Time // when it was the first time, by a command that was given again
	By        string    // who did: user@host
	Version   int       // the versions up to this one are to be replaced
	RotateKey bool      // by one with another key, also where keys are reused
	// Compromised: the key of Version is known to others. The certificates of that key
	// are revoked, and every version that holds it is destroyed in the store, once every
	// target was seen to serve the new one, or at Deadline.
	Compromised bool
	// Superseded: the certificate of Version is revoked likewise. Its key is nobody
	// else's, so nothing is destroyed.
	Superseded bool
	Deadline   time.Time // zero unless Compromised or Superseded
}

// Revokes reports whether what is to be replaced is to be revoked as well.
func (r Request) Revokes() bool { return r.Compromised || r.Superseded }

// Requester is an Issuer that does what a person asks for.
type Requester interface {
	// Request keeps what is asked for; Renewal and Obtain heed it from then on. One
	// that is there already and asks for as much stays as it is.
	Request(ctx context.Context, certificate Certificate, request Request) (Request, error)

	// Suppose makes Renewal and Plan answer as if that had been asked for, in this
	// process alone and until it recalls what is kept. Nothing is written.
	Suppose(certificate Certificate, request Request)

	// Requests are those that are kept and not done, by certificate, as they were
	// recalled last.
	Requests() map[string]Request

	// Settle ends a request whose certificate was replaced in the store. served says
	// that every target was seen to serve the new one. What a request of a
	// compromised key names is revoked and destroyed here, if served or its deadline
	// has passed; else the request stays and done is false. Each step may be repeated.
	Settle(ctx context.Context, certificate Certificate, served bool) (done bool, err error)

	// Revoke asks the CA that issued a certificate to revoke it (RFC 8555, section
	// 7.6), with one of the words of RevocationReasons. One that is revoked already,
	// or has expired, is no error.
	Revoke(ctx context.Context, certificate Certificate, leaf *x509.Certificate, origin Origin, reason string) error
}

// RevocationReasons are the words for why, of RFC 5280, section 5.3.1, that CAs take
// from the holder of a certificate (CA/B Forum Baseline Requirements, section 7.2.2).
func RevocationReasons() []string {
	return []string{"unspecified", "compromised", "superseded", "ceased"}
}

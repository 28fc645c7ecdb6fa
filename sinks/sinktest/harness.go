// Package sinktest holds the laws of an [anycert.Sink] as one suite of tests.
//
// Are you adding a new sink? Its whole conformance test is
//
//	func TestConformance(t *testing.T) {
//		sinktest.Run(t, func(t testing.TB) *sinktest.Harness { … })
//	}
//
// where the function puts up the other side (a real server where there is one, a
// strict stand-in where there is none) and fills in a [Harness]. The laws are the
// functions of the files laws_*.go, one sentence each.
package sinktest

import (
	"testing"

	"github.com/anycert/anycert"
)

// Harness is what the suite needs to know of a sink and of its other side. The
// function that makes it is called once for every law and every Tamper, and gives
// a place where nothing is yet; what is dear to start (a server) it should share.
type Harness struct {
	// New opens a fresh client, as the hub named owner would after a start. All
	// clients of one harness talk to the same other side.
	New func(owner string) anycert.Sink

	// Certificate and Names are what is pushed: a name of the configuration, and
	// domains for which the sink has at least one target.
	Certificate string
	Names       []string

	// Served reads what is really there, by code outside the sink: another
	// library, the server's own memory, a TLS handshake. Nothing there: the zero
	// value. It is called by many goroutines at once.
	Served func(target anycert.Target) (Served, error)

	// Writes is how many writes the other side has counted so far.
	Writes func() int

	// Tamper are the ways in which a target that was pushed can come to differ,
	// each of which a Push must mend. See Material for what to put there.
	Tamper []Tamper

	// The hooks below may be nil where the sink cannot have the case. Without then
	// gives the reason under the field's name, so that nothing is left out unseen.

	// Foreign are the ways in which a target can be somebody else's.
	Foreign []Tamper
	// FailWrite makes the nth write from now fail (1: the next one), once; 0 calls
	// it off. Let the answer echo the request where the protocol has room for it.
	FailWrite func(nth int)
	// Forbid makes the other side deny everything, until undo is called.
	Forbid func() (undo func())
	// Unavailable makes the other side unreachable, until undo is called.
	Unavailable func() (undo func())
	// Hang makes the other side accept requests and never answer, until undo.
	Hang func() (undo func())
	// Retire does what a person does before an orphan may be removed: ends its use.
	// Nil: nothing needs to be done. It needs no reason.
	Retire func(t testing.TB, target anycert.Target)

	// Secrets are further texts that no error may show: tokens.
	Secrets []string

	// Without says why something is missing. The keys are the names of the fields
	// above, and these:
	//	Mark     the other side has no place for a mark (Observed.Unmarkable)
	//	Key      Served cannot see keys
	//	Orphans  the sink lists none (it is no anycert.OrphanLister)
	//	Remove   the sink removes none (it is no anycert.OrphanRemover)
	Without map[string]string
}

// Served is what is really at a target. A field that cannot be seen is empty; a
// serial is enough where the chain cannot be seen.
type Served struct {
	ChainPEM []byte
	KeyPEM   []byte
	Serial   string // decimal, of the leaf
}

// IsZero reports whether nothing is there.
func (s Served) IsZero() bool {
	return len(s.ChainPEM) == 0 && len(s.KeyPEM) == 0 && s.Serial == ""
}

// Tamper is one way in which a person, or another program, changes a target.
type Tamper struct {
	Name string // "replaced by a self-signed certificate until 2099"
	Do   func(t testing.TB, target anycert.Target, m Material)
}

// Material is what a Tamper may put at a target. All are for the harness's names.
type Material struct {
	Pushed    Pair // what was pushed last, and is there now
	Older     Pair // what was pushed before it
	LongLived Pair // self-signed until 2099
	Stranger  Pair // by another CA: somebody else's certificate, or the key for "a wrong key beside the right certificate"
}

// Pair is one version of a certificate, with its key.
type Pair struct {
	Entry  anycert.Entry
	Bundle *anycert.Bundle
}

// Owner is the hub as which the suite pushes, OtherOwner the one it disputes with.
const (
	Owner      = "example-prod"
	OtherOwner = "example-dev"
)

// Package reconcile makes sure that every sink agrees with the store.
//
//	assess (reads) → promises (data) → apply (the only writer) → loop
//
// It follows Mark Burgess's promise theory: each sink is autonomous and is judged
// by what can be observed there, never by what is remembered of having sent. Audit,
// sync and run are the same two functions; an audit leaves out the second.
//
// The package imports no SDK. Whatever differs between two kinds of sink is behind
// the contracts of package anycert.
package reconcile

import (
	"cmp"
	"slices"
	"time"

	"github.com/anycert/anycert"
)

// Verdict is what was seen of a promise.
type Verdict string

const (
	Kept    Verdict = "kept"    // the target holds the current version
	Broken  Verdict = "broken"  // it differs, or nothing is there
	Unknown Verdict = "unknown" // store or target could not be read
	Refused Verdict = "refused" // the object at the target is someone else's
	Held    Verdict = "held"    // a person must look: the store looks older than what was pushed, or much would change at once
	Waiting Verdict = "waiting" // nothing issued yet, not yet activated by the provider, or a canary goes first
)

// Verdicts lists them, the calmest first.
func Verdicts() []Verdict { return []Verdict{Kept, Waiting, Broken, Held, Refused, Unknown} }

// Action is what a pass does about a promise. The words are the same in a plan, in
// a log and in JSON.
type Action string

const (
	None    Action = ""
	Create  Action = "create"  // nothing is there
	Replace Action = "replace" // another certificate, or another key, is there
	Mend    Action = "mend"    // the certificate is right, something beside it is not
)

// Promise is "target T of sink S holds the current version of certificate C", and
// what was seen of it. It is data: printed, compared, saved as JSON.
type Promise struct {
	Certificate string           `json:"certificate"`
	Sink        string           `json:"sink"`
	Type        string           `json:"type"`
	Target      string           `json:"target"` // the label
	Key         string           `json:"key"`    // the same however the sink was reached
	Verdict     Verdict          `json:"verdict"`
	Action      Action           `json:"action,omitempty"`
	Reason      string           `json:"reason,omitempty"`
	Evidence    anycert.Evidence `json:"evidence,omitempty"`
	Version     int              `json:"version,omitempty"` // the store's current one
	NotAfter    *time.Time       `json:"not_after,omitempty"`

	// Wire is what the world was seen to be served; nil where nobody looked: the
	// configuration names no endpoint and none is derived, or the store has no entry.
	Wire *Wire `json:"wire,omitempty"`
	// Sides are what was compared, in an audit.
	*Sides

	// Err is what went wrong with reading or pushing; nil when nothing did.
	Err error `json:"-"`
	// Pushed tells that this pass wrote to the target, or tried to, and Because why.
	Pushed  bool   `json:"pushed,omitempty"`
	Because string `json:"because,omitempty"`

	target     anycert.Target
	endpoints  []anycert.Endpoint
	front      anycert.Front
	sighting   *sighting // never changed: copies of a promise share it
	unfinished bool      // it was pushed, and what the sink had to do after that failed
	contested  string    // who keeps changing it back
	follows    bool      // it waits for a canary
	arrival    arrival   // of the version that this process saw coming there
}

// arrived reports whether the sink took what was pushed. That it could not be seen
// again afterwards makes a promise unknown and no push undone.
func (p Promise) arrived() bool { return p.Pushed && (p.Err == nil || p.Verdict == Unknown) }

// StoreErr is why the store gave no entry for the promise; nil when it did, or was
// not asked.
func (p Promise) StoreErr() error {
	if p.sighting == nil {
		return nil
	}
	return p.sighting.known.Err
}

// refs points to promises, to change some of them in place.
func refs(promises []Promise) []*Promise {
	pointers := make([]*Promise, len(promises))
	for i := range promises {
		pointers[i] = &promises[i]
	}
	return pointers
}

func sortPromises(promises []Promise) {
	slices.SortFunc(promises, func(a, b Promise) int {
		return cmp.Or(cmp.Compare(a.Certificate, b.Certificate), cmp.Compare(a.Sink, b.Sink), cmp.Compare(a.Target, b.Target))
	})
}

// Agent is a sink of the configuration with the certificates that belong there.
type Agent struct {
	Name         string
	Type         string
	Sink         anycert.Sink
	Certificates []anycert.Certificate
	Suspended    bool
	Canary       bool // a new version goes here first
	// Endpoints tells where the world is served what a target of a certificate holds.
	// It gives nil where nobody is to look, and an empty list where nobody can: of a
	// wildcard no name is known. Itself nil: nobody is to look anywhere.
	Endpoints func(anycert.Certificate, anycert.Target) []anycert.Endpoint
}

// targets are the places of a certificate, by the sink's configuration.
func (a Agent) targets(certificate anycert.Certificate) (targets []anycert.Target, err error) {
	defer recovered("the targets of certificate "+certificate.Name+" at sink "+a.Name, &err)
	return a.Sink.Targets(certificate.Name, certificate.Domains)
}

// Only narrows a pass to one sink, or to one target of it. The zero value takes all.
type Only struct {
	Sink   string
	Target string // a label
}

func (o Only) sink(name string) bool { return o.Sink == "" || o.Sink == name }
func (o Only) target(label string) bool {
	return o.Target == "" || o.Target == label
}

package reconcile

import (
	"cmp"
	"slices"
	"time"

	"github.com/anycert/anycert"
)

// Snapshot is what a daemon knows about itself at one moment: numbers, moments, names of
// the configuration, and words from closed sets. No text that came from elsewhere is in
// it, so that it may be shown to whoever may see the configuration. A zero time means
// that it has not happened since the process began.
type Snapshot struct {
	Turned   time.Time     // last turn of the loop
	Deadline time.Time     // when it must have turned again
	Stale    time.Duration // after how long without a pass nobody can say that a promise is kept

	Reloaded     time.Time // when the configuration in force was taken over
	ReloadFailed bool      // the last one was not

	StoreRead    time.Time // when the store last answered for every certificate that is not suspended
	Certificates []CertificateState
	Issuers      []IssuerState
	Sinks        []SinkState
	Receivers    []ReceiverState // of alarms; left to whoever tells them
}

// CertificateState is one declared certificate. While the store cannot be read, its
// moments are those that were read last.
type CertificateState struct {
	Name        string
	Suspended   bool
	Entry       Reason    // why the store gave no entry; NoReason when it did, "" before it was asked
	NotBefore   time.Time // of the store's current version, as NotAfter; zero when there is none
	NotAfter    time.Time
	Renewal     time.Time // when it is to be obtained next; zero: never, or someone else keeps it
	Obtained    bool      // it is obtained here
	OrderFailed bool      // the last attempt to obtain it did not bring it
}

// IssuerState counts the orders of one issuer.
type IssuerState struct {
	Name   string
	Orders Tally
}

// SinkState is one sink that is not suspended.
type SinkState struct {
	Name      string
	Passed    time.Time // end of the last pass
	Succeeded time.Time // end of the last pass after which every promise was kept or waiting
	Took      Durations
	Pushes    Tally
	Promises  []PromiseState // one for each certificate that belongs there and is not suspended
}

// ReceiverState is somebody who is told of alarms.
type ReceiverState struct {
	Name    string
	Failing bool           // it did not take what it was told last
	Ended   map[Result]int // how telling it ended: success, failure, dropped
}

// PromiseState sums up the promises of one sink about one certificate.
type PromiseState struct {
	Certificate string
	Verdicts    map[Verdict]int // how many targets have each; empty before the first pass
	Verified    time.Time       // no target was last seen kept before; zero while one never was
	NotAfter    time.Time       // the earliest end of what the last pass saw at the targets; zero when it saw none

	Wires        map[WireState]int // how many targets were last seen on the wire in each state; empty where nobody looks
	WireSeen     time.Time         // of none is the last look at the wire older; zero where nobody looks
	WireNotAfter time.Time         // the earliest end of what the world was served; zero when nothing was seen
}

// saw adds what the last look at the wire of one target brought.
func (s *PromiseState) saw(w *Wire) {
	if len(s.Wires) == 0 {
		s.Wires, s.WireSeen = make(map[WireState]int), w.Time
	}
	s.Wires[w.State]++
	s.WireSeen = earlier(s.WireSeen, w.Time)
	if end := w.notAfter(); end != nil && (s.WireNotAfter.IsZero() || end.Before(s.WireNotAfter)) {
		s.WireNotAfter = *end
	}
}

// Snapshot tells all of this moment at once. It may be asked at any time.
func (h *Health) Snapshot() Snapshot {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := Snapshot{
		Turned: h.turnedAt, Deadline: h.deadline, Stale: h.stale,
		Reloaded: h.reloaded, ReloadFailed: h.config != nil,
		StoreRead: h.storeRead, Certificates: slices.Clone(h.certificates),
	}
	for i, c := range s.Certificates {
		s.Certificates[i].OrderFailed = c.Obtained && (c.OrderFailed || h.orders.failure(c.Name) != nil)
	}
	for _, name := range h.issuers {
		s.Issuers = append(s.Issuers, IssuerState{name, h.orders.tally(name)})
	}
	for name, sink := range h.sinks {
		s.Sinks = append(s.Sinks, sink.state(name))
	}
	slices.SortFunc(s.Sinks, func(a, b SinkState) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

// states describes the certificates as the store does.
func (h *Hub) states(truth Truth, now time.Time) []CertificateState {
	states := make([]CertificateState, len(h.Certificates))
	for i, c := range h.Certificates {
		known, asked := truth[c.Name]
		states[i] = CertificateState{Name: c.Name, Suspended: c.Suspended, Obtained: h.obtains(c)}
		if !asked {
			continue
		}
		renewal := h.renewal(c, known, now)
		states[i].Entry, states[i].Renewal, states[i].OrderFailed = reasonOf(known.Err), renewal.At, renewal.Failure != nil
		if known.Entry != nil {
			states[i].NotBefore, states[i].NotAfter = known.Entry.Leaf.NotBefore, known.Entry.Leaf.NotAfter
		}
	}
	return states
}

// obtains reports whether c is obtained here.
func (h *Hub) obtains(c anycert.Certificate) bool {
	return h.Issuer != nil && c.Issuer != "" && !c.Suspended
}

// issuers names those whose certificates are obtained here.
func (h *Hub) issuers() []string {
	var names []string
	for _, c := range h.Certificates {
		if h.obtains(c) {
			names = append(names, c.Issuer)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// answered reports whether the store told what there is, be it nothing. Of what is
// suspended nobody asks that.
func (c CertificateState) answered() bool {
	switch c.Entry {
	case NoReason, NotFound, Deleted, Malformed, Unindexed:
		return true
	}
	return c.Suspended
}

// remembering is c with the moments of before where the store does not tell them now. A
// sealed store does not stop the clock of a certificate.
func (c CertificateState) remembering(before CertificateState) CertificateState {
	if c.Entry != NoReason && c.Entry != NotFound {
		c.NotBefore, c.NotAfter, c.Renewal = before.NotBefore, before.NotAfter, before.Renewal
	}
	return c
}

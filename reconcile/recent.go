package reconcile

import (
	"slices"
	"sync"
	"time"
)

// Change is something that was done, or is seen otherwise than before: what is logged, as
// data. Like an error of anycert, it shows no secret.
type Change struct {
	Time        time.Time  `json:"time"`
	Kind        ChangeKind `json:"kind"`
	Well        bool       `json:"well"` // nobody has to look
	Certificate string     `json:"certificate,omitempty"`
	Sink        string     `json:"sink,omitempty"`
	Target      string     `json:"target,omitempty"` // the label
	Version     int        `json:"version,omitempty"`
	What        string     `json:"what"`          // in a word or two: "replaced", "obtained", "broken"
	Why         string     `json:"why,omitempty"` // one line
}

// ChangeKind is what a change is about.
type ChangeKind string

const (
	PushChange    ChangeKind = "push"    // a target was written to
	PromiseChange ChangeKind = "promise" // a verdict is another one
	OrderChange   ChangeKind = "order"   // a certificate was obtained, or could not be
	StoreChange   ChangeKind = "store"   // the store gives an entry again, or none
	RequestChange ChangeKind = "request" // what a person asked for goes on
)

// ChangeKinds lists them.
func ChangeKinds() []ChangeKind {
	return []ChangeKind{PushChange, PromiseChange, OrderChange, StoreChange, RequestChange}
}

// keptChanges is how many are remembered: what somebody who was called looks back at.
const keptChanges = 100

// recent remembers the last changes of this process, for all goroutines.
type recent struct {
	mu   sync.Mutex
	ring [keptChanges]Change
	n    int // ever added
}

// add takes note of a change of this moment. Its reason becomes one line with an end.
func (r *recent) add(c Change) {
	c.Time, c.Why = time.Now().UTC(), shorten(Clean(c.Why), maxText)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring[r.n%keptChanges] = c
	r.n++
}

// list returns them, the newest first.
func (r *recent) list() []Change {
	r.mu.Lock()
	defer r.mu.Unlock()
	changes := make([]Change, 0, min(r.n, keptChanges))
	for i := range min(r.n, keptChanges) {
		changes = append(changes, r.ring[(r.n-1-i)%keptChanges])
	}
	slices.SortStableFunc(changes, func(a, b Change) int { return b.Time.Compare(a.Time) })
	return changes
}

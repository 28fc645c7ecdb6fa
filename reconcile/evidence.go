package reconcile

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anycert/anycert"
)

// evidence is what the last passes saw of each certificate at each sink.
type evidence struct {
	mu   sync.Mutex
	seen map[string]map[string][]Promise // by sink and certificate, in the order of the targets

	released map[string]anycert.Digest // by certificate, for which version
}

// first reports whether it is called for this version of a certificate the first time.
func (e *evidence) first(certificate string, version anycert.Digest) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.released[certificate] == version {
		return false
	}
	if e.released == nil {
		e.released = make(map[string]anycert.Digest)
	}
	e.released[certificate] = version
	return true
}

// put takes note of a look at a sink, or of a pass over it, which looked at all targets of
// the certificates that it looked at; promises are sorted. What was seen on the wire of a
// version is known until the target gets another one.
func (e *evidence) put(sink string, promises []Promise) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.seen == nil {
		e.seen = make(map[string]map[string][]Promise)
	}
	if e.seen[sink] == nil {
		e.seen[sink] = make(map[string][]Promise)
	}
	for len(promises) > 0 {
		name, n := promises[0].Certificate, 1
		for n < len(promises) && promises[n].Certificate == name {
			n++
		}
		e.seen[sink][name], promises = taken(e.seen[sink][name], promises[:n]), promises[n:]
	}
}

// taken is a copy of promises that knows what is known of before. Where the targets are
// the same, as they are as a rule, before becomes that copy.
func taken(before, promises []Promise) []Promise {
	if slices.EqualFunc(before, promises, func(a, b Promise) bool { return a.Target == b.Target }) {
		for i, p := range promises {
			p.remember(before[i])
			before[i] = p
		}
		return before
	}
	promises = slices.Clone(promises)
	for i := range promises {
		if was := at(before, promises[i].Target); was != nil {
			promises[i].remember(*was)
		}
	}
	return promises
}

// at finds the promise of a target.
func at(promises []Promise, target string) *Promise {
	i, found := slices.BinarySearchFunc(promises, target, func(p Promise, target string) int { return strings.Compare(p.Target, target) })
	if !found {
		return nil
	}
	return &promises[i]
}

// arrival is when a version was first seen at a target that was seen without it before.
type arrival struct {
	of anycert.Digest
	at time.Time
}

// remember takes over what is known of the same target.
func (p *Promise) remember(before Promise) {
	p.arrival = before.arrival
	entry, old := p.sighting.known.Entry, before.sighting.known.Entry
	if entry == nil {
		return
	}
	same := old != nil && entry.Digest == old.Digest
	held := same && before.Verdict == Kept || before.Verdict != Waiting && before.sighting.had(*entry)
	dark := before.sighting.err != nil && !before.Pushed && !p.Pushed
	if p.Verdict == Kept && p.arrival.of != entry.Digest && !held && !dark {
		p.arrival = arrival{entry.Digest, p.sighting.now}
	}
	if same && p.Wire == nil && !p.Pushed {
		p.Wire = before.Wire
	}
}

// witness takes note of a look at the wire of promises of a sink.
func (e *evidence) witness(sink string, promises []Promise) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, looked := range promises {
		p := at(e.seen[sink][looked.Certificate], looked.Target)
		if p != nil && p.sighting.known.Entry != nil && p.sighting.known.Entry.Digest == looked.sighting.known.Entry.Digest {
			p.Wire = looked.Wire
		}
	}
}

// declared forgets what belongs to no sink any more.
func (e *evidence) declared(agents []Agent) {
	e.mu.Lock()
	defer e.mu.Unlock()
	before := e.seen
	e.seen = make(map[string]map[string][]Promise)
	for _, agent := range agents {
		known := make(map[string][]Promise)
		for _, c := range agent.Certificates {
			if some, seen := before[agent.Name][c.Name]; seen {
				known[c.Name] = some
			}
		}
		e.seen[agent.Name] = known
	}
}

// of is what was seen of a certificate at a sink.
func (e *evidence) of(sink, certificate string) []Promise {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.seen[sink][certificate])
}

// at is what was seen at a sink.
func (e *evidence) at(sink string) (promises []Promise) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, some := range e.seen[sink] {
		promises = append(promises, some...)
	}
	return promises
}

// following are the promises of a sink that were seen to wait for a canary.
func (e *evidence) following(sink string) (promises []Promise) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, some := range e.seen[sink] {
		for i := range some {
			if some[i].follows {
				promises = append(promises, some[i])
			}
		}
	}
	return promises
}

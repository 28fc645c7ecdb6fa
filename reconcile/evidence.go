package reconcile

import (
	"slices"
	"sync"

	"github.com/anycert/anycert"
)

// evidence is what the last passes saw of each certificate at each sink.
type evidence struct {
	mu   sync.Mutex
	seen map[string]map[string][]Promise // by sink and certificate

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
// the certificates that it looked at. What was seen on the wire of a version is known until
// the target gets another one.
func (e *evidence) put(sink string, promises []Promise) {
	byName := make(map[string][]Promise)
	for _, p := range promises {
		byName[p.Certificate] = append(byName[p.Certificate], p)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.seen == nil {
		e.seen = make(map[string]map[string][]Promise)
	}
	if e.seen[sink] == nil {
		e.seen[sink] = make(map[string][]Promise)
	}
	for name, some := range byName {
		before := e.seen[sink][name]
		for i := range some {
			if j := slices.IndexFunc(before, func(p Promise) bool { return p.Target == some[i].Target }); j >= 0 {
				some[i].remember(before[j])
			}
		}
		e.seen[sink][name] = some
	}
}

// remember takes over what is known of the same version at the same target.
func (p *Promise) remember(before Promise) {
	entry, old := p.sighting.known.Entry, before.sighting.known.Entry
	if entry == nil || old == nil || entry.Digest != old.Digest {
		return
	}
	p.arrival = before.arrival
	if p.arrived() && p.arrival.IsZero() && !before.sighting.had(*entry) {
		p.arrival = p.sighting.now
	}
	if p.Wire == nil && !p.Pushed {
		p.Wire = before.Wire
	}
}

// witness takes note of a look at the wire of promises of a sink.
func (e *evidence) witness(sink string, promises []Promise) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, looked := range promises {
		some := e.seen[sink][looked.Certificate]
		for i := range some {
			p := &some[i]
			if p.Target == looked.Target && p.sighting.known.Entry != nil && p.sighting.known.Entry.Digest == looked.sighting.known.Entry.Digest {
				p.Wire = looked.Wire
			}
		}
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

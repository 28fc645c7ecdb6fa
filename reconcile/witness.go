package reconcile

import (
	"context"
	"slices"

	"github.com/anycert/anycert"
)

// lookout is a look at the wire that is under way. It holds what is wanted of each
// endpoint once, for however many promises.
type lookout struct {
	served map[anycert.Handshake][]anycert.Served
	done   chan struct{} // closed when served is whole
}

// lookAtWire begins to shake hands with what serves promises to the world. The store's
// entry of each tells which kind of certificate is wanted; where there is none, nothing
// is to be compared, and nobody is asked.
func (h *Hub) lookAtWire(ctx context.Context, promises []Promise, entry func(Promise) *anycert.Entry) *lookout {
	l := &lookout{served: make(map[anycert.Handshake][]anycert.Served), done: make(chan struct{})}
	var wanted []anycert.Handshake
	for _, p := range promises {
		for _, handshake := range p.handshakes(entry(p)) {
			if _, known := l.served[handshake]; !known {
				l.served[handshake] = nil
				wanted = append(wanted, handshake)
			}
		}
	}
	if h.Witness == nil || len(wanted) == 0 {
		close(l.done)
		return l
	}
	go func() {
		defer close(l.done)
		for i, served := range witness(ctx, h.Witness, wanted) {
			l.served[wanted[i]] = served
		}
	}()
	return l
}

// onTheWire looks at the wire of promises that were looked at, and returns those of which
// something was to be seen.
func (h *Hub) onTheWire(ctx context.Context, promises []Promise) []Promise {
	h.lookAtWire(ctx, promises, func(p Promise) *anycert.Entry { return p.sighting.known.Entry }).conclude(promises)
	return slices.DeleteFunc(promises, func(p Promise) bool { return p.Wire == nil })
}

// witness is Look that survives a panic: nothing was seen then.
func witness(ctx context.Context, witness anycert.Witness, wanted []anycert.Handshake) (served [][]anycert.Served) {
	var err error
	defer func() {
		if err != nil {
			served = make([][]anycert.Served, len(wanted))
			for i := range served {
				served[i] = []anycert.Served{{Endpoint: wanted[i].Endpoint, Err: err}}
			}
		}
	}()
	defer recovered("looking at the wire", &err)
	return witness.Look(ctx, wanted)
}

// conclude waits for the look, and writes what was seen into promises.
func (l *lookout) conclude(promises []Promise) {
	<-l.done
	for i := range promises {
		p := &promises[i]
		entry := p.sighting.known.Entry
		var served []anycert.Served
		for _, handshake := range p.handshakes(entry) {
			served = append(served, l.served[handshake]...)
		}
		if entry == nil || len(served) == 0 {
			continue
		}
		if p.Wire = judgeWire(*entry, served, p.sighting.now); p.Wire != nil {
			p.Wire.Remedy = p.remedy(p.front)
		}
	}
}

// handshakes are those that tell what the world is served of a promise whose
// certificate the store holds as entry.
func (p Promise) handshakes(entry *anycert.Entry) []anycert.Handshake {
	if entry == nil {
		return nil
	}
	kind, _ := anycert.KeyTypeOf(entry.Leaf.PublicKey) // of another kind is none that the store takes
	handshakes := make([]anycert.Handshake, len(p.endpoints))
	for i, endpoint := range p.endpoints {
		handshakes[i] = anycert.Handshake{Endpoint: endpoint, KeyType: kind}
	}
	return handshakes
}

// unasked reports whether nobody can look what the world is served of a promise, where
// somebody is to.
func (p Promise) unasked() bool { return p.endpoints != nil && len(p.endpoints) == 0 && p.front.Public }

// endpoints are where the world is served what a target holds.
func (a Agent) endpoints(certificate anycert.Certificate, target anycert.Target) ([]anycert.Endpoint, anycert.Front) {
	if a.Endpoints == nil {
		return nil, anycert.Front{}
	}
	var front anycert.Front
	if fronted, ok := a.Sink.(anycert.Fronted); ok {
		front = fronted.Front(target)
	}
	return a.Endpoints(certificate, target), front
}

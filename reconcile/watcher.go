package reconcile

import (
	"hash/fnv"

	"github.com/anycert/anycert"
)

// What is served changes when somebody pushes, and else when something breaks. So the
// wire of a promise is looked at in the passes after its version changed, in each pass
// while it is not well, and else in every tenth, a tenth of the promises in each: ten
// thousand endpoints are a thousand handshakes a minute, some two seconds of work of one
// processor, and what breaks by itself is seen within ten minutes.
const (
	wireEvery = 10
	// wirePatience is for how many looks in a row one that is not well is looked at in
	// each pass. What is down for long does not take the time of the others.
	wirePatience = 30
)

// watcher knows when the wire of each promise of one sink was looked at.
type watcher struct {
	pass int
	last map[place]watched
}

// watched is how the last look at the wire of one promise ended.
type watched struct {
	pass   int
	digest anycert.Digest // of the store's version that it was compared with
	standing
}

// due are the promises of a pass whose wire is to be looked at; those of the certificates
// that other sinks await in each pass.
func (w *watcher) due(promises []Promise, awaited map[string]bool) []Promise {
	w.pass++
	var due []Promise
	for _, p := range promises {
		entry := p.sighting.known.Entry
		if len(p.endpoints) == 0 || entry == nil || p.follows {
			continue
		}
		last, known := w.last[p.place()]
		settled := last.well >= passes || last.ill > wirePatience
		if !known || !settled || p.Pushed || awaited[p.Certificate] || last.digest != entry.Digest || w.pass-last.pass >= wireEvery {
			due = append(due, p)
		}
	}
	return due
}

// saw takes note of what a look at due promises brought. Those that nothing is known
// of are forgotten with the promises.
func (w *watcher) saw(looked, promises []Promise) {
	before := w.last
	w.last = make(map[place]watched, len(promises))
	for _, p := range promises {
		if last, known := before[p.place()]; known {
			w.last[p.place()] = last
		}
	}
	for _, p := range looked {
		next := watched{pass: w.pass, digest: p.sighting.known.Entry.Digest, standing: before[p.place()].standing}
		next.standing.saw(p.Wire.ill(), p.sighting.now)
		if next.well == passes {
			next.pass -= offset(p.place()) // so that not all are due in the same pass
		}
		w.last[p.place()] = next
	}
}

// offset spreads the promises over the passes.
func offset(p place) int {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(p.certificate + "\x00" + p.target))
	return int(sum.Sum32() % wireEvery)
}

// watch looks at the wire of one sink after its passes, beside them: an endpoint that
// does not answer delays no pass, and no other sink (law 8). It ends as soon as the end
// is asked for, since it leaves nothing to tidy up.
func (r *round) watch(agent Agent, after <-chan []Promise) {
	watcher := new(watcher)
	for {
		select {
		case <-r.asked.Done():
			return
		case promises := <-after:
			due := watcher.due(promises, r.hub.awaited(agent))
			if len(due) == 0 {
				continue
			}
			due = r.hub.onTheWire(r.asked, due)
			if r.asked.Err() != nil { // broken off: it tells nothing
				return
			}
			watcher.saw(due, promises)
			for _, p := range due {
				r.hub.log.wire(p)
			}
			r.health.witnessed(agent.Name, due)
			r.hub.seen.witness(agent.Name, due)
			r.release(agent)
		}
	}
}

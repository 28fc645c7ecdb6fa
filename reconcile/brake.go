package reconcile

import (
	"fmt"
	"time"

	"github.com/anycert/anycert"
)

// Brake says how much may change at once without a person's word. The zero value lets
// everything through.
type Brake struct {
	Percent int // of the valid certificates at all targets
	Targets int // with fewer nothing is braked
}

// fresh is for how long a version is one that its issuer just made. A sink that was away
// for longer has what has less than a third of its life left, or gives time for a look.
const fresh = 24 * time.Hour

// madeJustNow reports whether the version of a sighting is one that an issuer just made,
// or that is no news at the target, or that somebody went back to.
func (s sighting) madeJustNow() bool {
	origin, at := s.known.Entry.Origin, s.known.Entry.Time
	made := origin.Issuer != "" && (origin.By == "" && s.now.Sub(at) < fresh || s.waning())
	return made || origin.IsRollback() || s.had(*s.known.Entry) || s.accepted
}

// valid reports whether there is a certificate at the target that has not expired.
func (s sighting) valid() bool {
	return s.err == nil && s.observed.Found && s.observed.Foreign == "" && s.observed.NotAfter.After(s.now)
}

// sudden reports whether a promise would have a valid certificate replaced by something
// that no issuer just made.
func (p Promise) sudden() bool {
	return p.Action == Replace && !p.follows && p.sighting.valid() && !p.sighting.madeJustNow()
}

// brake holds promises of agent back when this and the other sinks would replace too many
// valid certificates at once by what no issuer just made: a wrong store, or a script that
// wrote to it, would be everywhere within the minute. What is missing is created.
func (h *Hub) brake(agent Agent, look assessment, promises []*Promise) {
	if look.unbraked || h.Brake == (Brake{}) {
		return
	}
	var mine []*Promise
	for _, p := range promises {
		if p.sudden() {
			mine = append(mine, p)
		}
	}
	if len(mine) == 0 {
		return
	}
	sudden, valid, targets := h.elsewhere(agent, look)
	targets += len(promises)
	for _, p := range promises {
		if p.sighting.valid() {
			valid++
		}
	}
	sudden += len(mine)
	if targets < h.Brake.Targets || sudden*100 <= valid*h.Brake.Percent {
		return
	}
	for _, p := range mine {
		p.Verdict, p.Action = Held, None
		p.Reason = fmt.Sprintf("brake: %d of %d valid certificates would be replaced at once by what no issuer just made (here: version %d, %s): what is served stays; if that is right, run `anycert sync --yes`",
			sudden, valid, p.sighting.known.Entry.Version, writer(*p.sighting.known.Entry))
	}
}

// elsewhere counts at the other sinks that the pass is about, by what was last seen there
// and the store says now. Of a sink that was not looked at yet, the targets are known.
func (h *Hub) elsewhere(but Agent, look assessment) (sudden, valid, targets int) {
	for _, agent := range h.Agents {
		if agent.Name == but.Name || agent.Suspended || !look.only.sink(agent.Name) {
			continue
		}
		promises := h.seen.at(agent.Name)
		if targets += len(promises); len(promises) == 0 {
			targets += len(look.promises(agent))
		}
		for i := range promises {
			s := *promises[i].sighting
			if known, asked := look.truth[promises[i].Certificate]; asked {
				s.known = known
			}
			s.now = look.now
			look.conclude(&promises[i], &s)
		}
		h.follow(agent, refs(promises))
		for _, p := range promises {
			if p.sighting.valid() {
				valid++
			}
			if p.sudden() {
				sudden++
			}
		}
	}
	return sudden, valid, targets
}

// writer says who wrote a version, and when.
func writer(entry anycert.Entry) string {
	switch {
	case entry.Origin.By != "":
		return "by " + entry.Origin.By + " at " + stamp(entry.Time)
	case entry.Origin.Issuer != "":
		return "of issuer " + entry.Origin.Issuer + ", made at " + stamp(entry.Time)
	}
	return "written by hand at " + stamp(entry.Time)
}

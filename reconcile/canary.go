package reconcile

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anycert/anycert"
)

// A new version of a certificate goes to its canaries first. The other sinks follow when
// the canaries were seen to hold it, on the wire where somebody looks, and have held it
// for the soak time. All of that is seen anew each time, so that it does not matter who
// looks, or whether anybody did before.

// had reports whether the target carries our mark of this version: it has reached it.
func (s sighting) had(entry anycert.Entry) bool {
	mark, of := s.observed.Mark, anycert.MarkOf("", entry)
	return mark != nil && mark.Certificate == of.Certificate && mark.Digest == of.Digest && mark.Time.Equal(of.Time)
}

// waning reports whether what is served has less than a third of its life left.
func (s sighting) waning() bool { return !s.wanes().IsZero() && s.now.After(s.wanes()) }

// wanes is when what is served has a third of its life left; zero where that is not
// known. What began when is taken to be as long as the store's where nobody tells.
func (s sighting) wanes() time.Time {
	o := s.observed
	if o.NotAfter.IsZero() || s.known.Entry == nil {
		return time.Time{}
	}
	leaf := s.known.Entry.Leaf
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	if !o.NotBefore.IsZero() {
		life = o.NotAfter.Sub(o.NotBefore)
	}
	return o.NotAfter.Add(-life / 3)
}

// mayFollow reports whether a promise has to wait for canaries, if there are any: a new
// version would take the place of another one. What is missing is created, and what was
// changed by hand is put right, at once; and nobody waits for a version that somebody
// went back to.
func (p Promise) mayFollow() bool {
	entry := p.sighting.known.Entry
	return p.Action == Replace && entry != nil && !entry.Origin.IsRollback() && !p.sighting.had(*entry) && !p.sighting.waning()
}

// canaries are the sinks where a certificate goes first, but for a sink that is one
// itself.
func (h *Hub) canaries(certificate string, but Agent) (canaries []Agent) {
	for _, agent := range h.Agents {
		if agent.Canary && !but.Canary && agent.has(certificate) {
			canaries = append(canaries, agent)
		}
	}
	return canaries
}

func (a Agent) has(certificate string) bool {
	return slices.ContainsFunc(a.Certificates, func(c anycert.Certificate) bool { return c.Name == certificate })
}

// follow has the promises of agent wait that must for their canaries.
func (h *Hub) follow(agent Agent, promises []*Promise) {
	why := make(map[string]string) // by certificate
	for _, p := range promises {
		p.follows = false
		if !p.mayFollow() {
			continue
		}
		reason, known := why[p.Certificate]
		if !known {
			reason = h.unproven(*p, h.canaries(p.Certificate, agent))
			why[p.Certificate] = reason
		}
		if reason == "" {
			continue
		}
		p.Verdict, p.Action, p.follows = Waiting, None, true
		p.Reason = "canary " + reason
		if end := p.sighting.wanes(); !end.IsZero() {
			p.Reason += fmt.Sprintf("; what is served stays, until %s at the latest", stamp(end))
		}
	}
}

// unproven tells why canaries do not show yet that the version of a promise is good; ""
// when they do.
func (h *Hub) unproven(p Promise, canaries []Agent) string {
	entry := *p.sighting.known.Entry
	var held time.Time
	for _, canary := range canaries {
		if canary.Suspended {
			return canary.Name + " is suspended: resume it, or take `canary: true` from it"
		}
		promises := h.seen.of(canary.Name, p.Certificate)
		if len(promises) == 0 {
			return canary.Name + " was not looked at yet"
		}
		for _, first := range promises {
			if reason := h.lacking(first, entry); reason != "" {
				return canary.Name + " " + reason
			}
			held = later(held, later(entry.Time, first.arrival))
		}
	}
	if len(canaries) == 0 || h.requests()[p.Certificate].Compromised { // each minute counts
		return ""
	}
	if end := held.Add(h.Soak); p.sighting.now.Before(end) {
		return fmt.Sprintf("%s has version %d since %s: the others follow at %s", canaries[0].Name, entry.Version, stamp(held), stamp(end))
	}
	return ""
}

// lacking tells what a canary's promise lacks of holding a version, also on the wire.
func (h *Hub) lacking(first Promise, entry anycert.Entry) string {
	known := first.sighting.known.Entry
	switch {
	case known == nil || known.Digest != entry.Digest:
		return fmt.Sprintf("was not seen with version %d yet", entry.Version)
	case first.Verdict != Kept:
		return strings.TrimSuffix(fmt.Sprintf("is not there yet: %s is %s: %s", first.Target, first.Verdict, cmp.Or(first.Reason, first.Because)), ": ")
	case h.Witness == nil || len(first.endpoints) == 0:
		return ""
	case first.Wire == nil:
		return fmt.Sprintf("has version %d, and nobody has looked yet at what the world is served", entry.Version)
	case !first.Wire.well():
		return fmt.Sprintf("has version %d, and the world is not served it: %s", entry.Version, first.Wire.Text)
	}
	return ""
}

// followers are the certificates of promises that wait for a canary, or would.
func (h *Hub) followers(promises []Promise) map[string]bool {
	names := make(map[string]bool)
	for _, p := range promises {
		if p.follows || p.mayFollow() {
			names[p.Certificate] = true
		}
	}
	return names
}

// consult looks at the canaries that promises wait for, where that was not done: those of
// sinks that were not looked at, and what the world is served from there.
func (h *Hub) consult(ctx context.Context, look assessment, promises []Promise) {
	names := h.followers(promises)
	if len(names) == 0 {
		return
	}
	looked := look.only
	look.only = Only{}
	var wait sync.WaitGroup
	for _, agent := range h.Agents {
		if !agent.Canary || agent.Suspended {
			continue
		}
		agent.Certificates = slices.DeleteFunc(slices.Clone(agent.Certificates), func(c anycert.Certificate) bool { return !names[c.Name] })
		wait.Go(func() {
			if !looked.sink(agent.Name) || looked.Target != "" {
				h.seen.put(agent.Name, look.assess(ctx, agent))
			}
			h.witnessCanary(ctx, agent)
		})
	}
	wait.Wait()
}

// reloading is for how long a server that was just pushed to may go on serving what it
// had: nginx answers a reload before it has done it.
const reloading = 5 * time.Second

// witnessCanary looks at what the world is served of the versions that a canary holds,
// where nobody has seen that it is well; for a while where they were just pushed.
func (h *Hub) witnessCanary(ctx context.Context, agent Agent) {
	end := time.Now().Add(reloading)
	for pause := 50 * time.Millisecond; ; pause *= 2 {
		var due []Promise
		pushed := false
		for _, c := range agent.Certificates {
			for _, p := range h.seen.of(agent.Name, c.Name) {
				if p.Verdict == Kept && len(p.endpoints) > 0 && (p.Wire == nil || !p.Wire.well()) {
					due = append(due, p)
					pushed = pushed || p.Pushed
				}
			}
		}
		if len(due) == 0 {
			return
		}
		h.lookAtWire(ctx, due, func(p Promise) *anycert.Entry { return p.sighting.known.Entry }).conclude(due)
		h.seen.witness(agent.Name, due)
		passing := slices.ContainsFunc(due, func(p Promise) bool {
			return p.Wire != nil && (p.Wire.State == WireBehind || p.Wire.State == WireUnseen)
		})
		if !pushed || !passing || time.Now().After(end) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// awaited are the certificates that other sinks wait with for a canary.
func (h *Hub) awaited(canary Agent) map[string]bool {
	names := make(map[string]bool)
	for _, p := range h.waiting(canary) {
		names[p.Certificate] = true
	}
	return names
}

// waiting are the promises of other sinks that wait for a canary.
func (h *Hub) waiting(canary Agent) (waiting []Promise) {
	if !canary.Canary {
		return nil
	}
	for _, agent := range h.Agents {
		if agent.Canary {
			continue
		}
		for _, p := range h.seen.at(agent.Name) {
			if p.follows && canary.has(p.Certificate) {
				waiting = append(waiting, p)
			}
		}
	}
	return waiting
}

// release asks for a pass, once for each version, when a canary shows what others wait
// for.
func (r *round) release(canary Agent) {
	for _, p := range r.hub.waiting(canary) {
		p.sighting.now = time.Now()
		proven := r.hub.unproven(p, r.hub.canaries(p.Certificate, Agent{})) == ""
		if proven && r.hub.seen.first(p.Certificate, p.sighting.known.Entry.Digest) {
			offer(r.wake, struct{}{})
		}
	}
}

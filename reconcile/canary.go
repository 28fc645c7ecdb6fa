package reconcile

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/anycert/anycert"
)

// A new version of a certificate goes to its canaries first. The other sinks follow when
// the canaries were seen to hold it, on the wire where somebody looks, and have held it
// for the soak time. All of that is seen anew each time, so that it does not matter who
// looks, or whether anybody did before.

// had reports whether the version has reached the target: our mark of it is there, or the
// certificate itself, be it without its key.
func (s sighting) had(entry anycert.Entry) bool {
	mark, of := s.observed.Mark, anycert.MarkOf("", entry)
	marked := mark != nil && mark.Certificate == of.Certificate && mark.Digest == of.Digest && mark.Time.Equal(of.Time)
	return marked || s.observed.Digest == entry.Digest
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
// version would take the place of another one that is valid. What is missing is created,
// and what was changed by hand is put right, at once; and nobody waits for what a person
// said is right: a version that somebody went back to, or the store that did.
func (p Promise) mayFollow() bool {
	s, entry := p.sighting, p.sighting.known.Entry
	return p.Action == Replace && entry != nil && s.valid() && !s.accepted && !entry.Origin.IsRollback() && !s.had(*entry) && !s.waning()
}

// follow has the promises of agent wait that must for their canaries. A canary waits for
// no other.
func (h *Hub) follow(agent Agent, promises []*Promise) {
	for _, p := range promises {
		p.follows = false
	}
	if agent.Canary || !slices.ContainsFunc(h.Agents, func(a Agent) bool { return a.Canary }) ||
		!slices.ContainsFunc(promises, func(p *Promise) bool { return p.mayFollow() }) {
		return
	}
	proof, why := h.proof(), make(map[string]string) // by certificate
	for _, p := range promises {
		end := proof.latest(*p)
		if !p.mayFollow() || !end.IsZero() && p.sighting.now.After(end) {
			continue
		}
		reason, known := why[p.Certificate]
		if !known {
			reason = proof.unproven(*p)
			why[p.Certificate] = reason
		}
		if reason == "" {
			continue
		}
		p.Verdict, p.Action, p.follows = Waiting, None, true
		p.Reason = "canary " + reason
		if !end.IsZero() {
			p.Reason += fmt.Sprintf("; what is served stays, until %s at the latest", stamp(end))
		}
	}
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
// sinks that were not looked at, and what the world is served from there. What people asked
// for tells how long they may wait.
func (h *Hub) consult(ctx context.Context, look assessment, promises []Promise) {
	names := h.followers(promises)
	if len(names) == 0 || !slices.ContainsFunc(h.Agents, func(a Agent) bool { return a.Canary }) {
		return
	}
	among := func(c anycert.Certificate) bool { return names[c.Name] }
	_ = h.recall(ctx, wanted(selected(h.Certificates, among), look.truth), false, storeTimeout)
	looked := look.only
	look.only = Only{}
	var wait sync.WaitGroup
	for _, agent := range h.Agents {
		agent.Certificates = selected(agent.Certificates, among)
		if !agent.Canary || agent.Suspended || len(agent.Certificates) == 0 {
			continue
		}
		wait.Go(func() {
			if !looked.sink(agent.Name) || looked.Target != "" {
				h.seen.put(agent.Name, look.assess(ctx, agent))
			}
			h.witnessCanary(ctx, agent)
		})
	}
	wait.Wait()
}

// selected are those certificates of which is says so.
func selected(certificates []anycert.Certificate, is func(anycert.Certificate) bool) (some []anycert.Certificate) {
	for _, c := range certificates {
		if is(c) {
			some = append(some, c)
		}
	}
	return some
}

// reloading is for how long a server that was just pushed to may go on serving what it
// had: nginx answers a reload before it has done it.
const reloading = 5 * time.Second

// witnessCanary looks at what the world is served of the versions that a canary holds,
// where nobody has seen that it is well since it was looked at; for a while where they were
// just pushed.
func (h *Hub) witnessCanary(ctx context.Context, agent Agent) {
	end := time.Now().Add(reloading)
	for pause := 50 * time.Millisecond; ; pause *= 2 {
		due := h.onTheWire(ctx, h.unwitnessed(agent))
		h.seen.witness(agent.Name, due)
		reloads := slices.ContainsFunc(due, func(p Promise) bool {
			return p.Pushed && (p.Wire.State == WireBehind || p.Wire.State == WireUnseen)
		})
		if !reloads || time.Now().After(end) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// unwitnessed are the promises that a canary keeps and that were not seen to be well on the
// wire since.
func (h *Hub) unwitnessed(agent Agent) (due []Promise) {
	for _, c := range agent.Certificates {
		for _, p := range h.seen.of(agent.Name, c.Name) {
			if p.Verdict == Kept && h.watches(p) && (p.Wire == nil || !p.Wire.well() || p.Wire.Time.Before(p.sighting.now)) {
				due = append(due, p)
			}
		}
	}
	return due
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
		if !agent.Canary && !agent.Suspended {
			waiting = append(waiting, h.seen.following(agent.Name)...)
		}
	}
	if len(waiting) == 0 {
		return nil
	}
	belongs := make(map[string]bool, len(canary.Certificates))
	for _, c := range canary.Certificates {
		belongs[c.Name] = true
	}
	return slices.DeleteFunc(waiting, func(p Promise) bool { return !belongs[p.Certificate] })
}

// release asks for a pass, once for each version, when a canary shows what others wait
// for.
func (r *round) release(canary Agent) {
	waiting := r.hub.waiting(canary)
	if len(waiting) == 0 {
		return
	}
	proof, judged := r.hub.proof(), make(map[string]bool) // by certificate
	for _, p := range waiting {
		if judged[p.Certificate] {
			continue
		}
		judged[p.Certificate] = true
		if proof.unproven(p) == "" && r.hub.seen.first(p.Certificate, p.sighting.known.Entry.Digest) {
			offer(r.wake, struct{}{})
		}
	}
}

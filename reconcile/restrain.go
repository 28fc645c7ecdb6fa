package reconcile

import (
	"context"
	"slices"
	"sync"
)

// second does for those promises that wait for a canary what has become possible in the
// same pass: the canary was pushed to beside them.
func (h *Hub) second(ctx context.Context, look assessment, promises []Promise) {
	h.consult(ctx, look, promises)
	bySink := bySink(promises)
	var wait sync.WaitGroup
	for _, agent := range h.Agents {
		all := bySink[agent.Name]
		if !slices.ContainsFunc(all, waits) {
			continue
		}
		wait.Go(func() {
			var again []Promise
			for _, p := range all {
				if waits(p) {
					s := *p.sighting
					look.conclude(p, &s)
					again = append(again, *p)
				}
			}
			h.apply(ctx, agent, look, again)
			h.note(ctx, agent, following(again))
			for _, p := range all {
				if waits(p) {
					*p, again = again[0], again[1:]
				}
			}
			h.saw(ctx, agent, look, copies(all))
		})
	}
	wait.Wait()
}

// foresee has those promises wait that a pass would have wait.
func (h *Hub) foresee(ctx context.Context, look assessment, promises []Promise) {
	bySink := bySink(promises)
	for _, agent := range h.Agents {
		h.saw(ctx, agent, look, copies(bySink[agent.Name]))
	}
	h.consult(ctx, look, promises)
	for _, agent := range h.Agents {
		h.restrain(agent, look, bySink[agent.Name])
	}
}

func waits(p *Promise) bool { return p.follows }

// following are those promises that wait for a canary.
func following(promises []Promise) (some []Promise) {
	for i := range promises {
		if promises[i].follows {
			some = append(some, promises[i])
		}
	}
	return some
}

// settled are those that do not: all, as a rule, which need no copies then.
func settled(promises []Promise) []Promise {
	if len(following(promises)) == 0 {
		return promises
	}
	return slices.DeleteFunc(slices.Clone(promises), func(p Promise) bool { return p.follows })
}

// bySink points to promises by their sink.
func bySink(promises []Promise) map[string][]*Promise {
	pointers := make(map[string][]*Promise)
	for _, p := range refs(promises) {
		pointers[p.Sink] = append(pointers[p.Sink], p)
	}
	return pointers
}

func copies(pointers []*Promise) []Promise {
	promises := make([]Promise, len(pointers))
	for i, p := range pointers {
		promises[i] = *p
	}
	return promises
}

// restrain takes their actions from promises of agent that have to wait: for a canary, or
// for a person's word.
func (h *Hub) restrain(agent Agent, look assessment, promises []*Promise) {
	h.follow(agent, promises)
	h.brake(agent, look, promises)
}

package reconcile

import "context"

// StatusAgain makes a Status for somebody who asks again and again. It sees what the
// world is served as well, as often as a daemon looks: of what is well every tenth time.
// In between, what was seen last is told. It is not safe for concurrent use.
func (h *Hub) StatusAgain() func(context.Context) *Report {
	watcher, seen := new(watcher), make(map[place]*Wire)
	return func(ctx context.Context) *Report {
		report := h.Status(ctx)
		due := h.onTheWire(ctx, watcher.due(report.Promises, nil))
		if ctx.Err() != nil { // broken off: it tells nothing
			return report
		}
		watcher.saw(due, report.Promises)
		for _, p := range due {
			seen[p.place()] = p.Wire
		}
		for i := range report.Promises {
			if p := &report.Promises[i]; len(p.endpoints) > 0 && p.sighting.known.Entry != nil {
				p.Wire = seen[p.place()]
			}
		}
		return report
	}
}

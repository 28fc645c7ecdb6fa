package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/anycert/anycert"
)

// tellTimeout is for all that a sink is told after one pass: a courtesy delays nobody.
const tellTimeout = 10 * time.Second

// told remembers which promises are held, so that it is told when one begins to be.
type told struct {
	mu   sync.Mutex
	held map[string]bool // by what the promise is about
}

// begins reports whether a promise is held, and was not when it was last seen.
func (t *told) begins(p Promise) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	about := heldAt(p)
	was := t.held[about]
	if p.Verdict != Held {
		delete(t.held, about)
		return false
	}
	if t.held == nil {
		t.held = make(map[string]bool)
	}
	t.held[about] = true
	return !was
}

// unheard has it told once more that a promise is held.
func (t *told) unheard(p Promise) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.held, heldAt(p))
}

func heldAt(p Promise) string { return p.Key + " " + p.Sink + " " + p.Certificate }

// tell passes on to the people at a sink what the pass did, where the sink can. A sink
// that is not allowed to, or fails, is asked no further for this pass.
func (t *told) tell(ctx context.Context, agent Agent, promises []Promise, log *changes) {
	teller, ok := agent.Sink.(anycert.Teller)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	for _, p := range promises {
		event, worth := t.event(p)
		if !worth {
			continue
		}
		if err := tellOne(ctx, teller, p, event); err != nil {
			log.untold(agent.Name, err)
			if errors.Is(err, anycert.ErrForbidden) { // of one namespace, maybe
				continue
			}
			t.unheard(p)
			return
		}
	}
}

func tellOne(ctx context.Context, teller anycert.Teller, p Promise, event anycert.Event) (err error) {
	defer recovered("telling "+p.Target+" of certificate "+p.Certificate, &err)
	return teller.Tell(ctx, p.target, event)
}

// event is what there is to tell of a promise. Nothing is, where the pass wrote nothing
// and found nothing new.
func (t *told) event(p Promise) (anycert.Event, bool) {
	event := anycert.Event{Reason: p.Because, Version: p.Version}
	if entry := p.sighting.known.Entry; entry != nil {
		event.Time = entry.Time
	}
	begins := t.begins(p)
	switch {
	case begins:
		event.Kind, event.Reason = anycert.Held, p.Reason
	case !p.arrived() || p.Verdict == Broken && p.contested == "":
		return anycert.Event{}, false
	case p.contested != "":
		event.Kind = anycert.Contested
	case p.Action == Mend:
		event.Kind = anycert.Mended
	default:
		event.Kind = anycert.Pushed
	}
	return event, true
}

// untold logs, once for each reason, that a sink could not pass on what was done. No
// promise is less kept because of it.
func (c *changes) untold(sink string, err error) {
	if c.news("told "+sink, err.Error(), false) {
		c.log.Log(context.Background(), slog.LevelDebug, "the people at a sink could not be told", "sink", sink, "reason", err)
	}
}

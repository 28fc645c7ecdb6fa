package reconcile

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Health tells two things that must not be mixed up: whether the loop turns, and
// whether the promises are kept (law 11). A sealed Vault or a dead cluster is the
// second; only the first is a reason to restart a process.
type Health struct {
	mu       sync.Mutex
	deadline time.Time // when the loop must have turned again
	stale    time.Duration
	config   error // why the last reload was not taken over
	sinks    map[string]*sinkHealth
	overdue  []string // certificates that should have been obtained, and why they were not
}

type sinkHealth struct {
	last     time.Time // end of the last pass
	promises []Promise
}

// slack is how much later than due a turn of the loop may be: it only hands out work
// and never waits for it.
const slack = 30 * time.Second

func newHealth(agents []Agent) *Health {
	h := &Health{deadline: time.Now().Add(slack)}
	h.configured(agents)
	return h
}

func (h *Health) configured(agents []Agent) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.sinks
	h.sinks = make(map[string]*sinkHealth)
	h.stale = staleAfter // more by the schedule, which may be another
	for _, agent := range agents {
		if agent.Suspended {
			continue
		}
		h.sinks[agent.Name] = new(sinkHealth)
		if known := before[agent.Name]; known != nil {
			h.sinks[agent.Name] = known
		}
	}
}

func (h *Health) turned(now time.Time, next time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deadline = now.Add(next + slack + grace)
	h.stale = max(h.stale, staleAfter, 3*next)
}

func (h *Health) passed(sink string, now time.Time, promises []Promise) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if known := h.sinks[sink]; known != nil {
		known.last, known.promises = now, promises
	}
}

func (h *Health) obtained(overdue []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.overdue = overdue
}

// Configuration tells how the last reload ended. A wrong file is reported until it is
// mended; the last good configuration stays in force.
func (h *Health) Configuration(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.config = err
}

// Live returns nil while the loop turns.
func (h *Health) Live(now time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now.After(h.deadline) {
		return fmt.Errorf("the loop has not turned since it was due %s ago", now.Sub(h.deadline).Round(time.Second))
	}
	return nil
}

// staleAfter is after how long without a pass a sink counts as not kept, at least:
// nobody looked. With a slow schedule it is three of its intervals.
const staleAfter = 5 * time.Minute

// Ready returns nil when every promise was seen kept or waiting by the last pass of
// its sink, none of these passes is stale, and no certificate is overdue; else one line
// for each that is not.
func (h *Health) Ready(now time.Time) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	lines := slices.Clone(h.overdue)
	if h.config != nil {
		lines = append(lines, "the configuration file was not taken over: "+h.config.Error())
	}
	for name, sink := range h.sinks {
		switch {
		case sink.last.IsZero():
			lines = append(lines, fmt.Sprintf("sink %s: no pass has ended yet", name))
			continue
		case now.Sub(sink.last) > h.stale:
			lines = append(lines, fmt.Sprintf("sink %s: no pass has ended for %s", name, now.Sub(sink.last).Round(time.Second)))
		}
		for _, p := range sink.promises {
			if p.Verdict != Kept && p.Verdict != Waiting {
				lines = append(lines, fmt.Sprintf("%s at %s %s: %s: %s", p.Certificate, p.Sink, p.Target, p.Verdict, p.Reason))
			}
		}
	}
	slices.Sort(lines)
	return lines
}

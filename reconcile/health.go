package reconcile

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Health tells two things that must not be mixed up: whether the loop turns, and
// whether the promises are kept (law 11). A sealed Vault or a dead cluster is the
// second; only the first is a reason to restart a process. For machines that count, the
// same is in a Snapshot.
type Health struct {
	orders *orders
	recent *recent
	began  time.Time

	mu       sync.Mutex
	turnedAt time.Time
	deadline time.Time // when the loop must have turned again
	stale    time.Duration

	config   error     // why the last reload was not taken over
	reloaded time.Time // when the configuration in force was

	storeRead    time.Time // when the store last answered for every certificate that is not suspended
	certificates []CertificateState
	overdue      []string          // certificates that should have been obtained, and why they were not
	plights      map[string]plight // by certificate
	answers      standing          // of the store
	issuers      []string
	sinks        map[string]*record

	owner  string
	looked time.Time           // when the store was asked last
	listed []CertificateStatus // as declared, for people
	agents []SinkView          // all, by name alone
}

// slack is how much later than due a turn of the loop may be: it only hands out work
// and never waits for it.
const slack = 30 * time.Second

func newHealth(hub *Hub) *Health {
	now := time.Now()
	h := &Health{orders: hub.orders, recent: &hub.log.recent, began: now, deadline: now.Add(slack), reloaded: now}
	h.configured(hub)
	return h
}

// configured goes over to the configuration of hub, and keeps what is known of the
// parts that are still in it.
func (h *Health) configured(hub *Hub) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stale = staleAfter // more by the schedule, which may be another
	h.issuers = hub.issuers()
	before := h.sinks
	h.sinks = make(map[string]*record)
	for _, agent := range hub.Agents {
		if agent.Suspended {
			continue
		}
		known := before[agent.Name]
		if known == nil {
			known = newRecord()
		}
		known.configured(agent)
		h.sinks[agent.Name] = known
	}
	h.declared(hub)
	states := hub.states(nil, time.Now())
	h.suffer(hub.plights(nil, slices.Clone(states), time.Now()))
	h.readAs(states)
}

func (h *Health) turned(now time.Time, next time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.turnedAt, h.deadline = now, now.Add(next+slack+grace)
	h.stale = max(h.stale, staleAfter, 3*next)
}

func (h *Health) passed(sink string, began, ended time.Time, promises []Promise) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if known := h.sinks[sink]; known != nil {
		known.passed(began, ended, promises)
	}
}

// read takes note of what the store said, and of what should have been obtained.
func (h *Health) read(now time.Time, certificates []CertificateState, listed []CertificateStatus, plights map[string]plight, overdue []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.overdue, h.looked = overdue, now
	h.list(listed, certificates)
	h.suffer(plights)
	h.readAs(certificates)
	h.answers.saw(silence(certificates, plights), now)
	if !slices.ContainsFunc(certificates, func(c CertificateState) bool { return !c.answered() }) {
		h.storeRead = now
	}
}

// suffer puts plights in the place of those before.
func (h *Health) suffer(plights map[string]plight) {
	for name, p := range plights {
		plights[name] = p.after(h.plights[name], h.orders.failure(name))
	}
	h.plights = plights
}

// readAs puts certificates in the place of what was known of them.
func (h *Health) readAs(certificates []CertificateState) {
	before := make(map[string]CertificateState, len(h.certificates))
	for _, c := range h.certificates {
		before[c.Name] = c
	}
	for i, c := range certificates {
		certificates[i] = c.remembering(before[c.Name])
	}
	h.certificates = certificates
}

// Configuration tells how the last reload ended. A wrong file is reported until it is
// mended; the last good configuration stays in force.
func (h *Health) Configuration(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.config = err; err == nil {
		h.reloaded = time.Now()
	}
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
// its sink, the world is served none of them otherwise, none of these passes is stale, the store answers, and no certificate is
// overdue; else one line for each that is not.
func (h *Health) Ready(now time.Time) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	lines := slices.Clone(h.overdue)
	if h.config != nil {
		lines = append(lines, "the configuration file was not taken over: "+h.config.Error())
	}
	if since := later(h.began, h.storeRead); now.Sub(since) > h.stale { // a hub without sinks has no promise that says so
		lines = append(lines, fmt.Sprintf("the store has not answered for every certificate for %s", now.Sub(since).Round(time.Second)))
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
			if !p.well() {
				lines = append(lines, fmt.Sprintf("%s at %s %s: %s: %s", p.Certificate, p.Sink, p.Target, p.Verdict, p.Reason))
			}
		}
		astray, _ := sink.astray(now)
		for _, p := range astray {
			lines = append(lines, fmt.Sprintf("%s at %s %s: on the wire: %s", p.Certificate, p.Sink, p.Target, p.wireWords()))
		}
	}
	slices.Sort(lines)
	return lines
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

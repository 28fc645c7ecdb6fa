package reconcile

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Severity of an alarm tells how soon somebody has to look.
type Severity string

const (
	Warning  Severity = "warning"  // within a day or two
	Critical Severity = "critical" // now: what is served has expired or soon will, or the hub is at its end
)

// Severities lists them, the calmer first.
func Severities() []Severity { return []Severity{Warning, Critical} }

// AlarmKind is what an alarm is about.
type AlarmKind string

const (
	RenewalAlarm       AlarmKind = "renewal"       // a certificate without a renewal that works
	EntryAlarm         AlarmKind = "entry"         // what the store holds of a certificate cannot be used
	PromiseAlarm       AlarmKind = "promise"       // a certificate is not where it belongs
	ContestedAlarm     AlarmKind = "contested"     // somebody keeps changing a target back
	SinkAlarm          AlarmKind = "sink"          // a whole sink
	StoreAlarm         AlarmKind = "store"         // the store does not answer
	WireAlarm          AlarmKind = "wire"          // the world is served something else than the target holds
	ConfigurationAlarm AlarmKind = "configuration" // a changed configuration was not taken over
)

// AlarmKinds lists them.
func AlarmKinds() []AlarmKind {
	return []AlarmKind{RenewalAlarm, EntryAlarm, PromiseAlarm, WireAlarm, ContestedAlarm, SinkAlarm, StoreAlarm, ConfigurationAlarm}
}

// Alarm is one thing that somebody has to know: there is one for each key at a time, from
// its start to its end. Like an error of anycert, it shows no secret.
type Alarm struct {
	Key         string    `json:"key"` // the same for as long as it is on, and in every process
	Kind        AlarmKind `json:"kind"`
	Severity    Severity  `json:"severity"`
	Certificate string    `json:"certificate,omitempty"`
	Owner       string    `json:"owner,omitempty"`       // whom to ask about the certificate
	Description string    `json:"description,omitempty"` // what it is for
	Sink        string    `json:"sink,omitempty"`
	Target      string    `json:"target,omitempty"`   // the first, where there are several
	Text        string    `json:"text"`               // what is wrong and what to do, in a sentence
	Since       time.Time `json:"since"`              // zero where only whoever hears of it first can tell
	NotAfter    time.Time `json:"not_after,omitzero"` // when the certificate in question expires
	Cause       string    `json:"-"`                  // why, without what differs at each look: another cause is a change
}

// Alarms is what is known about alarms at one moment: which are on, and of which it cannot
// be told. Those of all other keys are over.
type Alarms struct {
	On   []Alarm         // by key
	open map[string]bool // keys, or their beginnings up to a slash
}

// Over reports whether the alarm of a key has ended for sure. Between on and over lies
// what a process that has just begun has not looked at yet, and what was seen well once:
// an alarm begins when something was ill for two passes, and ends when it was well for
// two. What no pass can mend begins at the first.
func (a Alarms) Over(key string) bool {
	if a.open[""] {
		return false
	}
	if _, on := slices.BinarySearchFunc(a.On, key, func(alarm Alarm, key string) int { return strings.Compare(alarm.Key, key) }); on {
		return false
	}
	for i, r := range key {
		if r == '/' && a.open[key[:i]] {
			return false
		}
	}
	return !a.open[key]
}

// passes is for how many looks in a row a thing has to be ill before there is an alarm,
// and well before it ends: what one pass mends is none, and what comes and goes is told
// once.
const passes = 2

// oneByOne is of how many certificates at one sink alarms are told one by one. More than that
// have one cause, and are told as the sink's.
const oneByOne = 10

// Alarms tells which alarms are on. It may be asked at any time, and reads nothing.
func (h *Health) Alarms(now time.Time) Alarms {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := &collection{now: now, stale: h.stale, began: h.began, open: make(map[string]bool)}
	c.configuration(h.config)
	c.store(h.answers, h.plights)
	for _, p := range h.plights {
		c.certificate(p, h.orders.failure(p.Name))
	}
	for name, sink := range h.sinks {
		c.sink(name, sink, h.plights)
		c.wires(name, sink, h.plights)
	}
	slices.SortFunc(c.on, func(a, b Alarm) int { return cmp.Compare(a.Key, b.Key) })
	return Alarms{c.on, c.open}
}

// collection gathers the alarms of one moment.
type collection struct {
	now, began time.Time
	stale      time.Duration
	on         []Alarm
	open       map[string]bool
}

// raise adds an alarm. Its text is one line, and has an end.
func (c *collection) raise(a Alarm) {
	a.Text, a.Cause = shorten(Clean(strings.Join(strings.Fields(a.Text), " ")), maxText), gist(a.Cause)
	c.on = append(c.on, a)
}

// maxText bounds the text of an alarm, in bytes: many are kept in one record.
const maxText = 700

// shorten cuts a text that is too long, at a rune.
func shorten(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit-len("…")], "") + "…"
}

func (c *collection) configuration(err error) {
	if err == nil {
		return
	}
	c.raise(Alarm{Key: string(ConfigurationAlarm), Kind: ConfigurationAlarm, Severity: Warning, Cause: err.Error(),
		Text: "the changed configuration was not taken over, the last good one stays in force: " + err.Error()})
}

// store is about a store that does not answer. While it is away nothing is renewed: that is
// critical when a certificate is urgent, and when it lasts.
func (c *collection) store(answers standing, plights map[string]plight) {
	switch {
	case answers.ill >= passes:
		severity := Warning
		if c.now.Sub(answers.since) > c.stale {
			severity = Critical
		}
		for _, p := range plights {
			if !p.Suspended && p.urgent(c.now) {
				severity = Critical
			}
		}
		c.raise(Alarm{Key: string(StoreAlarm), Kind: StoreAlarm, Severity: severity, Since: answers.since, Cause: answers.text,
			Text: "the store does not answer, so nothing is renewed or mended, and every place goes on serving what it has: " + answers.text})
	case answers.well < passes:
		c.open[string(StoreAlarm)] = true
	}
}

// gist is a text without what differs each time that the same thing happens: numbers,
// moments, what a server gave its answer to find it again.
func gist(text string) string {
	fields := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\n\"'`()[]{}<>,;=", r) })
	kept := fields[:0]
	for _, field := range fields {
		if digits := strings.Count(strings.Map(digit, field), "0"); digits == 0 {
			kept = append(kept, field)
		}
	}
	return shorten(strings.Join(kept, " "), maxText)
}

func digit(r rune) rune {
	if r >= '0' && r <= '9' {
		return '0'
	}
	return r
}

package notify

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/reconcile"
)

// ledgerSchema is the number in every record.
const ledgerSchema = 1

// ledger is what was told, as the store keeps it.
type ledger struct {
	Schema int              `json:"schema"`
	Alarms map[string]entry `json:"alarms"`           // by key
	Outbox []letter         `json:"outbox,omitempty"` // what was not taken yet, the oldest first
}

// entry is one alarm as it was told last.
type entry struct {
	Alarm   reconcile.Alarm    `json:"alarm"`
	Gist    string             `json:"gist"` // of its cause: another is a change
	Told    time.Time          `json:"told"` // when the last event was
	Changes int                `json:"changes,omitempty"`
	Returns int                `json:"returns,omitempty"`
	Was     reconcile.Severity `json:"was,omitempty"`  // its severity before the last event
	Ended   time.Time          `json:"ended,omitzero"` // zero while it is on
}

// letter is an event that some receivers have not taken yet.
type letter struct {
	Event
	To  []string  `json:"to"`  // receivers
	By  string    `json:"by"`  // the process that sends it
	Due time.Time `json:"due"` // when it tries: long after that another one does
}

func newLedger() ledger { return ledger{Schema: ledgerSchema, Alarms: make(map[string]entry)} }

func parseLedger(text string) (ledger, error) {
	l := newLedger()
	if err := json.Unmarshal([]byte(text), &l); err != nil || l.Alarms == nil {
		return ledger{}, fmt.Errorf("what was told of alarms: %w", anycert.ErrMalformed)
	}
	if l.Schema > ledgerSchema {
		return ledger{}, fmt.Errorf("what was told of alarms is of a later anycert (schema %d), and left alone: %w", l.Schema, anycert.ErrMalformed)
	}
	return l, nil
}

func (l ledger) text() anycert.Secret {
	text, err := json.Marshal(l)
	if err != nil {
		panic("notify: a ledger is not JSON: " + err.Error()) // it has texts, numbers and times alone
	}
	return anycert.NewSecret(string(text))
}

const (
	// memory is how long it is remembered that an alarm has ended: one that comes back
	// within it has to be away longer, each time, before its end is told again.
	memory = time.Hour
	// most is of how many alarms each is told. What is beyond is told as one, so that a
	// record stays below what a store takes.
	most = 200
	// postage is for how long an event is tried to be sent that is not the last word, and
	// postageOfEnd the end of an alarm, for which somebody may be waiting.
	postage      = 24 * time.Hour
	postageOfEnd = 8 * 24 * time.Hour
	// abandoned is how long after its time a letter is taken over by another process.
	abandoned = 2 * time.Minute
	// crowded is how many letters wait at most: beyond that the oldest are dropped that are
	// not the last word.
	crowded = 300
)

// pause is how long an event must be away from the one before, or an alarm be over: not at
// all the first time, then longer and longer, up to an hour.
func pause(times int, first time.Duration) time.Duration {
	if times <= 0 {
		return 0
	}
	return min(first<<min(times-1, 10), memory)
}

// follow compares alarms with what was told, takes note of what is to be told now, and
// returns that. over is since when alarms are over that are not told to be.
func (l *ledger) follow(alarms reconcile.Alarms, over map[string]time.Time, now time.Time) []Event {
	var events []Event
	tell := func(kind Kind, e entry) {
		e.Told = now
		l.Alarms[e.Alarm.Key] = e
		events = append(events, Event{Schema: eventSchema, ID: "msg_" + rand.Text(), Event: kind, Time: now.UTC().Truncate(time.Second), Alarm: e.Alarm})
	}
	on := make(map[string]bool)
	for _, a := range l.bounded(alarms) {
		on[a.Key] = true
		if kind, e := l.next(a, now); kind != "" {
			tell(kind, e)
		}
	}
	for key, e := range l.Alarms {
		if on[key] || !e.Ended.IsZero() || !alarms.Over(key) {
			delete(over, key)
			continue
		}
		since, known := over[key]
		if !known {
			since, over[key] = now, now
		}
		if now.Sub(since) >= pause(e.Returns, 2*time.Minute) {
			e.Ended, e.Was = now.UTC().Truncate(time.Second), ""
			tell(End, e)
		}
	}
	slices.SortFunc(events, func(a, b Event) int { return strings.Compare(a.Alarm.Key, b.Alarm.Key) })
	return events
}

// next is what is to be told of an alarm that is on: a kind of "" for nothing.
func (l *ledger) next(a reconcile.Alarm, now time.Time) (Kind, entry) {
	e, known := l.Alarms[a.Key]
	since, gist := e.Alarm.Since, gistOf(a)
	if !known || !e.Ended.IsZero() {
		returns := 0
		if known && now.Sub(e.Ended) < memory {
			returns = e.Returns + 1
		}
		if since = a.Since; since.IsZero() {
			since = now
		}
		a.Since = since.UTC().Truncate(time.Second)
		return Start, entry{Alarm: a, Gist: gist, Returns: returns}
	}
	worse := a.Severity == reconcile.Critical && e.Alarm.Severity != reconcile.Critical
	if gist == e.Gist && a.Severity == e.Alarm.Severity || !worse && now.Sub(e.Told) < pause(e.Changes, time.Minute) {
		return "", e
	}
	if now.Sub(e.Told) >= 2*memory {
		e.Changes = 0
	}
	a.Since = since
	e.Was, e.Alarm, e.Gist, e.Changes = e.Alarm.Severity, a, gist, e.Changes+1
	return Change, e
}

// gistOf is the cause of an alarm in few letters.
func gistOf(a reconcile.Alarm) string {
	sum := sha256.Sum256([]byte(a.Cause))
	return hex.EncodeToString(sum[:8])
}

// bounded are the alarms that are on, with one for those beyond the bound. What was told
// to be on stays among the first.
func (l *ledger) bounded(alarms reconcile.Alarms) []reconcile.Alarm {
	if len(alarms.On) <= most {
		return alarms.On
	}
	rank := func(a reconcile.Alarm) int {
		e, known := l.Alarms[a.Key]
		switch {
		case known && e.Ended.IsZero():
			return 0
		case a.Severity == reconcile.Critical:
			return 1
		}
		return 2
	}
	on := slices.Clone(alarms.On)
	slices.SortStableFunc(on, func(a, b reconcile.Alarm) int { return rank(a) - rank(b) })
	severity := on[most].Severity // the worst of the rest is the first
	return append(on[:most:most], reconcile.Alarm{Key: "more", Kind: More, Severity: severity,
		Text: fmt.Sprintf("%d more alarms are on: `anycert status` and `anycert audit` show them all", len(on)-most)})
}

// post puts events into the outbox, for the process by.
func (l *ledger) post(events []Event, to []string, by string, now time.Time) {
	if len(to) == 0 {
		return
	}
	for _, e := range events {
		l.Outbox = append(l.Outbox, letter{Event: e, To: to, By: by, Due: now})
	}
}

// deliver takes out of the outbox what was taken, takes over what another process seems
// to have left, and says for how long the letters of this one are under way.
func (l *ledger) deliver(senders map[string]sender, self string, now time.Time) (changed bool) {
	var rest []letter
	for _, letter := range l.Outbox {
		to := slices.DeleteFunc(slices.Clone(letter.To), func(name string) bool {
			s := senders[name]
			return s != nil && s.took(letter.ID)
		})
		if changed = changed || len(to) < len(letter.To); len(to) == 0 {
			continue
		}
		letter.To = to
		known := slices.ContainsFunc(to, func(name string) bool { return senders[name] != nil })
		if late := now.Sub(letter.Due); known && (late >= abandoned || letter.By == self && late >= abandoned/2) {
			letter.By, letter.Due, changed = self, now, true
			for _, name := range to {
				if s := senders[name]; s != nil && s.due().After(letter.Due) {
					letter.Due = s.due()
				}
			}
		}
		rest = append(rest, letter)
	}
	l.Outbox = rest
	return changed
}

// tidy forgets what nobody needs any more, which is no reason to write, and returns the
// letters that are given up.
func (l *ledger) tidy(now time.Time) (lost []letter) {
	for key, e := range l.Alarms {
		if !e.Ended.IsZero() && now.Sub(e.Ended) >= memory {
			delete(l.Alarms, key)
		}
	}
	excess := len(l.Outbox) - crowded
	l.Outbox = slices.DeleteFunc(l.Outbox, func(letter letter) bool {
		switch {
		case l.stands(letter):
			return false
		case len(lost) < excess:
			lost = append(lost, letter)
			return true
		}
		return letter.tooOld(now.Add(-time.Hour))
	})
	return lost
}

// tooOld reports whether an event that does not stand is given up.
func (e Event) tooOld(now time.Time) bool {
	if e.Event == End {
		return now.Sub(e.Time) >= postageOfEnd
	}
	return now.Sub(e.Time) >= postage
}

// stands reports whether a letter is the last word about an alarm that is on. It is never
// given up: whoever listens again has to hear of it. There are fewer of these than crowded.
func (l *ledger) stands(letter letter) bool {
	e, known := l.Alarms[letter.Alarm.Key]
	return known && e.Ended.IsZero() && e.Told.UTC().Truncate(time.Second).Equal(letter.Time)
}

// merge adds what was told from memory while the store was away.
func (l *ledger) merge(told ledger) {
	for key, e := range told.Alarms {
		if there, known := l.Alarms[key]; !known || e.Told.After(there.Told) {
			l.Alarms[key] = e
		}
	}
	there := make(map[string]bool)
	for _, letter := range l.Outbox {
		there[letter.ID] = true
	}
	for _, letter := range told.Outbox {
		if !there[letter.ID] {
			l.Outbox = append(l.Outbox, letter)
		}
	}
}

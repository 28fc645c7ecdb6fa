package notify

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/anycert/anycert/reconcile"
)

// eventSchema is the number in every event. It counts up when a field changes its meaning;
// fields may be added without that.
const eventSchema = 1

// Kind is what happened to an alarm.
type Kind string

const (
	Start  Kind = "start"
	Change Kind = "change" // of its severity, or of what is wrong
	End    Kind = "end"
)

// More is the kind of the one alarm about those that are too many to be told one by one.
const More reconcile.AlarmKind = "more"

// Event is what a webhook is sent.
type Event struct {
	Schema int             `json:"schema"`
	ID     string          `json:"id"` // the same each time that it is sent
	Event  Kind            `json:"event"`
	Time   time.Time       `json:"time"`
	Hub    string          `json:"hub,omitempty"` // the owner of the configuration
	Alarm  reconcile.Alarm `json:"alarm"`
}

// message is an event as it is sent. Text is a line for people: chats show it, and leave
// the rest.
type message struct {
	Event
	Text string `json:"text"`
}

// body is the JSON of an event.
func (e Event) body(hub string) ([]byte, error) {
	e.Hub = hub
	return json.Marshal(message{e, e.line()})
}

// line is an event for people.
func (e Event) line() string {
	head := map[Kind]string{Start: string(e.Alarm.Severity), Change: string(e.Alarm.Severity) + ", changed", End: "over"}[e.Event]
	about := ""
	if e.Alarm.Description != "" {
		about += " (" + e.Alarm.Description + ")"
	}
	if e.Alarm.Owner != "" {
		about += " [" + e.Alarm.Owner + "]"
	}
	return strings.Join(strings.Fields(reconcile.Clean(head+about+": "+e.Alarm.Text)), " ")
}

package anycert

import (
	"context"
	"time"
)

// Teller is an optional power of a [Sink]: it tells the people at the place what became
// of a target, where they look first. Tell is called after a pass, for what that pass
// did or newly found, and never for a pass that changed nothing.
//
// The sink bounds how much it writes: what is told again and again is told once and
// counted. Telling is a courtesy: an error makes no promise less kept, and ErrForbidden
// says no more than that the right to it was not given.
type Teller interface {
	Tell(ctx context.Context, target Target, event Event) error
}

// Event is what a pass did about a target, or found there. It holds no secret.
type Event struct {
	Kind EventKind
	// Reason is for people: why it was done, or is not done.
	Reason string
	// Version is the store's, and Time when it was written there; zero where the store
	// has none.
	Version int
	Time    time.Time
}

// EventKind is what an Event is about.
type EventKind string

const (
	Pushed    EventKind = "pushed"    // the target holds another version, or key, than before
	Mended    EventKind = "mended"    // the certificate was right, something beside it was not
	Contested EventKind = "contested" // it was pushed, and somebody keeps changing it back
	Held      EventKind = "held"      // nothing is pushed until a person has looked: see Reason
)

// Adviser is an optional power of a [Prober]: once it was found to be usable, Advise
// tells what it cannot do that nobody has to have. Empty: nothing.
type Adviser interface {
	Advise(ctx context.Context) (string, error)
}

package reconcile

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// wireGrace is how long a server may take to serve what its target was given, before
// it is an alarm: a provider passes it on to all its places in minutes.
const wireGrace = 10 * time.Minute

// wireRecord is what is remembered of the wire of one promise.
type wireRecord struct {
	promise Promise // with its Wire
	standing
}

// ill is a wire that is not well, as standing counts it.
func (w *Wire) ill() error {
	if w.well() {
		return nil
	}
	return errors.New(w.Text)
}

// notAfter is the earliest end of what the addresses served; nil when none served
// anything.
func (w *Wire) notAfter() *time.Time {
	var first *time.Time
	for _, a := range w.Addresses {
		if a.NotAfter != nil && (first == nil || a.NotAfter.Before(*first)) {
			first = a.NotAfter
		}
	}
	return first
}

// witnessed takes note of a look at the wire of some promises of a sink.
func (h *Health) witnessed(sink string, promises []Promise) {
	h.mu.Lock()
	defer h.mu.Unlock()
	known := h.sinks[sink]
	if known == nil {
		return
	}
	for _, p := range promises {
		wire := known.wires[p.place()]
		wire.saw(p.Wire.ill(), p.Wire.Time)
		wire.promise = p
		known.wires[p.place()] = wire
	}
}

// forgetWires drops what was seen where nobody looks any more.
func (r *record) forgetWires() {
	before := r.wires
	r.wires = make(map[place]wireRecord)
	for _, p := range r.promises {
		if wire, known := before[p.place()]; known && len(p.endpoints) > 0 {
			r.wires[p.place()] = wire
		}
	}
}

// astray are the promises that are kept and have not been what the world is served for
// long enough that somebody has to look, and those of which that cannot be told yet. A
// promise that is not kept is told as that.
func (r *record) astray(now time.Time) (ill, open []Promise) {
	for _, p := range r.promises {
		if len(p.endpoints) == 0 || p.sighting.known.Entry == nil {
			continue
		}
		wire, seen := r.wires[p.place()]
		graced := seen && wire.promise.Wire.State == WireBehind && now.Sub(wire.since) < wireGrace
		switch {
		case p.well() && wire.ill >= passes && !graced:
			p.Wire = wire.promise.Wire
			ill = append(ill, p)
		case wire.well < passes:
			open = append(open, p)
		}
	}
	return ill, open
}

// wires raises the alarms about what the world is served of one sink's promises: one for
// each certificate, or one for the sink where they are many.
func (c *collection) wires(name string, r *record, plights map[string]plight) {
	all := string(WireAlarm) + "/" + name
	if r.last.IsZero() {
		c.open[all] = true
		return
	}
	ill, open := r.astray(c.now)
	for _, p := range open {
		c.open[all], c.open[all+"/"+p.Certificate] = true, true
	}
	groups := byName(ill)
	if len(groups) > oneByOne {
		c.open[all] = true
		first := ill[0]
		c.raise(Alarm{Key: all, Kind: WireAlarm, Severity: c.worstWire(ill, plights), Sink: name, Target: first.Target, Since: r.wireSince(ill), Cause: string(first.Wire.State),
			Text: fmt.Sprintf("of %d promises of sink %s the world is served something else, that of certificate %s at %s: %s; `anycert audit --only %s` lists them",
				len(ill), name, first.Certificate, first.Target, first.wireWords(), name)})
		return
	}
	for _, promises := range groups {
		first := promises[0]
		a := plights[first.Certificate].alarm(WireAlarm, strings.Join([]string{all, first.Certificate}, "/"), c.now, r.wireSince(promises),
			string(first.Wire.State)+" "+first.Wire.Text,
			fmt.Sprintf("certificate %s is at %s %s, and the world is served something else: %s", first.Certificate, name, first.Target, first.wireWords()))
		a.Certificate, a.Sink, a.Target, a.Severity = first.Certificate, name, first.Target, c.worstWire(promises, plights)
		a.NotAfter = time.Time{}
		if end := first.Wire.notAfter(); end != nil {
			a.NotAfter = *end
		}
		c.raise(a)
	}
}

// worstWire is critical where clients refuse what they are served, or soon will.
func (c *collection) worstWire(promises []Promise, plights map[string]plight) Severity {
	severity := Warning
	for _, p := range promises {
		if p.NotAfter = p.Wire.notAfter(); p.Wire.State == WireUnfit || c.worst([]Promise{p}, plights) == Critical {
			severity = Critical
		}
	}
	return severity
}

func (r *record) wireSince(promises []Promise) time.Time {
	since := r.wires[promises[0].place()].since
	for _, p := range promises {
		since = earlier(since, r.wires[p.place()].since)
	}
	return since
}

// byName groups promises by certificate, in their order.
func byName(promises []Promise) (groups [][]Promise) {
	for i, p := range promises {
		if i == 0 || promises[i-1].Certificate != p.Certificate {
			groups = append(groups, nil)
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], p)
	}
	return groups
}

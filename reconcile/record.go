package reconcile

import (
	"maps"
	"time"
)

// record is what is remembered of the passes of one sink.
type record struct {
	certificates []string  // that belong there, by the configuration
	promises     []Promise // as the last pass left them
	last         time.Time // end of the last pass
	succeeded    time.Time // end of the last pass after which every promise was kept or waiting
	verified     map[place]time.Time
	stretches    map[place]stretch
	passes       []Pass // the last ones, the oldest first
	took         Durations
	pushes       Tally
	standing     sinkStanding
	wires        map[place]wireRecord // what the last look at the wire of each brought
}

// stretch is how long a promise has had its verdict.
type stretch struct {
	verdict Verdict
	since   time.Time
}

// Pass is one pass of a sink, in numbers.
type Pass struct {
	Began   time.Time `json:"began"`
	Ended   time.Time `json:"ended"`
	Kept    int       `json:"kept"`
	Waiting int       `json:"waiting"`
	Failing int       `json:"failing"` // neither kept nor waiting
	Pushed  int       `json:"pushed"`  // written to, or tried to
}

// keptPasses is how many are remembered of each sink: an hour, with the default schedule.
const keptPasses = 60

// place is a promise by its names: where which certificate belongs.
type place struct{ certificate, target string }

func newRecord() *record {
	return &record{took: newDurations(), pushes: NewPushTally(), wires: make(map[place]wireRecord)}
}

// configured forgets what does not belong to the sink any more.
func (r *record) configured(agent Agent) {
	r.certificates = r.certificates[:0]
	belongs := make(map[string]bool)
	for _, c := range agent.Certificates {
		if !c.Suspended && !belongs[c.Name] {
			r.certificates, belongs[c.Name] = append(r.certificates, c.Name), true
		}
	}
	var promises []Promise
	for _, p := range r.promises {
		if belongs[p.Certificate] {
			promises = append(promises, p)
		}
	}
	r.remember(promises)
}

// passed takes note of a pass.
func (r *record) passed(began, ended time.Time, promises []Promise) {
	r.last = ended
	r.took.add(ended.Sub(began))
	r.remember(promises)
	r.standing.saw(promises, ended)
	pass, well := Pass{Began: began.UTC(), Ended: ended.UTC()}, true
	for _, p := range promises {
		well = well && p.well()
		pass.count(p)
		if outcome, ok := p.pushOutcome(); ok {
			r.pushes[outcome]++
		}
	}
	r.passes = append(r.passes[max(0, len(r.passes)-keptPasses+1):len(r.passes):len(r.passes)], pass)
	if well {
		r.succeeded = ended
	}
}

// count adds a promise.
func (p *Pass) count(of Promise) {
	switch {
	case of.Verdict == Kept && of.well():
		p.Kept++
	case of.well():
		p.Waiting++
	default:
		p.Failing++
	}
	if of.Pushed {
		p.Pushed++
	}
}

// remember takes promises in the place of the last ones. That one is not kept now does
// not change when it was last seen kept.
func (r *record) remember(promises []Promise) {
	r.promises = promises
	verified, stretches := r.verified, r.stretches
	r.verified, r.stretches = make(map[place]time.Time, len(promises)), make(map[place]stretch, len(promises))
	for _, p := range promises {
		at := verified[p.place()]
		if p.Verdict == Kept && p.sighting.now.After(at) {
			at = p.sighting.now
		}
		r.verified[p.place()] = at
		had := stretches[p.place()]
		if had.verdict != p.Verdict {
			had = stretch{p.Verdict, p.sighting.now}
		}
		r.stretches[p.place()] = had
	}
	r.forgetWires()
}

// state is a copy of what is remembered.
func (r *record) state(sink string) SinkState {
	state := SinkState{Name: sink, Passed: r.last, Succeeded: r.succeeded, Took: r.took, Pushes: maps.Clone(r.pushes)}
	state.Took.Within = maps.Clone(r.took.Within)
	states := make(map[string]*PromiseState, len(r.certificates))
	state.Promises = make([]PromiseState, len(r.certificates))
	for i, name := range r.certificates {
		state.Promises[i] = PromiseState{Certificate: name, Verdicts: make(map[Verdict]int)}
		states[name] = &state.Promises[i]
	}
	for _, p := range r.promises {
		of, declared := states[p.Certificate]
		if !declared {
			continue
		}
		if at := r.verified[p.place()]; len(of.Verdicts) == 0 || at.Before(of.Verified) {
			of.Verified = at
		}
		if p.NotAfter != nil && (of.NotAfter.IsZero() || p.NotAfter.Before(of.NotAfter)) {
			of.NotAfter = *p.NotAfter
		}
		of.Verdicts[p.Verdict]++
	}
	for _, wire := range r.wires {
		if of, declared := states[wire.promise.Certificate]; declared {
			of.saw(wire.promise.Wire)
		}
	}
	return state
}

func (p Promise) place() place { return place{p.Certificate, p.Key} }

// well reports whether nobody has to look.
func (p Promise) well() bool { return p.Verdict == Kept || p.Verdict == Waiting }

// Durations is a histogram of how long passes took.
type Durations struct {
	Count  int
	Sum    time.Duration
	Within map[time.Duration]int // how many took no longer, for each of a few bounds
}

// bounds of Durations: a pass that writes nothing takes milliseconds, one that hangs is
// given up after minutes.
var bounds = [...]time.Duration{100 * time.Millisecond, 500 * time.Millisecond, time.Second, 5 * time.Second,
	15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute}

func newDurations() Durations {
	d := Durations{Within: make(map[time.Duration]int, len(bounds))}
	for _, bound := range bounds {
		d.Within[bound] = 0
	}
	return d
}

func (d *Durations) add(took time.Duration) {
	d.Count++
	d.Sum += took
	for bound := range d.Within {
		if took <= bound {
			d.Within[bound]++
		}
	}
}

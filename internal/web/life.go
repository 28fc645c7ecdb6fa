package web

import (
	"fmt"
	"time"

	"github.com/anycert/anycert/reconcile"
)

// life is the lifetime of a certificate as a bar, 1000 units long.
type life struct {
	Now     int // where this moment is
	Past    int // how much has passed until then, or until the renewal
	Over    int // how much has passed since the renewal was due
	Renewal int // where the renewal begins; 1000 where none does
	Window  int // how long it has, until the expiry
	Tone    string
	Text    string // the same for those who do not see it
	Begins  time.Time
	Due     time.Time // zero: nobody says
	Ends    time.Time
}

const barLength = 1000

// newLife is nil where there is nothing to show.
func newLife(c *reconcile.CertificateView, now time.Time) *life {
	if c.NotBefore == nil || c.NotAfter == nil || !c.NotAfter.After(*c.NotBefore) {
		return nil
	}
	l := &life{Begins: *c.NotBefore, Ends: *c.NotAfter, Renewal: barLength, Tone: "calm"}
	l.Now = l.at(now)
	l.Text = fmt.Sprintf("Lifetime from %s to %s: %d %% has passed", day(l.Begins), day(l.Ends), l.Now/10)
	if c.Renewal != nil && c.Renewal.Before(*c.NotAfter) {
		l.Due, l.Renewal = *c.Renewal, l.at(*c.Renewal)
		l.Text += "; to be renewed from " + day(*c.Renewal)
	}
	l.Window, l.Past, l.Over = barLength-l.Renewal, min(l.Now, l.Renewal), max(0, l.Now-l.Renewal)
	if l.Ends.Sub(now) < l.Ends.Sub(l.Begins)/10 {
		l.Tone = "late"
	}
	return l
}

// at is where a moment is on the bar.
func (l *life) at(t time.Time) int {
	return int(min(max(0, barLength*t.Sub(l.Begins).Seconds()/l.Ends.Sub(l.Begins).Seconds()), barLength))
}

// sinkRow is one sink with a chart of its last passes.
type sinkRow struct {
	reconcile.SinkView
	Tone  reconcile.State
	State string
	Last  string
	Bars  []bar
	Text  string // the chart for those who do not see it
	Link  string
}

// bar is one pass in a chart: the higher, the longer it took.
type bar struct {
	X, Y, Height int
	Tone         string // calm, wrote or failing
	Title        string
}

// A chart is barHeight high, and a pass is barStep wide.
const (
	barStep   = 5
	barHeight = 28
	chartBars = 60
)

func sinkRows(view *reconcile.View) []sinkRow {
	astray := make(map[string]map[reconcile.WireState]int)
	for _, c := range view.Certificates {
		for _, p := range c.Promises {
			if !p.Astray || p.Wire == nil {
				continue
			}
			if astray[p.Sink] == nil {
				astray[p.Sink] = make(map[reconcile.WireState]int)
			}
			astray[p.Sink][p.Wire.State]++
		}
	}
	var rows []sinkRow
	for _, s := range view.Sinks {
		rows = append(rows, newSinkRow(s, wires(astray[s.Name]), view.Time))
	}
	return rows
}

// newSinkRow is the row of a sink; astray says what the world is served from there, where
// that is something else.
func newSinkRow(s reconcile.SinkView, astray string, now time.Time) sinkRow {
	r := sinkRow{SinkView: s, Tone: reconcile.Well, State: verdicts(s.Verdicts) + astray, Link: query{Sink: s.Name, Sort: byUrgency}.link(1)}
	switch {
	case s.Suspended:
		r.Tone, r.State, r.Last = reconcile.Suspended, "suspended", "not looked at"
		return r
	case len(s.Passes) == 0:
		r.Tone, r.State, r.Last = reconcile.Pending, "not looked at yet", "no pass has ended yet"
		if s.Stale {
			r.Tone = reconcile.Failing
		}
		return r
	}
	last := s.Passes[len(s.Passes)-1]
	took := last.Ended.Sub(last.Began)
	r.Last = ago(now.Sub(last.Ended)) + ", took " + short(took)
	switch {
	case s.Stale:
		r.Tone, r.State = reconcile.Failing, "no pass has ended for "+span(now.Sub(last.Ended))+"; then: "+r.State
	case last.Failing > 0, astray != "":
		r.Tone = reconcile.Failing
	case last.Waiting > 0:
		r.Tone = reconcile.Pending
	case r.State == "":
		r.State = "no certificate belongs here"
	}
	r.Bars, r.Text = chart(s.Passes)
	if failing := failed(s.Passes); failing > 0 { // a colour is not all that says it
		r.Last += "; " + number(failing) + " of the last " + number(len(s.Passes)) + " left something failing"
	}
	return r
}

// failed counts the passes that left something failing.
func failed(passes []reconcile.Pass) (n int) {
	for _, p := range passes {
		if p.Failing > 0 {
			n++
		}
	}
	return n
}

// chart draws passes, the last at the right.
func chart(passes []reconcile.Pass) (bars []bar, text string) {
	var longest time.Duration
	for _, p := range passes {
		longest = max(longest, p.Ended.Sub(p.Began))
	}
	failing, wrote := 0, 0
	for i, p := range passes {
		took := p.Ended.Sub(p.Began)
		b := bar{X: barStep * (chartBars - len(passes) + i), Height: 4, Tone: "calm"}
		if longest > 0 {
			b.Height += int((barHeight - 4) * took / longest)
		}
		b.Y = barHeight - b.Height
		b.Title = fmt.Sprintf("%s, took %s: %d kept, %d waiting, %d failing, %d written", stamp(p.Ended), short(took), p.Kept, p.Waiting, p.Failing, p.Pushed)
		switch {
		case p.Failing > 0:
			b.Tone = "failing"
			failing++
		case p.Pushed > 0:
			b.Tone = "wrote"
			wrote++
		}
		bars = append(bars, b)
	}
	return bars, fmt.Sprintf("Of the last %s %s left something failing, %s wrote; the longest took %s.",
		plural(len(passes), "pass"), number(failing), number(wrote), short(longest))
}

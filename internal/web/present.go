package web

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/reconcile"
)

// summary counts certificates and promises.
type summary struct {
	Certificates map[reconcile.State]int
	Verdicts     map[reconcile.Verdict]int
	Wires        map[reconcile.WireState]int // of the promises that are astray
	Declared     int
	Promises     int
	Unlooked     bool
}

func summarize(view *reconcile.View) summary {
	s := summary{Certificates: make(map[reconcile.State]int), Verdicts: make(map[reconcile.Verdict]int),
		Wires: make(map[reconcile.WireState]int), Declared: len(view.Certificates), Unlooked: view.Looked.IsZero()}
	for _, c := range view.Certificates {
		s.Certificates[c.State]++
		s.Promises += len(c.Promises)
		for _, p := range c.Promises {
			s.Verdicts[p.Verdict]++
			if p.Astray && p.Wire != nil {
				s.Wires[p.Wire.State]++
			}
		}
	}
	return s
}

// Title tells in one sentence whether somebody has to look.
func (s summary) Title() string {
	failing, waiting := s.Certificates[reconcile.Failing], s.Certificates[reconcile.Pending]
	switch {
	case s.Declared == 0:
		return "No certificate is declared"
	case failing > 0:
		return fmt.Sprintf("%s of %s %s attention", number(failing), plural(s.Declared, "certificate"), verb(failing, "needs", "need"))
	case s.Unlooked:
		return "Nothing has been looked at yet"
	case waiting > 0:
		return fmt.Sprintf("%s of %s %s, and nobody has to do anything", number(waiting), plural(s.Declared, "certificate"), verb(waiting, "waits", "wait"))
	case s.Promises == 0:
		return "Nothing is promised: no sink has a certificate"
	}
	return "Every promise is kept"
}

// Tone is the state of the whole.
func (s summary) Tone() reconcile.State {
	for _, state := range reconcile.States() {
		if s.Certificates[state] > 0 && state != reconcile.Suspended {
			return state
		}
	}
	return reconcile.Suspended
}

// Counts is how the promises stand.
func (s summary) Counts() string {
	if s.Promises == 0 {
		return "No promise was looked at yet"
	}
	return plural(s.Promises, "promise") + ": " + verdicts(s.Verdicts) + wires(s.Wires)
}

// verdicts is "11 kept, 1 broken".
func verdicts(count map[reconcile.Verdict]int) string {
	var words []string
	for _, verdict := range reconcile.Verdicts() {
		if n := count[verdict]; n > 0 {
			words = append(words, number(n)+" "+string(verdict))
		}
	}
	return strings.Join(words, ", ")
}

// wires is "; on the wire: 1 behind", where the world is served something else.
func wires(count map[reconcile.WireState]int) string {
	var words []string
	for _, state := range reconcile.WireStates() {
		if n := count[state]; n > 0 {
			words = append(words, number(n)+" "+string(state))
		}
	}
	if len(words) == 0 {
		return ""
	}
	return "; on the wire: " + strings.Join(words, ", ")
}

// alarm is one that is on.
type alarm struct {
	reconcile.Alarm
	Age string
}

// alarmsOnPage is how many are shown: the others have a certificate in the list below.
const alarmsOnPage = 8

func alarms(view *reconcile.View) (rows []alarm, more int) {
	sorted := slices.Clone(view.Alarms)
	slices.SortStableFunc(sorted, func(a, b reconcile.Alarm) int {
		severities := reconcile.Severities()
		return cmp.Compare(slices.Index(severities, b.Severity), slices.Index(severities, a.Severity))
	})
	for _, a := range sorted[:min(len(sorted), alarmsOnPage)] {
		shown := alarm{Alarm: a}
		if !a.Since.IsZero() {
			shown.Age = "for " + span(view.Time.Sub(a.Since))
		}
		rows = append(rows, shown)
	}
	return rows, len(sorted) - len(rows)
}

// filter is a link to the certificates in one state.
type filter struct {
	State  reconcile.State // empty: all
	Count  int
	Link   string
	Chosen bool
}

// filters are all that lead somewhere, and the one that is chosen.
func filters(view *reconcile.View, q query) []filter {
	count := map[reconcile.State]int{"": len(view.Certificates)}
	for _, c := range view.Certificates {
		count[c.State]++
	}
	var links []filter
	for _, state := range append([]reconcile.State{""}, reconcile.States()...) {
		if count[state] > 0 || state == "" || state == q.State {
			other := q
			other.State = state
			links = append(links, filter{state, count[state], other.link(1), state == q.State})
		}
	}
	return links
}

// row is one certificate.
type row struct {
	*reconcile.CertificateView
	Names   []string // the first ones
	More    int      // names
	Life    *life    // nil: none is there
	Left    string   // until it expires, or since
	Expired bool
	Renews  string
	Counts  string
	Trouble []promiseRow // the first promises that are not kept, or not what the world is served
	Others  int          // such promises beside those
}

// namesInRow is how many names are shown of a certificate in a list.
const namesInRow = 3

func newRow(c *reconcile.CertificateView, now time.Time) row {
	r := row{CertificateView: c, Names: c.Domains[:min(len(c.Domains), namesInRow)], More: max(0, len(c.Domains)-namesInRow),
		Life: newLife(c, now), Renews: renews(c, now)}
	if c.NotAfter != nil {
		r.Left, r.Expired = distance(c.NotAfter.Sub(now)), !now.Before(*c.NotAfter)
	}
	count, astray := make(map[reconcile.Verdict]int), make(map[reconcile.WireState]int)
	for _, p := range byConcern(c.Promises) {
		count[p.Verdict]++
		if p.Astray && p.Wire != nil {
			astray[p.Wire.State]++
		}
		switch {
		case !p.Ill() && p.Verdict == reconcile.Kept:
		case len(r.Trouble) < promisesInRow:
			shown := newPromiseRow(p, now)
			if shown.Text == c.Problem { // it stands above already
				shown.Text = ""
			}
			r.Trouble = append(r.Trouble, shown)
		default:
			r.Others++
		}
	}
	r.Counts = verdicts(count) + wires(astray)
	return r
}

// renews tells when and why a certificate is obtained next, after the word renewal.
func renews(c *reconcile.CertificateView, now time.Time) string {
	switch {
	case c.Suspended:
		return "suspended"
	case c.Waits != nil:
		return "waits until " + stamp(*c.Waits) + ": " + c.WaitsFor
	case c.Renewal == nil && c.Issuer == "":
		return "by whoever keeps it"
	case c.Renewal == nil:
		return ""
	case !now.Before(*c.Renewal):
		return "is due: " + c.Why
	}
	return distance(c.Renewal.Sub(now)) + ": " + c.Why
}

// byConcern puts those first that somebody has to look at, then those that wait.
func byConcern(promises []reconcile.PromiseView) []reconcile.PromiseView {
	concern := func(p reconcile.PromiseView) int {
		switch {
		case p.Ill():
			return 0
		case p.Verdict != reconcile.Kept:
			return 1
		}
		return 2
	}
	sorted := slices.Clone(promises)
	slices.SortStableFunc(sorted, func(a, b reconcile.PromiseView) int {
		return cmp.Or(cmp.Compare(concern(a), concern(b)), cmp.Compare(a.Sink, b.Sink), cmp.Compare(a.Target, b.Target))
	})
	return sorted
}

// promiseRow is one promise.
type promiseRow struct {
	reconcile.PromiseView
	Tone   reconcile.State // of the verdict; the wire has its own
	Age    string          // how long it has had its verdict
	Looked string          // when it was looked at
	How    string          // it was seen
	Text   string
	Wire   *wire // nil: nobody looked
}

// wire is what the world was seen to be served.
type wire struct {
	*reconcile.Wire
	Tone   reconcile.State
	Looked string
}

func newWire(p reconcile.PromiseView, now time.Time) *wire {
	if p.Wire == nil {
		return nil
	}
	w := &wire{p.Wire, reconcile.Pending, ago(now.Sub(p.Wire.Time))}
	switch {
	case p.Wire.State == reconcile.WireServed:
		w.Tone = reconcile.Well
	case p.Astray:
		w.Tone = reconcile.Failing
	}
	return w
}

func newPromiseRow(p reconcile.PromiseView, now time.Time) promiseRow {
	r := promiseRow{PromiseView: p, Tone: reconcile.Well, Age: "for " + span(now.Sub(p.Since)), Looked: ago(now.Sub(p.Seen)), Text: p.Words(), Wire: newWire(p, now)}
	switch p.Verdict {
	case reconcile.Kept:
	case reconcile.Waiting:
		r.Tone = reconcile.Pending
	default:
		r.Tone = reconcile.Failing
	}
	switch {
	case p.Evidence == anycert.Exact:
		r.How = "compared byte by byte"
	case p.Evidence == "", p.Verdict == reconcile.Kept: // of what is kept the text says it
	default:
		r.How = "seen by " + string(p.Evidence) + " only"
	}
	return r
}

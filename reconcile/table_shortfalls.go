package reconcile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Shortfall is why promises of a certificate are not kept: all that have the same verdict
// for the same reason.
type Shortfall struct {
	Certificate string
	Verdict     Verdict
	Text        string // for people: what, where, and why
}

// String is a line that names the certificate as well.
func (s Shortfall) String() string { return "certificate " + Clean(s.Certificate) + " " + s.Text }

// reason is what promises have in common that are not kept.
type reason struct {
	verdict Verdict
	words   string
}

// Shortfalls has each reason once for which promises of a certificate are not kept, the
// certificates in the order of the promises, and for each the most urgent first. What the
// Problem of a certificate says is not said again.
func (r *Report) Shortfalls() (all []Shortfall) {
	problems := make(map[string]string)
	for _, c := range r.Certificates {
		problems[c.Name] = c.Problem
	}
	var names []string
	reasons, places := make(map[string][]reason), make(map[string]map[reason][]string) // by certificate
	for _, p := range r.Promises {
		name, why := p.Certificate, reason{p.Verdict, p.Words()}
		if p.Verdict == Kept || why.words == "" || strings.Contains(problems[name], why.words) {
			continue
		}
		if places[name] == nil {
			names, places[name] = append(names, name), make(map[reason][]string)
		}
		if places[name][why] == nil {
			reasons[name] = append(reasons[name], why)
		}
		places[name][why] = append(places[name][why], p.Sink+" "+Clean(p.Target))
	}
	for _, name := range names {
		all = append(all, shortfalls(name, reasons[name], places[name])...)
	}
	return all
}

// shortfalls are those of one certificate: a few, since an audit has all.
func shortfalls(name string, reasons []reason, places map[reason][]string) (all []Shortfall) {
	const few = 3
	urgency := func(why reason) int { return slices.Index(Verdicts(), why.verdict) }
	slices.SortStableFunc(reasons, func(a, b reason) int { return cmp.Compare(urgency(b), urgency(a)) })
	shown := len(reasons)
	if shown > few+1 { // one more takes no more room than the line that leaves it out
		shown = few
	}
	for _, why := range reasons[:shown] {
		all = append(all, Shortfall{name, why.verdict, why.at(places[why])})
	}
	left := 0
	for _, why := range reasons[shown:] {
		left += len(places[why])
	}
	if left > 0 {
		all = append(all, Shortfall{name, reasons[shown].verdict, fmt.Sprintf("is not kept at %d more of its places: `anycert audit` says why", left)})
	}
	return all
}

// at says where a certificate is not what it should be, and why.
func (why reason) at(places []string) string {
	const few = 3
	words := "is " + string(why.verdict) + " at "
	if why.verdict == Waiting {
		words = "waits at "
	}
	if len(places) == 1 {
		return words + places[0] + ": " + why.words
	}
	more := ""
	if n := len(places); n > few {
		more = fmt.Sprintf(" and %d more", n-few)
	}
	return fmt.Sprintf("%s%d of its places: %s (%s%s)", words, len(places), why.words, strings.Join(places[:min(len(places), few)], ", "), more)
}

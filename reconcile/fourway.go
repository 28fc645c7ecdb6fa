package reconcile

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/anycert/anycert"
)

// Sides are three of the four that an audit compares for each promise; the fourth is its
// Wire. A side that nothing is known of is left out.
type Sides struct {
	Declared *DeclaredSide `json:"declared,omitempty"`
	Store    *HeldSide     `json:"store,omitempty"`
	Holds    *HeldSide     `json:"holds,omitempty"` // what the target holds, as far as the evidence reaches
}

// DeclaredSide is what the configuration wants.
type DeclaredSide struct {
	Names   []string `json:"names"`
	KeyType string   `json:"key_type,omitempty"`
}

// HeldSide is what there is of it.
type HeldSide struct {
	Version  int       `json:"version,omitempty"` // of the store
	Digest   string    `json:"digest,omitempty"`  // of the whole chain
	Serial   string    `json:"serial,omitempty"`
	Names    []string  `json:"names,omitempty"`
	NotAfter time.Time `json:"not_after,omitzero"`
	Issuer   string    `json:"issuer,omitempty"`
}

// showSides lays open what each promise's verdict rests on.
func (r *Report) showSides() {
	for i := range r.Promises {
		p := &r.Promises[i]
		sides := &Sides{Declared: &DeclaredSide{Names: p.sighting.certificate.Domains, KeyType: string(p.sighting.certificate.KeyType)}}
		if entry := p.sighting.known.Entry; entry != nil {
			sides.Store = &HeldSide{Version: entry.Version, Digest: entry.Digest.String(), Serial: entry.Leaf.SerialNumber.String(),
				Names: entry.Leaf.DNSNames, NotAfter: entry.Leaf.NotAfter.UTC(), Issuer: entry.Leaf.Issuer.CommonName}
		}
		if o := p.sighting.observed; o.Found {
			sides.Holds = &HeldSide{Digest: o.Digest.String(), Serial: o.Serial, Names: o.Names, NotAfter: o.NotAfter.UTC(), Issuer: o.Issuer}
			if o.NotAfter.IsZero() {
				sides.Holds.NotAfter = time.Time{}
			}
		}
		p.Sides = sides
		if p.Wire != nil { // whether it has to wait was not known when it was looked at
			p.Wire.Remedy = p.remedy(p.front)
		}
	}
	r.noteUnasked()
}

// noteUnasked names the promises of each sink of which nobody can see what the world is
// served, so that nobody takes them for seen.
func (r *Report) noteUnasked() {
	const few = 3
	labels := make(map[string][]string)
	for _, p := range r.Promises {
		if p.unasked() {
			labels[p.Sink] = append(labels[p.Sink], p.Target)
		}
	}
	for _, sink := range slices.Sorted(maps.Keys(labels)) {
		list, more := labels[sink], ""
		if n := len(list); n > few {
			list, more = list[:few], fmt.Sprintf(" and %d more", n-few)
		}
		r.Notes = append(r.Notes, fmt.Sprintf("sink %s: nobody sees what the world is served of %s%s, since nobody can ask for a wildcard: name a host of it under `verify`, or write `verify: false`",
			sink, strings.Join(list, ", "), more))
	}
}

// writeWire says what the world is served: a line that counts, and one for each
// difference that does not follow from what its target holds.
func (r *Report) writeWire(w io.Writer) {
	count := make(map[WireState]int)
	for _, p := range r.Promises {
		if p.Wire != nil {
			count[p.Wire.State]++
		}
	}
	if len(count) == 0 {
		return
	}
	var parts []string
	for _, state := range WireStates() {
		if count[state] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count[state], state))
		}
	}
	fmt.Fprintf(w, "on the wire: %s\n", strings.Join(parts, ", "))
	for _, difference := range r.WireDifferences() {
		fmt.Fprintln(w, difference)
	}
}

// WireDifference is what the world is served of a certificate, where it is not what it
// should be.
type WireDifference struct {
	Certificate string
	Text        string // for people: at which target, what, and what is done about it
}

// String is a line that names the certificate as well.
func (d WireDifference) String() string { return "wire: certificate " + d.Certificate + " " + d.Text }

// WireDifferences has each difference on the wire once that does not follow from what
// its target holds, in the order of the promises.
func (r *Report) WireDifferences() (all []WireDifference) {
	said := make(map[[2]string]bool)
	for _, p := range r.Promises {
		words := [2]string{p.Certificate, p.wireWords()}
		if p.wireFollows() || said[words] { // several targets of a certificate may be behind one endpoint
			continue
		}
		said[words] = true
		all = append(all, WireDifference{p.Certificate, fmt.Sprintf("at %s %s: %s", p.Sink, Clean(p.Target), p.wireWords())})
	}
	return all
}

// wireFollows reports whether there is nothing to say of the wire that the promise does
// not say: it is well, or the world is served the other certificate that was seen at the
// target.
func (p Promise) wireFollows() bool {
	if p.Wire.well() || p.Wire.State != WireBehind || p.Verdict == Kept {
		return p.Wire.well()
	}
	var seen anycert.Observed
	if p.sighting != nil { // else nobody looked at the target, as in a report that was made by hand
		seen = p.sighting.observed
	}
	for _, a := range p.Wire.Addresses {
		same := !seen.Digest.IsZero() && a.Digest == seen.Digest.String() || seen.Serial != "" && a.Serial == seen.Serial ||
			seen.Evidence == anycert.Dates && a.NotAfter != nil && a.NotAfter.Equal(seen.NotAfter)
		if a.State != WireServed && !same {
			return false
		}
	}
	return true
}

// wireWords are what differs on the wire and what is done about it.
func (p Promise) wireWords() string {
	if p.Wire == nil {
		return ""
	}
	text := p.Wire.Text
	if p.Wire.Remedy != "" {
		text += "; " + p.Wire.Remedy
	}
	return Clean(text)
}

// Lookalike is an object of somebody else that holds a certificate for names of ours.
type Lookalike struct {
	Sink        string    `json:"sink"`
	Label       string    `json:"target"`
	Certificate string    `json:"certificate"` // ours, of which it has names
	Names       []string  `json:"names"`
	NotAfter    time.Time `json:"not_after,omitzero"`
	Owner       string    `json:"owner,omitempty"`
}

func (l Lookalike) about() string {
	text := "it is for " + strings.Join(l.Names, ", ")
	if !l.NotAfter.IsZero() {
		text += ", valid until " + stamp(l.NotAfter)
	}
	if l.Owner != "" {
		text += ", of " + l.Owner
	}
	return text
}

// lookalike is one as a sink found it, with the certificate that it looks like.
func lookalike(agent Agent, found anycert.Lookalike) Lookalike {
	l := Lookalike{Sink: agent.Name, Label: found.Label, Names: found.Names, NotAfter: found.NotAfter, Owner: found.Owner}
	for _, certificate := range agent.Certificates {
		for _, domain := range certificate.Domains {
			if anycert.Covers(found.Names, domain) {
				l.Certificate = certificate.Name
				return l
			}
		}
	}
	return l
}

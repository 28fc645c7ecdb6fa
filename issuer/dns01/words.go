package dns01

import (
	"fmt"
	"strings"
	"time"
)

// Propagation says who must have seen a record before the CA is told. The zero value
// is Authoritative.
type Propagation string

// The ways; [Wait] makes a third.
const (
	// Authoritative is every name server of the zone, as the CA asks them.
	Authoritative Propagation = "authoritative"
	// Recursive is the resolvers alone: where the name servers cannot be reached from
	// here. Nobody else is asked anything.
	Recursive Propagation = "recursive"

	ByResolvers Propagation = "resolvers" // an older word for Recursive
	Unchecked   Propagation = "none"      // an older word for Wait(0)
)

// maxWait is more than any DNS provider takes.
const maxWait = time.Hour

// Wait asks nobody: the CA is told after a pause.
func Wait(pause time.Duration) Propagation { return Propagation(waiting + pause.String()) }

const waiting = "wait: "

// UnmarshalYAML takes a word, or {wait: DURATION}.
func (p *Propagation) UnmarshalYAML(unmarshal func(any) error) error {
	var kind any
	if err := unmarshal(&kind); err != nil {
		return err
	}
	if _, mapping := kind.(map[string]any); !mapping {
		return unmarshal((*string)(p))
	}
	var written struct {
		Wait string `yaml:"wait"`
	}
	if err := unmarshal(&written); err != nil {
		return err
	}
	*p = Propagation(waiting + written.Wait) // which Check reads, at its place in the file
	if pause, fixed := p.pause(); fixed {
		*p = Wait(pause)
	}
	return nil
}

// Check tells what is wrong with it.
func (p Propagation) Check() error {
	pause, fixed := p.pause()
	text, waits := strings.CutPrefix(string(p), waiting)
	switch {
	case waits && !fixed:
		return fmt.Errorf("%q is no time to wait: write it as 90s or 2m", text)
	case fixed && (pause < 0 || pause > maxWait):
		return fmt.Errorf("a wait of %s is not between 0s and %s", pause, maxWait)
	case fixed, p == "", p == Authoritative, p.recursive():
		return nil
	}
	return fmt.Errorf("%q is none of authoritative, recursive and {wait: DURATION}", string(p))
}

func (p Propagation) recursive() bool { return p == Recursive || p == ByResolvers }

// authoritative says whether name servers of zones are asked at all.
func (p Propagation) authoritative() bool { return p == "" || p == Authoritative }

// pause is that of Wait.
func (p Propagation) pause() (pause time.Duration, fixed bool) {
	if p == Unchecked {
		return 0, true
	}
	text, ok := strings.CutPrefix(string(p), waiting)
	pause, err := time.ParseDuration(text)
	return pause, ok && err == nil
}

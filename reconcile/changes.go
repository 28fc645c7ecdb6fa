package reconcile

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/anycert/anycert"
)

// changes logs what is done, and what is seen when it differs from what was seen
// before: a daemon that finds all well for a month is silent for a month.
type changes struct {
	log    *slog.Logger
	recent recent // the same, for people who look later

	mu   sync.Mutex
	last map[string]string // what was said last, by whom it is about
}

func newChanges(log *slog.Logger) *changes {
	return &changes{log: log, last: make(map[string]string)}
}

// news reports whether text differs from what was last said of about. The first word
// on something that is well is no news.
func (c *changes) news(about, text string, well bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	last, known := c.last[about]
	c.last[about] = text
	if !known {
		return !well
	}
	return last != text
}

// promise logs a push, and a verdict that changed.
func (c *changes) promise(p Promise) {
	c.pushed(p)
	said := string(p.Verdict) + " " + p.Reason
	if p.follows { // what is seen of the canary may differ in its details at each look
		said = fmt.Sprintf("%s %d %s", p.Verdict, p.Version, gist(p.Reason))
	}
	news := c.news("promise "+p.Key+" "+p.Sink+" "+p.Certificate, said, p.Verdict == Kept)
	if !news || p.Pushed && p.Verdict == Kept {
		return
	}
	attrs := p.attrs()
	if p.Reason != "" {
		attrs = append(attrs, "reason", p.Reason)
	}
	c.recent.add(p.change(PromiseChange, string(p.Verdict), p.Reason))
	switch {
	case p.Verdict == Kept:
		c.log.Info("promise kept again", attrs...)
	case p.follows: // as each renewal does
		c.log.Info("promise waits", attrs...)
	case p.Verdict == Waiting:
		c.log.Warn("promise waits", attrs...)
	default:
		c.log.Error("promise "+string(p.Verdict), attrs...)
	}
}

// wire logs that the world is served something else, and the end of it.
func (c *changes) wire(p Promise) {
	text := ""
	if !p.Wire.well() {
		text = gist(string(p.Wire.State) + " " + p.Wire.Text)
	}
	if !c.news("wire "+p.Key+" "+p.Sink+" "+p.Certificate, text, p.Wire.well()) {
		return
	}
	if p.Wire.well() {
		c.log.Info("the world is served it again", p.attrs()...)
		return
	}
	c.log.Warn("the world is served something else", append(p.attrs(), "wire", string(p.Wire.State), "reason", p.wireWords())...)
}

// pushed logs a push that the sink took.
func (c *changes) pushed(p Promise) {
	if p.arrived() && p.Verdict != Broken {
		c.log.Info("pushed", append(p.attrs(), "action", string(p.Action), "because", p.Because)...)
		c.recent.add(p.change(PushChange, past(p.Action), p.Because))
	}
}

// change is one of this promise.
func (p Promise) change(kind ChangeKind, what, why string) Change {
	return Change{Kind: kind, Well: p.well(), Certificate: p.Certificate, Sink: p.Sink, Target: p.Target, Version: p.Version, What: what, Why: why}
}

// attrs say in a log which promise is meant.
func (p Promise) attrs() []any {
	attrs := []any{"certificate", p.Certificate, "sink", p.Sink, "target", p.Target, "verdict", string(p.Verdict)}
	if p.Version > 0 {
		attrs = append(attrs, "version", p.Version)
	}
	return attrs
}

// order logs how an order ended that was made because the certificate was due.
func (c *changes) order(certificate anycert.Certificate, entry anycert.Entry, because string, err error) {
	about := "order " + certificate.Name
	attrs := []any{"certificate", certificate.Name, "issuer", certificate.Issuer}
	change := Change{Kind: OrderChange, Certificate: certificate.Name, Version: entry.Version}
	keep := func(well bool, what, why string) {
		change.Well, change.What, change.Why = well, what, why
		c.recent.add(change)
	}
	var postponed *anycert.PostponedError
	switch {
	case err == nil:
		c.news(about, "", true)
		c.log.Info("obtained", append(attrs, "version", entry.Version, "digest", entry.Digest.String(), "because", because)...)
		keep(true, "obtained", because)
	case errors.Is(err, anycert.ErrUnchanged):
		if c.news(about, "", true) {
			c.log.Info("looked at again, and nothing newer is there", attrs...)
		}
	case errors.Is(err, anycert.ErrClaimed):
		if c.news(about, "claimed", false) {
			c.log.Info("another process is obtaining it", attrs...)
		}
	case errors.As(err, &postponed):
		if c.news(about, fmt.Sprint("postponed ", postponed.Until), false) {
			c.log.Warn("order postponed", append(attrs, "until", postponed.Until, "reason", postponed.Err)...)
			keep(false, "order postponed", fmt.Sprintf("until %s: %v", stamp(postponed.Until), postponed.Err))
		}
	default:
		if c.news(about, err.Error(), false) {
			c.log.Error("order failed", append(attrs, "reason", err)...)
			keep(false, "order failed", err.Error())
		}
	}
}

// store logs a certificate whose entry changed or cannot be read.
func (c *changes) store(name string, known Known) {
	text := "read"
	if known.Err != nil {
		text = known.Err.Error()
	}
	well := known.Err == nil || errors.Is(known.Err, anycert.ErrNotFound)
	if !c.news("store "+name, text, well) {
		return
	}
	if known.Err == nil {
		c.log.Info("the store gives an entry", "certificate", name)
		c.recent.add(Change{Kind: StoreChange, Well: true, Certificate: name, Version: known.Entry.Version, What: "the store gives an entry"})
		return
	}
	c.log.Error("the store gave no entry", "certificate", name, "reason", known.Err)
	c.recent.add(Change{Kind: StoreChange, Certificate: name, What: "the store gave no entry", Why: text})
}

// journals logs that unfinished orders could not be listed.
func (c *changes) journals(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if c.news("journals", text, err == nil) && err != nil {
		c.log.Warn("unfinished orders could not be listed", "reason", err)
	}
}

// waits logs that the CA's limits hold an order back, once from its begin to its end.
func (c *changes) waits(certificate anycert.Certificate, slot anycert.Slot, waits bool) {
	about := "limits " + certificate.Name
	if !waits {
		c.news(about, "", true)
		return
	}
	if c.news(about, "waits", false) {
		c.log.Info("order waits for the CA's limits", "certificate", certificate.Name, "issuer", certificate.Issuer,
			"urgency", slot.Urgency.String(), "until", slot.At, "reason", slot.Reason)
	}
}

// recalled logs that what the store keeps about renewals could not be read, or the CA
// not be asked for its advice.
func (c *changes) recalled(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if c.news("recall", text, err == nil) && err != nil {
		c.log.Warn("not all is known about the next renewals", "reason", err)
	}
}

// stranded logs what people asked for and nobody works on.
func (c *changes) stranded(lines []string) {
	for _, line := range lines {
		if c.news("stranded "+line, line, false) {
			c.log.Warn(line)
		}
	}
}

// request logs how what a person asked for goes on. lacks are the places that were not
// seen to serve the new certificate when the deadline had passed.
func (c *changes) request(name string, request anycert.Request, lacks []lack, done bool, err error) {
	attrs := []any{"certificate", name, "by", request.By, "asked", request.Time}
	if len(lacks) > 0 {
		places := make([]string, len(lacks))
		for i, l := range lacks {
			places[i] = l.String()
		}
		attrs = append(attrs, "not_served_at", strings.Join(places, ", "))
	}
	about := "request " + name
	keep := func(well bool, what, why string) {
		c.recent.add(Change{Kind: RequestChange, Well: well, Certificate: name, What: what, Why: why})
	}
	switch {
	case err != nil:
		if c.news(about, err.Error(), false) {
			c.log.Error("what was asked for is not done", append(attrs, "reason", err)...)
			keep(false, "what "+request.By+" asked for is not done", err.Error())
		}
	case done && len(lacks) > 0:
		c.news(about, "", true)
		keep(false, "revoked at the deadline", "although not every place was seen to serve the new certificate")
		c.log.Warn("revoked at the deadline, although not every place was seen to serve the new certificate", attrs...)
	case done:
		c.news(about, "", true)
		c.log.Info("what was asked for is done", attrs...)
		keep(true, "what "+request.By+" asked for is done", "")
	}
}

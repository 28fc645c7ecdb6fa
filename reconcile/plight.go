package reconcile

import (
	"errors"
	"fmt"
	"time"

	"github.com/anycert/anycert"
)

// plight is what alarms about a certificate rest on.
type plight struct {
	CertificateState
	owner, description, issuer string

	reason  string                               // for which it is to be obtained
	failure *anycert.Failure                     // that the store remembers
	latest  func(now time.Time) *anycert.Failure // the same, of this moment; nil while it is not due
	unfit   error                                // why what the store holds is not to be served

	unanswered error     // why the store did not say what it holds
	read       time.Time // when the store was asked last
	entry      standing  // of what the store holds
	failing    standing  // of obtaining it
}

// silence is why the store did not answer for one of the certificates, or nil.
func silence(certificates []CertificateState, plights map[string]plight) error {
	for _, c := range certificates {
		if !c.answered() {
			return plights[c.Name].unanswered
		}
	}
	return nil
}

// plights describes the certificates for alarms. A truth of nil is one that was not asked
// for yet.
func (h *Hub) plights(truth Truth, states []CertificateState, now time.Time) map[string]plight {
	plights := make(map[string]plight, len(states))
	for i, c := range h.Certificates {
		p := plight{CertificateState: states[i], owner: c.Owner, description: c.Description, issuer: c.Issuer, read: now}
		if known, asked := truth[c.Name]; asked {
			renewal := h.renewal(c, known, now)
			p.reason, p.failure = renewal.Reason, renewal.Failure
			if renewal.Due(now) {
				p.latest = func(now time.Time) *anycert.Failure { return h.renewal(c, known, now).Failure }
			}
			if known.Entry != nil {
				p.unfit = anycert.Check(known.Entry.Leaf, c.Domains, now)
			} else {
				p.unfit = unlessAbsent(known.Err)
			}
			if !p.answered() {
				p.unfit, p.unanswered = nil, known.Err
			}
		}
		plights[c.Name] = p
	}
	return plights
}

// after is p as what follows on before, which was seen of the same certificate.
func (p plight) after(before plight, failed error) plight {
	p.CertificateState = p.remembering(before.CertificateState)
	p.entry, p.failing = before.entry, before.failing
	switch {
	case p.Entry == "" || p.Suspended || !p.answered(): // nobody knows more than before
		p.reason, p.failure, p.latest, p.unfit = before.reason, before.failure, before.latest, before.unfit
		return p
	case p.usable():
		p.entry.saw(nil, p.read)
	default:
		p.entry.saw(p.unfit, p.read)
	}
	if p.failure == nil && p.latest != nil && failed != nil { // after a reload the issuer has not read it yet
		p.failure = before.remembered(p.read)
	}
	if p.failure != nil {
		failed = errors.New(p.failure.Text)
	}
	p.failing.saw(failed, p.read)
	return p
}

// remembered is the failure that the store remembers at a moment.
func (p plight) remembered(now time.Time) *anycert.Failure {
	if p.failure == nil && p.latest != nil {
		return p.latest(now)
	}
	return p.failure
}

// usable reports whether what the store holds can be served, or a renewal that is under
// way will mend it. That it has expired is told as what a renewal should have prevented.
func (p plight) usable() bool {
	return p.unfit == nil || p.expired(p.read) || p.Obtained && !p.Renewal.IsZero() && errors.Is(p.unfit, anycert.ErrUnfit)
}

func (p plight) expired(now time.Time) bool {
	return !p.NotAfter.IsZero() && !now.Before(p.NotAfter)
}

// The shares of its lifetime that a certificate has left when nobody should have waited so
// long: who renews early does so at a half or a third, cert-manager's own examples at a
// sixth. The rules in deploy/alerts have the same.
const (
	shareLate   = 7
	shareUrgent = 10
)

func (p plight) within(share int64, now time.Time) bool {
	if p.NotAfter.IsZero() {
		return false
	}
	lifetime := p.NotAfter.Sub(p.NotBefore)
	return p.NotAfter.Sub(now) < lifetime/time.Duration(share)
}

// due reports whether it should be obtained by now.
func (p plight) due(now time.Time) bool { return !p.Renewal.IsZero() && !now.Before(p.Renewal) }

// urgent reports whether less than half of the time is left that a renewal has, or less
// than a tenth of the lifetime. What has expired is.
func (p plight) urgent(now time.Time) bool {
	half := p.due(now) && p.NotAfter.After(p.Renewal) && p.NotAfter.Sub(now) < p.NotAfter.Sub(p.Renewal)/2
	return half || p.within(shareUrgent, now)
}

// overdue reports whether its renewal has been due for a quarter of the time that was left
// then.
func (p plight) overdue(now time.Time) bool {
	return p.due(now) && p.NotAfter.After(p.Renewal) && now.Sub(p.Renewal) > p.NotAfter.Sub(p.Renewal)/4
}

func (p plight) severity(now time.Time) Severity {
	if p.urgent(now) {
		return Critical
	}
	return Warning
}

// certificate raises the alarms about one certificate. failed is how the last order of
// this process did.
func (c *collection) certificate(p plight, failed error) {
	if p.Suspended {
		return
	}
	c.renewal(p, failed)
	key := string(EntryAlarm) + "/" + p.Name
	switch {
	case p.entry.ill >= passes:
		a := p.alarm(EntryAlarm, key, c.now, p.entry.since, p.entry.text,
			"what the store holds of certificate "+p.Name+" cannot be used, and what is served stays: "+p.entry.text+", so put a good version there")
		a.Severity = Critical // nothing renews it
		c.raise(a)
	case p.entry.well < passes:
		c.open[key] = true
	}
}

func (p plight) alarm(kind AlarmKind, key string, now, since time.Time, cause, text string) Alarm {
	return Alarm{Key: key, Kind: kind, Severity: p.severity(now), Certificate: p.Name, Owner: p.owner, Description: p.description,
		Text: text, Since: since, NotAfter: p.NotAfter, Cause: cause}
}

// renewal raises the alarm about a certificate without a renewal that works: at the first
// attempt that fails, else when too much of its time has passed without one.
func (c *collection) renewal(p plight, failed error) {
	key := string(RenewalAlarm) + "/" + p.Name
	if failed != nil { // it may have failed since the store was read
		p.failure = p.remembered(c.now)
	}
	if postponed := new(anycert.PostponedError); errors.As(failed, &postponed) {
		failed = nil // what failed is in p.failure; and to wait for a limit is no failure
	}
	raise := func(since time.Time, cause, text string) {
		if p.expired(c.now) { // which is told as well
			cause += " expired"
		}
		c.raise(p.alarm(RenewalAlarm, key, c.now, since, cause, text+p.left(c.now)))
	}
	switch {
	case p.failure != nil:
		f := p.failure
		raise(f.Since, string(f.Class)+" "+f.Text, fmt.Sprintf("certificate %s could not be obtained from %s (%s): %s%s",
			p.Name, orIssuer(f.Issuer, p.issuer), f.Class, f.Text, next(f.Next, c.now)))
	case failed != nil && p.Obtained:
		raise(p.failing.since, failed.Error(), fmt.Sprintf("certificate %s could not be obtained from %s: %v", p.Name, p.issuer, failed))
	case p.overdue(c.now):
		raise(p.Renewal, "overdue", fmt.Sprintf("certificate %s should have been renewed at %s (%s): look at `anycert status`", p.Name, stamp(p.Renewal), p.reason))
	case p.within(shareLate, c.now) && p.Obtained:
		raise(p.lateSince(), "late", fmt.Sprintf("certificate %s has not been renewed: look at `anycert status`", p.Name))
	case p.within(shareLate, c.now):
		raise(p.lateSince(), "late", fmt.Sprintf("certificate %s has not been renewed by whoever keeps it: put a new version into the store", p.Name))
	case p.Entry == "", p.failing.well < passes, p.due(c.now) && p.Renewal.Before(p.read):
		c.open[key] = true // due, and nothing came yet; what is looked at in each pass is always due
	}
}

func (p plight) lateSince() time.Time {
	return p.NotAfter.Add(-p.NotAfter.Sub(p.NotBefore) / shareLate)
}

// left tells how much time there is.
func (p plight) left(now time.Time) string {
	switch lifetime := p.NotAfter.Sub(p.NotBefore); {
	case p.NotAfter.IsZero() || lifetime <= 0:
		return "; none is in the store yet"
	case !now.Before(p.NotAfter):
		return "; the one in the store expired at " + stamp(p.NotAfter)
	default:
		left := p.NotAfter.Sub(now)
		return fmt.Sprintf("; the one in the store expires in %s, %d %% of its lifetime", distance(left), int64(left*100/lifetime))
	}
}

func next(at, now time.Time) string {
	if !at.After(now) {
		return ""
	}
	return "; it is tried again at " + stamp(at)
}

func orIssuer(name, otherwise string) string {
	if name == "" {
		return otherwise
	}
	return name
}

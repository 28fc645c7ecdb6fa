package issuer

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anycert/anycert"
)

// short is the lifetime below which a certificate is renewed at its half.
const short = 10 * 24 * time.Hour

// Renewal implements [anycert.Issuer]. A certificate is due at once when it has
// expired, when a person asked for another one, and when it is not what is declared any
// more; else when its CA advises it (RFC 9773), as far as a fifth of its lifetime is
// left then; else when a third of its lifetime is left, or half of one below ten days.
// That needs no change as lifetimes shrink. One with a canary is renewed when two fifths
// of its lifetime are left, whatever the CA advises for later: what has less than a third
// left does not wait for a canary. What somebody went back to is left alone for a day.
func (i *Issuer) Renewal(certificate anycert.Certificate, entry *anycert.Entry, now time.Time) anycert.Renewal {
	known, _ := i.outlooks.get(certificate.Name)
	renewal := i.renewal(certificate, entry, known.outlook, now)
	if renewal.Due(now) {
		renewal.Failure = i.failed(certificate, entry, known.outlook, now)
	}
	return renewal
}

func (i *Issuer) renewal(certificate anycert.Certificate, entry *anycert.Entry, known outlook, now time.Time) anycert.Renewal {
	_, ok := i.configs[certificate.Issuer]
	switch {
	case certificate.Issuer == "":
		return anycert.Renewal{Reason: "someone else keeps it"}
	case certificate.Suspended:
		return anycert.Renewal{Reason: "it is suspended"}
	case !ok:
		return anycert.Renewal{Reason: fmt.Sprintf("no issuer is named %s", certificate.Issuer)}
	case entry == nil || entry.Leaf == nil:
		return anycert.Renewal{At: now, Reason: "nothing was issued yet", Urgency: anycert.New}
	case now.After(entry.Leaf.NotAfter):
		return anycert.Renewal{At: now, Reason: "it has expired", Urgency: anycert.Expired}
	}
	usual := byAdvice(entry.Leaf, known)
	if early := entry.Leaf.NotAfter.Add(-lifetime(entry.Leaf) * 2 / 5); certificate.Canary && early.Before(usual.At) {
		usual = moment{At: early, Reason: "two fifths of its lifetime are left, and its canary goes first"}
	}
	usual = usual.afterRollback(entry)
	urgency := usual.near(entry.Leaf, now)
	if request := i.requested(certificate.Name, entry.Version); request != nil {
		return asked(*request, urgency, now)
	}
	if reason := i.changed(certificate, *entry); reason != "" {
		return anycert.Renewal{At: now, Reason: reason, Urgency: max(urgency, anycert.New)}
	}
	return anycert.Renewal{At: usual.At, Reason: usual.Reason, Urgency: urgency}
}

// moment is when a certificate that is as declared is renewed.
type moment struct {
	At     time.Time
	Reason string
	ends   time.Time // of the window that the CA advised; zero: none
}

// byAdvice follows the CA, or the lifetime where it gave no advice.
func byAdvice(leaf *x509.Certificate, known outlook) moment {
	a := known.about(leaf)
	if a == nil || a.Chosen.IsZero() {
		return byLifetime(leaf)
	}
	reason := fmt.Sprintf("the CA advises %s to %s", minute(a.Start), minute(a.End))
	if a.Explanation != "" {
		reason += " (" + a.Explanation + ")"
	}
	if last := latest(leaf); a.Chosen.After(last) {
		return moment{At: last, Reason: "a fifth of its lifetime is left, and " + reason, ends: a.End}
	}
	return moment{At: a.Chosen, Reason: reason, ends: a.End}
}

// byLifetime is the rule without advice.
func byLifetime(leaf *x509.Certificate) moment {
	left, reason := lifetime(leaf)/3, "a third of its lifetime is left"
	if lifetime(leaf) < short {
		left, reason = lifetime(leaf)/2, "half of its lifetime is left"
	}
	return moment{At: leaf.NotAfter.Add(-left), Reason: reason}
}

// rest is how long what somebody went back to is left alone.
const rest = 24 * time.Hour

// afterRollback gives who went back a day to mend what the next one would bring again,
// as far as a fifth of the lifetime, or the CA's window, is left then.
func (m moment) afterRollback(entry *anycert.Entry) moment {
	at := entry.Time.Add(rest)
	if !m.ends.IsZero() && m.ends.Before(at) {
		at = m.ends
	}
	if !entry.Origin.IsRollback() || !at.After(m.At) || at.After(latest(entry.Leaf)) {
		return m
	}
	return moment{At: at, Reason: "somebody went back to it, and has a day to mend what the next one would bring again", ends: m.ends}
}

// near is the urgency that time alone gives: a renewal that has lost half of the time
// that it had, or whose CA advised it for a time that has passed, is no routine.
func (m moment) near(leaf *x509.Certificate, now time.Time) anycert.Urgency {
	overdue := leaf.NotAfter.Sub(now) < leaf.NotAfter.Sub(m.At)/2
	if overdue || !m.ends.IsZero() && m.ends.Before(now) {
		return anycert.NearExpiry
	}
	return anycert.Routine
}

// asked is the renewal that a person asked for.
func asked(request anycert.Request, urgency anycert.Urgency, now time.Time) anycert.Renewal {
	who := request.By
	if who == "" {
		who = "a person"
	}
	if request.Compromised {
		return anycert.Renewal{At: now, Reason: who + " asked for it: its key is known to others", Urgency: max(urgency, anycert.Compromised)}
	}
	return anycert.Renewal{At: now, Reason: who + " asked for it", Urgency: max(urgency, anycert.New)}
}

// changed tells what is not as declared, or "". What a person wrote has no origin
// to compare. Each of the certificate's issuers is as declared, in its own terms.
func (i *Issuer) changed(certificate anycert.Certificate, entry anycert.Entry) string {
	if !sameNames(entry.Leaf.DNSNames, certificate.Domains) {
		return "the domains changed: " + difference(entry.Leaf.DNSNames, certificate.Domains)
	}
	if kind, err := anycert.KeyTypeOf(entry.Leaf.PublicKey); certificate.KeyType != "" && (err != nil || kind != certificate.KeyType) {
		return fmt.Sprintf("the key type changed to %s", certificate.KeyType)
	}
	origin := entry.Origin
	config, ok := i.configs[origin.Issuer]
	switch {
	case origin.Issuer == "":
		return ""
	case !ok || !slices.Contains(certificate.Issuers(), origin.Issuer):
		return fmt.Sprintf("the issuer changed from %s to %s", origin.Issuer, certificate.Issuer)
	case origin.Directory != config.DirectoryURL():
		return "the issuer's directory changed to " + config.DirectoryURL()
	case origin.Profile != config.Profile:
		return fmt.Sprintf("the profile changed from %s to %s", orDefault(origin.Profile), orDefault(config.Profile))
	}
	return ""
}

func orDefault(profile string) string {
	if profile == "" {
		return "the CA's default"
	}
	return profile
}

// sameNames compares two sets of names.
func sameNames(a, b []string) bool { return slices.Equal(sorted(a), sorted(b)) }

func sorted(names []string) []string { return slices.Compact(slices.Sorted(slices.Values(names))) }

// difference is "+new.example.com -old.example.com", at most five names.
func difference(old, new []string) string {
	var parts []string
	for _, name := range sorted(new) {
		if !slices.Contains(old, name) {
			parts = append(parts, "+"+name)
		}
	}
	for _, name := range sorted(old) {
		if !slices.Contains(new, name) {
			parts = append(parts, "-"+name)
		}
	}
	if len(parts) > 5 {
		parts = append(parts[:5], "…")
	}
	return strings.Join(parts, " ")
}

// minute is a moment as a table shows it.
func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04Z") }

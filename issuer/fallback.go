package issuer

import (
	"time"

	"github.com/anycert/anycert"
)

// How long a CA has to fail on its own side before the next one is asked.
const (
	patienceAtMost  = 24 * time.Hour
	patienceNothing = 30 * time.Minute // nothing was issued yet
	patienceExpired = 10 * time.Minute
)

// patience is that time: a tenth of what was left of the certificate when it began.
func patience(entry *anycert.Entry, began, now time.Time) time.Duration {
	if entry == nil || entry.Leaf == nil {
		return patienceNothing
	}
	long := patienceExpired
	if left := entry.Leaf.NotAfter.Sub(began); left > 0 {
		long = min(left/10, patienceAtMost)
	}
	if now.After(entry.Leaf.NotAfter) {
		return min(long, patienceExpired)
	}
	return long
}

// turn is the issuer whose turn it is, and until when it is to be waited for; zero: it
// may be asked now. It is the first of the certificate's issuers, but for one whose CA
// has failed on its own side for long enough: then the next one may be asked while that
// one waits for its next attempt. A CA that asks for no orders at all fails so as well,
// also where this certificate has never been tried.
func (i *Issuer) turn(certificate anycert.Certificate, entry *anycert.Entry, known outlook, now time.Time) (c *ca, until time.Time) {
	request := i.requested(certificate.Name, versionOf(entry))
	for _, name := range certificate.Issuers() {
		candidate, ok := i.cas[name]
		if !ok {
			continue
		}
		f, failed := known.failure(name, entry)
		down, next := i.budgets.silent(name, now)
		if failed && f.waits(fingerprint(candidate.Config, candidate.wants(certificate)), request, now) {
			next = latestOf(next, f.Next)
			if f.Down.IsZero() {
				down = time.Time{} // it would not be asked anyway
			} else if down.IsZero() || f.Down.Before(down) {
				down = f.Down
			}
		}
		if next.IsZero() {
			return candidate, time.Time{}
		}
		if c == nil || next.Before(until) {
			c, until = candidate, next
		}
		if down.IsZero() || now.Sub(down) < patience(entry, down, now) {
			break
		}
	}
	return c, until
}

// failure is that of one issuer, if it is about what the store has now.
func (o outlook) failure(issuer string, entry *anycert.Entry) (failure, bool) {
	f, ok := o.Failures[issuer]
	return f, ok && f.Version == versionOf(entry)
}

// failed tells how the last attempts failed, at whichever issuer; nil when none did.
func (i *Issuer) failed(certificate anycert.Certificate, entry *anycert.Entry, known outlook, now time.Time) *anycert.Failure {
	var told *anycert.Failure
	for _, name := range certificate.Issuers() {
		f, ok := known.failure(name, entry)
		if !ok {
			continue
		}
		since := f.Since
		if told != nil && told.Since.Before(since) {
			since = told.Since
		}
		if told == nil || f.Last.After(told.Last) {
			told = &anycert.Failure{Class: f.Class, Issuer: name, Text: f.Text, Attempts: f.Attempts, Last: f.Last, Next: f.Next}
		}
		told.Since = since
	}
	if told != nil {
		if _, until := i.turn(certificate, entry, known, now); !until.IsZero() {
			told.Next = until
		}
	}
	return told
}

package issuer

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/failures"
	"github.com/anycert/anycert/issuer/internal/redact"
)

// How often a CA is asked for advice (RFC 9773, section 4.3).
const (
	usualPause = 6 * time.Hour // when the CA does not say
	leastPause = time.Minute
	mostPause  = 24 * time.Hour
	// silence is after how long it is asked again when a process died while it asked,
	// and the CA had never answered before.
	silence = 5 * time.Minute
	// askingTime is for how long new questions are begun in one pass: with thousands of
	// certificates the rest has its turn in the next one.
	askingTime = 20 * time.Second
	// adviceTime bounds one question.
	adviceTime = 10 * time.Second
)

// advice is when the CA suggests to renew one certificate (RFC 9773).
type advice struct {
	About string `json:"about"` // the certificate, as section 4.1 names it
	// Start and End are the window, zero where the CA gave none that can be followed.
	Start time.Time `json:"start,omitzero"`
	End   time.Time `json:"end,omitzero"`
	// Chosen is the one instant in the window, for all processes.
	Chosen      time.Time `json:"chosen,omitzero"`
	Explanation string    `json:"explanation,omitempty"` // a URL
	Next        time.Time `json:"next"`                  // not asked before
	Seconds     int       `json:"seconds,omitempty"`     // to the next question, as the CA answered last
	Misses      int       `json:"misses,omitempty"`      // questions in a row that had no answer
}

// about returns the advice about leaf, or nil.
func (o outlook) about(leaf *x509.Certificate) *advice {
	if o.Advice == nil || o.Advice.About == "" || o.Advice.About != certID(leaf) {
		return nil
	}
	return o.Advice
}

// certID names a certificate as RFC 9773, section 4.1, does; empty where it has no
// identifier of its issuer's key.
func certID(leaf *x509.Certificate) string {
	if len(leaf.AuthorityKeyId) == 0 || leaf.SerialNumber == nil {
		return ""
	}
	der, err := asn1.Marshal(leaf.SerialNumber)
	if err != nil || len(der) < 3 {
		return ""
	}
	const header = 2 // tag and length: a serial number has at most 20 bytes (RFC 5280, section 4.1.2.2)
	return base64.RawURLEncoding.EncodeToString(leaf.AuthorityKeyId) + "." + base64.RawURLEncoding.EncodeToString(der[header:])
}

// seekAdvice asks the CAs about the certificates whose next question is due, those
// that wait for the longest first.
func (i *Issuer) seekAdvice(ctx context.Context, wanted []anycert.Wanted) error {
	begun := i.now()
	var due []anycert.Wanted
	for _, w := range wanted {
		if i.adviser(w) != nil && !begun.Before(i.nextQuestion(w, begun)) {
			due = append(due, w)
		}
	}
	slices.SortStableFunc(due, func(a, b anycert.Wanted) int { return i.nextQuestion(a, begun).Compare(i.nextQuestion(b, begun)) })
	return atOnce(due, func(w anycert.Wanted) error {
		if i.now().Sub(begun) > askingTime || ctx.Err() != nil {
			return nil
		}
		if err := i.ask(ctx, w); err != nil {
			return fmt.Errorf("asking the CA when to renew certificate %s: %w", w.Certificate.Name, err)
		}
		return nil
	})
}

// adviser is the CA that issued what the store has, if it is one of the certificate's
// issuers.
func (i *Issuer) adviser(w anycert.Wanted) *ca {
	if w.Entry == nil || w.Entry.Leaf == nil || w.Certificate.Suspended || !slices.Contains(w.Certificate.Issuers(), w.Entry.Origin.Issuer) {
		return nil
	}
	c := i.cas[w.Entry.Origin.Issuer]
	if c == nil || c.directory != w.Entry.Origin.Directory || certID(w.Entry.Leaf) == "" {
		return nil
	}
	return c
}

// nextQuestion is when the CA is to be asked; zero when it never was.
func (i *Issuer) nextQuestion(w anycert.Wanted, now time.Time) time.Time {
	known, _ := i.outlooks.get(w.Certificate.Name)
	if a := known.about(w.Entry.Leaf); a != nil {
		return a.question(now)
	}
	return time.Time{}
}

// question is when the CA is to be asked again; zero, at once, where a clock that was
// wrong wrote that.
func (a *advice) question(now time.Time) time.Time {
	if a.Next.Sub(now) > mostPause+wrongClock {
		return time.Time{}
	}
	return a.Next
}

// ask asks about one certificate, unless another process has. The next question is put
// off in the store before this one is asked, so that of two processes one asks; where
// the answer is the one from before, that write is the only one.
func (i *Issuer) ask(ctx context.Context, w anycert.Wanted) error {
	c, leaf, version := i.adviser(w), w.Entry.Leaf, w.Entry.Version
	base, err := c.renewalInfo(ctx, i.now())
	if base == "" || err != nil {
		return err
	}
	ours := false
	read, err := i.amend(ctx, w.Certificate.Name, version, func(o *outlook) bool {
		now := i.now()
		before := o.about(leaf)
		if ours = before == nil || !now.Before(before.question(now)); !ours {
			return false
		}
		next := advice{About: certID(leaf)}
		if before != nil {
			next = *before
		}
		next.Next = later(now, cmp.Or(time.Duration(next.Seconds)*time.Second, silence))
		o.Advice = &next
		return true
	})
	if err != nil || !ours {
		return err
	}
	asked := *read.Advice
	answered, problem := c.advise(ctx, base, leaf, asked, i.now())
	if isAway(problem) {
		c.advising.fail(i.now())
	}
	if answered == asked {
		return problem
	}
	_, err = i.amend(ctx, w.Certificate.Name, version, func(o *outlook) bool {
		if o.about(leaf) == nil {
			return false
		}
		o.Advice = &answered
		return true
	})
	return failures.Join(problem, err)
}

// later is a moment as it is kept.
func later(now time.Time, pause time.Duration) time.Time {
	return now.Add(pause).UTC().Truncate(time.Second).Add(time.Second)
}

// advise asks the CA and returns what to keep of the answer. What went wrong is told,
// and asked again after a pause that grows.
func (c *ca) advise(ctx context.Context, base string, leaf *x509.Certificate, before advice, now time.Time) (advice, error) {
	next := before
	answer := struct {
		SuggestedWindow struct{ Start, End time.Time }
		ExplanationURL  string
	}{}
	pause, err := c.get(ctx, strings.TrimSuffix(base, "/")+"/"+before.About, &answer)
	if err != nil {
		next.Misses++
		next.Next = later(now, max(growing(next.Misses), min(pause, mostPause)))
		return next, err
	}
	next.Misses = 0
	if pause == 0 {
		pause = usualPause
	}
	pause = min(max(pause, leastPause), mostPause)
	if seconds := int(pause / time.Second); seconds != before.Seconds {
		next.Seconds, next.Next = seconds, later(now, pause)
	}
	if before.Misses > 0 {
		next.Next = later(now, pause)
	}
	start, end := answer.SuggestedWindow.Start.UTC(), answer.SuggestedWindow.End.UTC()
	if err := followable(leaf, start, end); err != nil {
		next.Start, next.End, next.Chosen, next.Explanation = time.Time{}, time.Time{}, time.Time{}, ""
		return next, err
	}
	if !start.Equal(before.Start) || !end.Equal(before.End) {
		next.Start, next.End = start, end
		if before.Chosen.Before(start) || !before.Chosen.Before(end) {
			next.Chosen = choose(leaf, start, end)
		}
	}
	next.Explanation = webPage(answer.ExplanationURL)
	return next, nil
}

// growing is the pause after so many questions without an answer: 1, 4, 16 and 64
// minutes, then six hours.
func growing(misses int) time.Duration {
	if misses > 4 {
		return usualPause
	}
	return time.Minute << (2 * (max(misses, 1) - 1))
}

// followable tells what is wrong with a window. A window that has passed is right: the
// certificate is to be renewed at once (RFC 9773, section 4.2).
func followable(leaf *x509.Certificate, start, end time.Time) error {
	switch {
	case !start.Before(end):
		return fmt.Errorf("its advice is ignored: the window from %s to %s has no length", stamp(start), stamp(end))
	case start.Before(leaf.NotBefore.Add(-time.Second)): // some CAs count in milliseconds
		return fmt.Errorf("its advice is ignored: the window from %s to %s begins before the certificate does", stamp(start), stamp(end))
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// choose takes one instant in a window, each being as likely (RFC 9773, section 4.2).
// A window of more than half of the lifetime says next to nothing: in it the instant is
// that of the lifetime.
func choose(leaf *x509.Certificate, start, end time.Time) time.Time {
	usual := byLifetime(leaf).At
	if end.Sub(start) > lifetime(leaf)/2 && start.Before(usual) && usual.Before(end) {
		return usual.UTC()
	}
	chosen := start.Add(rand.N(end.Sub(start)))
	if whole := chosen.Truncate(time.Second); !whole.Before(start) {
		chosen = whole
	}
	return chosen.UTC()
}

// latest is the moment at which a certificate is renewed whatever the CA advises: a
// fifth of the lifetime is left for what may go wrong.
func latest(leaf *x509.Certificate) time.Time { return leaf.NotAfter.Add(-lifetime(leaf) / 5) }

func lifetime(leaf *x509.Certificate) time.Duration { return leaf.NotAfter.Sub(leaf.NotBefore) }

// webPage is an address that may be shown to people, or empty.
func webPage(address string) string {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Host == "" || parsed.User != nil || parsed.Scheme != "https" && parsed.Scheme != "http" || len(address) > 300 {
		return ""
	}
	return redact.Redactor{}.Text(parsed.String())
}

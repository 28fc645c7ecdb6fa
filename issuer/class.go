package issuer

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/issuer/dns01"
)

// failure is how the attempts at one issuer failed since the last success.
type failure struct {
	Class    anycert.FailureClass `json:"class"`
	Text     string               `json:"text"` // of the last one; shows no secret
	Attempts int                  `json:"attempts"`
	Since    time.Time            `json:"since"`             // of the first
	Last     time.Time            `json:"last"`              // of the last
	Next     time.Time            `json:"next"`              // not tried before
	Down     time.Time            `json:"down,omitzero"`     // since when the CA fails on its own side; zero when the last failure was another
	Early    bool                 `json:"early,omitempty"`   // the CA had not been asked
	Asked    time.Time            `json:"asked,omitzero"`    // of a person's request that it was an attempt for
	Config   string               `json:"config"`            // fingerprint of what it was tried with
	Version  int                  `json:"version,omitempty"` // that the store had; another one ends the failure
}

// uncounted is a failure that is not the order's but the store's. It spaces no
// attempts, and is not kept: there is no place for it.
type uncounted struct{ error }

func (e uncounted) Unwrap() error { return e.error }

// early is a failure from before the CA was asked for an order. Another look costs it
// nothing.
type early struct{ error }

func (e early) Unwrap() error { return e.error }

// mend is a failure that lasts until a person changes something.
type mend struct{ error }

func (e mend) Unwrap() error { return e.error }

// withheld is a certificate that the CA has issued and does not hand out. It hides what
// the CA says of the request: nothing is wrong with that.
type withheld struct{ error }

// unusable says that an order, or its key as well, is of no use any more.
type unusable struct {
	error
	domain string // that the CA could not validate; empty when that was not why
	key    bool
}

func (e *unusable) Unwrap() error { return e.error }

// forGood are the kinds of problems (RFC 8555, section 6.7, and its registry) that no
// repetition mends.
var forGood = []string{
	"accountDoesNotExist", "badCSR", "badPublicKey", "caa", "externalAccountRequired", "invalidContact", "invalidProfile",
	"malformed", "rejectedIdentifier", "unauthorized", "unsupportedContact", "unsupportedIdentifier", "userActionRequired",
}

// ofDomains are those of them that a CA gives for an order or a domain, too: there
// unauthorized is a record that was not seen.
var ofDomains = []string{"caa", "rejectedIdentifier", "unsupportedIdentifier"}

// classOf says whose turn it is after a failure. Where several domains failed, one that
// a person must mend makes it that: without it no attempt succeeds.
func classOf(err error) anycert.FailureClass {
	class := anycert.Passing
	walk(err, false, func(err error, ofOrder bool) {
		switch e := err.(type) {
		case mend, *dns01.ForeignError:
			class = anycert.ToMend
		case withheld:
			class = anycert.OfCA
		case *caError:
			switch {
			case slices.Contains(forGood, e.kind) && (!ofOrder || slices.Contains(ofDomains, e.kind)):
				class = anycert.ToMend
			case e.theirs && class == anycert.Passing:
				class = anycert.OfCA
			}
		}
	})
	if errors.Is(err, anycert.ErrForbidden) { // by the DNS provider
		return anycert.ToMend
	}
	return class
}

// walk calls f for err and all within it. ofOrder says that it lies within an unusable.
func walk(err error, ofOrder bool, f func(err error, ofOrder bool)) {
	if err == nil {
		return
	}
	f(err, ofOrder)
	if u, ok := err.(*unusable); ok {
		ofOrder = ofOrder || !u.key
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		walk(e.Unwrap(), ofOrder, f)
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			walk(one, ofOrder, f)
		}
	}
}

// invalidated are the domains that the CA could not validate.
func invalidated(err error) (domains []string) {
	walk(err, false, func(err error, _ bool) {
		if u, ok := err.(*unusable); ok && u.domain != "" {
			domains = append(domains, u.domain)
		}
	})
	return sorted(domains)
}

// situation is what the pause after a failure depends on.
type situation struct {
	entry   *anycert.Entry   // nil: nothing was issued yet
	request *anycert.Request // of a person; nil: none
	now     time.Time
}

const (
	shortest   = 15 * time.Second // pause
	aDay       = 24 * time.Hour
	lookAgain  = 10 * time.Minute // after what failed before the CA was asked
	mendAtMost = time.Hour        // what a person must mend is not tried more often, however little is left
)

// again is the failure after one more attempt that ended with err.
func (f failure) again(err error, config string, s situation) failure {
	if f.Config != config || f.Version != versionOf(s.entry) {
		f = failure{}
	}
	now := s.now.UTC().Truncate(time.Second)
	next := failure{
		Class: classOf(err), Text: err.Error(), Attempts: f.Attempts + 1,
		Since: f.Since, Last: now, Config: config, Version: versionOf(s.entry),
		Early: errors.As(err, new(early)),
	}
	if rejected := new(unusable); next.Class == anycert.ToMend && f.Attempts == 0 && errors.As(err, &rejected) && rejected.key {
		next.Class = anycert.Passing // the next attempt has another key
	}
	if next.Since.IsZero() {
		next.Since = now
	}
	if s.request != nil {
		next.Asked = s.request.Time
	}
	if next.Class == anycert.OfCA {
		next.Down = f.Down
		if next.Down.IsZero() {
			next.Down = now
		}
	}
	pause := max(next.pause(s), askedPause(err))
	next.Next = s.now.Add(pause).UTC().Truncate(time.Second)
	return next
}

// pause is what is waited after a failure, give or take a tenth: 1, 10 and 100 minutes,
// then a day, as Let's Encrypt asks its clients
// (https://letsencrypt.org/docs/integration-guide/#retrying-failures), or a day where a
// person has to mend something; and less where less of the certificate is left.
func (f failure) pause(s situation) time.Duration {
	pauses := []time.Duration{time.Minute, 10 * time.Minute, 100 * time.Minute, aDay}
	pause, least := pauses[min(f.Attempts, len(pauses))-1], shortest
	switch {
	case f.Early && f.Class == anycert.ToMend:
		pause = lookAgain
	case f.Early:
		pause = min(pause, lookAgain)
	case f.Class == anycert.ToMend:
		pause, least = aDay, mendAtMost
	}
	if bound := s.left() / 8; bound > 0 {
		pause = max(min(pause, bound), min(pause, least))
	}
	return pause*9/10 + rand.N(pause/5)
}

// left is the validity that is left; of what has expired the whole lifetime, since
// nothing is gained by haste any more; zero where nothing was issued.
func (s situation) left() time.Duration {
	if s.entry == nil || s.entry.Leaf == nil {
		return 0
	}
	if left := s.entry.Leaf.NotAfter.Sub(s.now); left > 0 {
		return left
	}
	return lifetime(s.entry.Leaf)
}

// waits reports whether no attempt is made yet. A changed configuration ends the wait,
// and so does a person, once: whose clock is not compared with ours. What was written
// by a clock that was wrong is not waited for.
func (f failure) waits(config string, request *anycert.Request, now time.Time) bool {
	switch {
	case !now.Before(f.Next), f.Last.Sub(now) > wrongClock, f.Config != config, request != nil && !request.Time.Equal(f.Asked):
		return false
	}
	return true
}

// fingerprint is the same as long as the configuration of an issuer and what it is
// asked for are. Secrets are references in it.
func fingerprint(config Config, w want) string {
	text, err := json.Marshal(struct {
		Config Config
		Want   want
	}{config, w})
	if err != nil {
		return err.Error() // no field of these can fail
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// unreadable is a secret or a file that is needed to speak to the CA and cannot be read:
// a store that is away comes back by itself, everything else a person must mend.
func unreadable(err error) error {
	if errors.Is(err, anycert.ErrUnavailable) {
		return early{err}
	}
	return early{mend{err}}
}

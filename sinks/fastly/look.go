package fastly

import (
	"fmt"
	"slices"

	"github.com/anycert/anycert"
)

// sight is what was seen of one place that a declared certificate belongs to.
type sight struct {
	place  place
	name   string       // of the declared certificate
	held   *activation  // nil: nothing serves there
	served *certificate // what held points at; nil when the account does not list it
	own    *certificate // the youngest object of the declared certificate; nil: there is none
	keys   map[keyID]bool
	// foreign says why the place must be left alone; empty when it need not.
	foreign string
}

// look tells whose a place is:
//
//	held by                           that is
//	nobody                            free
//	a certificate of this hub         ours
//	a TLS subscription                foreign
//	another hub's certificate         foreign, unless adopted
//	any other certificate             moved, when ours claims the place; else
//	                                  foreign, unless adopted
func (s *Sink) look(a *account, p place, name string) sight {
	seen := sight{place: p, name: name, held: a.activation(p), keys: a.keys}
	if owned := a.owned(s.owner, name); len(owned) > 0 {
		seen.own = owned[0]
	}
	if seen.held != nil {
		seen.served = a.certificate(seen.held.certificate)
	}
	if seen.served.ownedBy(s.owner) {
		return seen
	}
	if subscription := a.inTheWay(p); subscription != nil {
		seen.foreign = fmt.Sprintf("Fastly keeps a certificate for it by the TLS subscription %s (%s): delete the subscription, or leave %s out of `domains`",
			subscription.id, subscription.state, p.domain)
		return seen
	}
	if seen.held != nil && !slices.Contains(s.adopt, p.String()) && !seen.moved() {
		seen.foreign = seen.strange()
	}
	return seen
}

// moved tells whether an activation that was ours points at a certificate that is
// no hub's. Of another hub's it is not taken back: the two would never end.
func (s sight) moved() bool {
	return s.own != nil && s.own.label.claimed(s.place) && (s.served == nil || s.served.label == nil)
}

// strange says whose the activation is, and what can be done.
func (s sight) strange() string {
	remedy := fmt.Sprintf("to have it taken over put %q under `adopt`", s.place)
	switch {
	case s.served == nil:
		return fmt.Sprintf("its activation points at certificate %s, which the token does not see: %s", s.held.certificate, remedy)
	case s.served.label != nil:
		return fmt.Sprintf("its activation points at certificate %s, which another hub keeps: take it out of that hub's configuration first, then %s", s.served, remedy)
	}
	return fmt.Sprintf("its activation points at certificate %s, which has no mark of anycert: %s", s.served, remedy)
}

// observed is the sight in the words of the hub.
func (s sight) observed() anycert.Observed {
	observed := anycert.Observed{Foreign: s.foreign}
	switch {
	case s.held == nil && (s.own == nil || s.foreign != ""):
		return observed
	case s.held == nil:
		observed.Deviations = s.deviation(DeviationActivation, "it is not activated: certificate %s should serve it", s.own)
		return s.own.show(observed)
	case s.foreign != "":
		return s.served.show(observed)
	case s.isOurs():
		if !s.keys[s.served.label.key] {
			observed.Deviations = s.deviation(DeviationKey, "the private key of certificate %s is gone from the account", s.served)
		}
		return s.served.show(observed)
	}
	observed.Deviations = s.deviation(DeviationActivation, "its activation points at certificate %s", s.served)
	observed = s.served.show(observed)
	observed.Mark = nil
	if s.own != nil {
		observed.Mark = &s.own.label.mark
	}
	return observed
}

// isOurs tells whether the place is served by an object of the declared certificate.
func (s sight) isOurs() bool {
	return s.served != nil && s.served.label != nil && s.served.label.mark.Certificate == s.name &&
		s.own != nil && s.served.label.mark.Owner == s.own.label.mark.Owner
}

func (s sight) deviation(kind, format string, about *certificate) []anycert.Deviation {
	return []anycert.Deviation{{Kind: kind, Detail: fmt.Sprintf(format, about)}}
}

// show fills in what Fastly tells of the certificate; it may be nil.
func (c *certificate) show(observed anycert.Observed) anycert.Observed {
	observed.Found, observed.Evidence = true, anycert.Serial
	if c == nil {
		return observed
	}
	observed.Serial, observed.NotBefore, observed.NotAfter = c.serial, c.notBefore, c.notAfter
	observed.Names, observed.Issuer = slices.Clone(c.names), c.issuer
	if c.label != nil {
		mark := c.label.mark
		observed.Mark = &mark
	}
	return observed
}

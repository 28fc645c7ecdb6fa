package reconcile

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anycert/anycert"
)

// sighting is everything that a judgement rests on: what is declared, what the
// store says, what was seen.
type sighting struct {
	certificate *anycert.Certificate
	known       Known
	observed    anycert.Observed
	err         error // of observing
	doubted     bool  // a later version than the store's is remembered, for targets without a mark
	accepted    bool  // a person said that the store is right (sync --accept-store)
	now         time.Time
}

// judgement is what follows from a sighting.
type judgement struct {
	verdict Verdict
	action  Action
	reason  string
}

// judge decides by the laws, in this order:
//
//	the store        the target                         verdict   action
//	any              someone else's                     refused
//	any              could not be read                  unknown
//	nothing there    carries our mark of it             held
//	nothing there    anything                           waiting
//	not readable     anything                           unknown
//	older            carries our mark of a later one    held      (none, or as below when accepted)
//	unfit            anything                           broken    none: what is served stays
//	readable         nothing there                      broken    create
//	readable         another certificate or key         broken    replace
//	readable         right, something beside it is not  broken    mend
//	readable         right, not yet active              waiting
//	readable         right                              kept
//
// What the other certificate is does not matter: newer, longer-lived, self-signed
// until 2099, the store's is put in its place (law 1).
func judge(s sighting) judgement {
	switch {
	case s.err != nil:
		return judgement{Unknown, None, s.err.Error()}
	case s.observed.Foreign != "":
		return judgement{Refused, None, s.observed.Foreign}
	}
	if j, decided := judgeStore(s); decided {
		return j
	}
	entry := *s.known.Entry
	if reason := heldBack(s, entry); reason != "" {
		return judgement{Held, None, reason}
	}
	if err := anycert.Check(entry.Leaf, s.certificate.Domains, s.now); err != nil {
		return judgement{Broken, None, fmt.Sprintf("version %d in the store is %v; what is served stays", entry.Version, err)}
	}
	if !s.observed.Found {
		return judgement{Broken, Create, "nothing is there"}
	}
	if reason := difference(entry, s.observed); reason != "" {
		return judgement{Broken, Replace, reason + writtenBy(s.observed)}
	}
	if reason := beside(entry, s.observed); reason != "" {
		return judgement{Broken, Mend, reason + writtenBy(s.observed)}
	}
	if s.observed.Waiting != "" {
		return judgement{Waiting, None, s.observed.Waiting}
	}
	return judgement{Kept, None, ""}
}

// judgeStore decides where the store has no entry that can be read. Nothing that
// the store does not say ever leads to a write (law 4).
func judgeStore(s sighting) (judgement, bool) {
	switch {
	case errors.Is(s.known.Err, anycert.ErrNotFound):
		if mark := s.observed.Mark; mark != nil && mark.Certificate == s.certificate.Name && !s.accepted {
			return judgement{Held, None, fmt.Sprintf("the store has nothing, but the target carries our version of %s: restore the store, or run `anycert sync --accept-store %s`",
				stamp(mark.Time), s.certificate.Name)}, true
		}
		if s.observed.Unmarkable && s.observed.Found && s.doubted && !s.accepted {
			return judgement{Held, None, fmt.Sprintf("the store has nothing, but had a version that was pushed: restore the store, or run `anycert sync --accept-store %s`",
				s.certificate.Name)}, true
		}
		if s.certificate.Issuer == "" {
			return judgement{Waiting, None, "nothing in the store yet: whoever keeps this certificate has to put it there"}, true
		}
		return judgement{Waiting, None, "nothing issued yet"}, true
	case errors.Is(s.known.Err, anycert.ErrDeleted):
		return judgement{Unknown, None, fmt.Sprintf("%v: undelete that version, or put a new one there; what is served stays", s.known.Err)}, true
	case s.known.Err != nil:
		return judgement{Unknown, None, s.known.Err.Error()}, true
	case s.known.Entry == nil:
		return judgement{Unknown, None, "the store was not asked for it: this is a bug of anycert, please report it"}, true
	}
	return judgement{}, false
}

// heldBack tells why a push would be a step back that nobody asked for (law 2).
func heldBack(s sighting, entry anycert.Entry) string {
	switch {
	case s.accepted:
		return ""
	case s.observed.Mark != nil && s.observed.Mark.Later(entry):
		return fmt.Sprintf("the store's version is of %s, the target carries our version of %s: the store went back; restore it, or run `anycert sync --accept-store %s`",
			stamp(entry.Time), stamp(s.observed.Mark.Time), entry.Name)
	case s.observed.Unmarkable && s.doubted && difference(entry, s.observed) != "": // else it was accepted beside us
		return fmt.Sprintf("the store's version of %s is older than one that was pushed: the store went back; restore it, or run `anycert sync --accept-store %s`",
			stamp(entry.Time), entry.Name)
	}
	return ""
}

// difference tells how the certificate at a target differs from entry, as far as
// the evidence reaches; "" when it agrees.
func difference(entry anycert.Entry, o anycert.Observed) string {
	leaf := entry.Leaf
	switch o.Evidence {
	case anycert.Exact:
		switch {
		case o.Digest.IsZero():
			return "no certificate that can be read is there"
		case o.Digest != entry.Digest && o.Serial == leaf.SerialNumber.String():
			return "the chain differs, the certificate is the same"
		case o.Digest != entry.Digest:
			return "another certificate is there" + describe(o)
		case o.SPKI == anycert.SPKI{}:
			return "no private key that can be read is there"
		}
	case anycert.Serial:
		if o.Serial != leaf.SerialNumber.String() || !sameSecond(o.NotAfter, leaf.NotAfter) {
			return "another certificate is there" + describe(o)
		}
		if !sameNames(o.Names, leaf.DNSNames) {
			return "the names differ: there are " + strings.Join(o.Names, ", ")
		}
	case anycert.Dates:
		if !sameSecond(o.NotAfter, leaf.NotAfter) {
			return "another certificate is there" + describe(o)
		}
	default:
		return "what is there could not be compared"
	}
	if (o.SPKI != anycert.SPKI{}) && o.SPKI != anycert.SPKIOf(leaf) {
		return "the private key there does not belong to the certificate"
	}
	return ""
}

// beside tells what is not as promised although the certificate is right.
func beside(entry anycert.Entry, o anycert.Observed) string {
	var reasons []string
	switch {
	case o.Unmarkable:
	case o.Mark == nil:
		reasons = append(reasons, "our mark is missing")
	case o.Mark.Certificate != entry.Name || o.Mark.Digest != entry.Digest:
		reasons = append(reasons, "our mark names another version")
	}
	for _, deviation := range o.Deviations {
		reasons = append(reasons, deviation.Kind+": "+deviation.Detail)
	}
	return strings.Join(reasons, "; ")
}

func describe(o anycert.Observed) string {
	var text string
	if !o.NotAfter.IsZero() {
		text = ", valid until " + stamp(o.NotAfter)
	}
	if o.Issuer != "" {
		text += ", issued by " + o.Issuer
	}
	return text
}

func writtenBy(o anycert.Observed) string {
	if o.Writer == "" {
		return ""
	}
	return " (last written by " + o.Writer + ")"
}

func sameSecond(a, b time.Time) bool {
	return a.Truncate(time.Second).Equal(b.Truncate(time.Second))
}

// sameNames compares two sets of domain names. A provider may show each once, and in
// lower case.
func sameNames(a, b []string) bool { return slices.Equal(nameSet(a), nameSet(b)) }

func nameSet(names []string) []string {
	set := make([]string, len(names))
	for i, name := range names {
		set[i] = strings.ToLower(name)
	}
	slices.Sort(set)
	return slices.Compact(set)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

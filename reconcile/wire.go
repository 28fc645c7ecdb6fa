package reconcile

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/anycert/anycert"
)

// WireState is what the world is served of a promise, by handshakes.
type WireState string

const (
	WireServed WireState = "served" // every address serves the store's chain
	WireUnseen WireState = "unseen" // an address showed nothing
	WireBehind WireState = "behind" // an address serves another certificate, or another chain
	WireUnfit  WireState = "unfit"  // what an address serves no client takes: names, validity, a chain with a gap
)

// WireStates lists them, the calmest first. That something differs is certain, that
// nothing was seen is not: the first wins where addresses disagree.
func WireStates() []WireState { return []WireState{WireServed, WireUnseen, WireBehind, WireUnfit} }

// Wire is what the world was seen to be served of a promise.
type Wire struct {
	State     WireState     `json:"state"`
	Text      string        `json:"text,omitempty"`   // what differs, and at which addresses
	Remedy    string        `json:"remedy,omitempty"` // what is done about it, and by whom
	Time      time.Time     `json:"time"`             // of the last handshake
	Addresses []WireAddress `json:"addresses"`
}

// WireAddress is what one address showed.
type WireAddress struct {
	Endpoint string     `json:"endpoint"`
	IP       string     `json:"ip,omitempty"` // left out where the host could not be looked up
	State    WireState  `json:"state"`
	Text     string     `json:"text,omitempty"`
	Digest   string     `json:"digest,omitempty"` // of the whole chain
	Serial   string     `json:"serial,omitempty"`
	NotAfter *time.Time `json:"not_after,omitempty"`
	Issuer   string     `json:"issuer,omitempty"`
}

// well reports whether the world is served what it should be, as far as anybody looks.
func (w *Wire) well() bool { return w == nil || w.State == WireServed }

// judgeWire compares what was served with the store's entry. It is nil when nothing was
// looked at. For each address, in this order:
//
//	no chain was seen                                     unseen
//	it is not for the name that was asked for             unfit
//	it is not valid now                                   unfit
//	it is the store's without the certificates behind it  unfit
//	it is the store's with another chain, or another      behind
//	it is the store's, and does not lead to a root        unfit
//	it is the store's                                     served
func judgeWire(entry anycert.Entry, served []anycert.Served, now time.Time) *Wire {
	served = reachable(served)
	if len(served) == 0 {
		return nil
	}
	w := &Wire{State: WireServed, Addresses: make([]WireAddress, len(served))}
	for i, s := range served {
		a := judgeAddress(entry, s, now)
		w.Addresses[i] = a
		if slices.Index(WireStates(), a.State) > slices.Index(WireStates(), w.State) {
			w.State = a.State
		}
		w.Time = later(w.Time, s.At)
	}
	w.Text = differences(w.Addresses)
	return w
}

// reachable leaves out the addresses to which this machine has no way, unless it has
// one to none: that we have no IPv6 says nothing of who serves there.
func reachable(served []anycert.Served) []anycert.Served {
	kept := slices.DeleteFunc(slices.Clone(served), func(s anycert.Served) bool { return errors.Is(s.Err, anycert.ErrNoRoute) })
	if len(kept) == 0 {
		return served
	}
	return kept
}

func judgeAddress(entry anycert.Entry, s anycert.Served, now time.Time) WireAddress {
	a := WireAddress{Endpoint: s.Endpoint.String()}
	if s.IP.IsValid() {
		a.IP = s.IP.String()
	}
	if s.Err != nil || len(s.Chain) == 0 {
		a.State, a.Text = WireUnseen, "nothing was seen"
		if s.Err != nil {
			a.Text = s.Err.Error()
		}
		return a
	}
	leaf := s.Chain[0]
	digest := anycert.DigestOf(s.Chain)
	a.Digest, a.Serial, a.Issuer = digest.String(), leaf.SerialNumber.String(), brief(leaf.Issuer.CommonName)
	end := leaf.NotAfter.UTC()
	a.NotAfter = &end
	same := entry.Leaf.Equal(leaf)
	which := "another certificate"
	if same {
		which = "the store's certificate"
	}
	switch {
	case leaf.VerifyHostname(s.Endpoint.ServerName) != nil:
		a.State, a.Text = WireUnfit, which+" is served, which is not for "+s.Endpoint.ServerName+" but for "+names(leaf)
	case now.After(end):
		a.State, a.Text = WireUnfit, which+" is served, which expired at "+stamp(end)
	case now.Before(leaf.NotBefore):
		a.State, a.Text = WireUnfit, which+" is served, which is not valid before "+stamp(leaf.NotBefore)
	case same && digest != entry.Digest && len(s.Chain) == 1:
		a.State, a.Text = WireUnfit, "the chain lacks its intermediate: the certificate is served alone"
	case same && digest != entry.Digest:
		a.State, a.Text = WireBehind, fmt.Sprintf("the certificate is served with another chain, of %d certificates", len(s.Chain))
	case digest != entry.Digest:
		a.State, a.Text = WireBehind, "another certificate is served, valid until "+stamp(end)+by(leaf)
	case gap(s, now) != "":
		a.State, a.Text = WireUnfit, gap(s, now)
	default:
		a.State = WireServed
	}
	return a
}

// gap tells why clients cannot follow a chain to a root, "" when they can, or when
// nobody said which roots they have: a CA of one's own need not be known here. A leaf
// alone that tells where its issuer's certificate is to be had was not issued by a root.
func gap(s anycert.Served, now time.Time) string {
	leaf := s.Chain[0]
	between := x509.NewCertPool()
	for _, certificate := range s.Chain[1:] {
		between.AddCert(certificate)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: s.Endpoint.Roots, Intermediates: between, CurrentTime: now})
	switch {
	case err == nil:
		return ""
	case len(s.Chain) == 1 && !leaf.IsCA && (s.Endpoint.Roots != nil || len(leaf.IssuingCertificateURL) > 0) && !selfSigned(leaf):
		return "the chain lacks its intermediate, in the store as well: the certificate is served alone"
	case s.Endpoint.Roots != nil:
		return "the chain does not lead to a root of ca_bundle: " + brief(err.Error())
	}
	return ""
}

func selfSigned(leaf *x509.Certificate) bool {
	return leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature) == nil
}

// names are those of a leaf, for people: a few of them.
func names(leaf *x509.Certificate) string {
	const few = 3
	switch n := len(leaf.DNSNames); {
	case n == 0:
		return "no name"
	case n > few:
		return brief(fmt.Sprintf("%s and %d more", strings.Join(leaf.DNSNames[:few], ", "), n-few))
	}
	return brief(strings.Join(leaf.DNSNames, ", "))
}

func by(leaf *x509.Certificate) string {
	if leaf.Issuer.CommonName == "" {
		return ""
	}
	return ", issued by " + brief(leaf.Issuer.CommonName)
}

// long is what a name or a word is not, and what a key is in hex or base64.
var long = regexp.MustCompile(`[A-Za-z0-9+/=_]{31,}`)

// brief is a text that a server chose. One that was given a key could show it there, so
// that of anything as long as a piece of a key only the beginning is told.
func brief(text string) string {
	return long.ReplaceAllStringFunc(text, func(word string) string { return word[:8] + "…" })
}

// differences says once what several addresses of an endpoint have in common:
// "app.example.com:443: another certificate is served, valid until …, at 2 of 3
// addresses (192.0.2.7, 2001:db8::1)".
func differences(addresses []WireAddress) string {
	var (
		said  []string
		known = make(map[[2]string]bool)
	)
	for _, a := range addresses {
		group := [2]string{a.Endpoint, a.Text}
		if a.State == WireServed || known[group] {
			continue
		}
		known[group] = true
		said = append(said, a.Endpoint+": "+a.Text+where(addresses, a))
	}
	return strings.Join(said, "; ")
}

// where names the addresses of an endpoint that showed what a showed.
func where(addresses []WireAddress, a WireAddress) string {
	const few = 5
	var ips []string
	all := 0
	for _, other := range addresses {
		if other.Endpoint != a.Endpoint || other.IP == "" {
			continue
		}
		if all++; other.Text == a.Text {
			ips = append(ips, other.IP)
		}
	}
	n := len(ips)
	if n > few {
		ips = append(ips[:few], "…")
	}
	list := strings.Join(ips, ", ")
	host, _, _ := net.SplitHostPort(strings.Fields(a.Endpoint)[0])
	switch {
	case n == 0 || all == 1 && host == list: // the endpoint names it already
		return ""
	case all == 1:
		return ", at " + list
	case n == all:
		return ", at every address (" + list + ")"
	}
	return fmt.Sprintf(", at %d of %d addresses (%s)", n, all, list)
}

// remedy says what is done about a wire that differs, and by whom where anycert can do
// nothing more.
func (p Promise) remedy(front anycert.Front) string {
	switch {
	case p.Wire.well():
		return ""
	case p.Verdict == Broken && p.Action != None:
		return "the target differs as well: `anycert sync` and every pass of `anycert run` put the store's version there"
	case p.Verdict == Waiting:
		return "the target waits, see there"
	case p.Verdict != Kept:
		return "nothing is pushed while the target is " + string(p.Verdict) + ", see there"
	case p.Wire.State == WireUnseen:
		return "see whether it is up and can be reached from here; `verify: false` has nobody look there"
	case p.serves(func(a WireAddress, digest, _ string) bool { return a.State == WireUnfit && a.Digest == digest }):
		return "the target and the store hold it too: put a whole chain into the store, or `anycert renew` it"
	case front.Remedy == "" && p.serves(func(a WireAddress, digest, serial string) bool { return a.Serial == serial && a.Digest != digest }):
		return "the target holds the store's version: have the server send the whole chain as it is there (fullchain.pem)"
	case front.Remedy != "":
		return "the target holds the store's version, and " + front.Keeper + " goes on serving this: " + front.Remedy
	}
	return "the target holds the store's version, which is not what is served there: have the server read it again (a reload), or correct the address under `verify`"
}

// serves reports whether any address serves what is, compared with the digest and serial
// number of the store's version.
func (p Promise) serves(is func(a WireAddress, digest, serial string) bool) bool {
	entry := p.sighting.known.Entry
	return entry != nil && slices.ContainsFunc(p.Wire.Addresses, func(a WireAddress) bool {
		return is(a, entry.Digest.String(), entry.Leaf.SerialNumber.String())
	})
}

// Package anycert says what a certificate is and what the parts of the hub
// promise each other. It has no code that talks to anybody, and imports the
// standard library only.
//
// One certificate is served from many places. Three stages know nothing of each
// other but what stands here:
//
//	issuer ──▶ store (the only truth) ──▶ reconcile ──▶ sinks
//
// An [Issuer] obtains certificates and writes each into the [Store]. Reconcile
// compares what the store holds with what each [Sink] serves, and pushes where
// they differ. A person who reads the interfaces of this package knows the
// project; everything else is an implementation of one of them.
package anycert

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Certificate is a certificate as the configuration declares it: what is wanted,
// not what there is. Only declared certificates are ever pushed.
type Certificate struct {
	Name        string   // DNS-1123 label; the name in the store
	Description string   // for people, shown in status and alarms
	Owner       string   // who is to be asked; for people
	Domains     []string // lower case, wildcards as "*.example.com"; at least one
	Issuer      string   // name of the issuer; empty when someone else keeps the entry
	Fallbacks   []string // names of issuers to ask in this order while the CAs before them fail
	KeyType     KeyType
	ReuseKey    bool // keep the key at renewal, for pinned keys
	Suspended   bool // frozen: neither issued nor pushed
	Canary      bool // a new version goes to one sink first, so that it is renewed earlier
}

// Issuers are the names of all issuers of the certificate, in the order in which they
// are asked.
func (c Certificate) Issuers() []string {
	if c.Issuer == "" {
		return nil
	}
	return append([]string{c.Issuer}, c.Fallbacks...)
}

// Covers reports whether a certificate for names would serve domain: by the same
// name, or by a wildcard one label above it (RFC 6125, section 6.4.3), in whatever
// case (RFC 4343). A declared wildcard is covered by the same wildcard alone.
func Covers(names []string, domain string) bool {
	has := func(wanted string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, wanted) })
	}
	if has(domain) {
		return true
	}
	_, parent, ok := strings.Cut(domain, ".")
	return ok && !strings.HasPrefix(domain, "*.") && has("*."+parent)
}

var label = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// CheckName tells what is wrong with the name of a certificate, sink, issuer or
// owner: each is a DNS-1123 label, so that it is also a safe file name, path
// segment and Kubernetes name.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("a name is missing")
	case len(name) > 63:
		return fmt.Errorf("the name has %d characters, 63 are allowed", len(name))
	case !label.MatchString(name):
		return fmt.Errorf("%q is not a name: use lower-case letters, digits and '-', and begin and end with a letter or digit", name)
	}
	return nil
}

// CheckDomain tells what is wrong with a domain name of a certificate: it must be
// a host name in lower-case ASCII with at least two labels, optionally with "*."
// before it (RFC 1034, section 3.5; RFC 5890 for names outside ASCII).
func CheckDomain(domain string) error {
	host := strings.TrimPrefix(domain, "*.")
	switch {
	case host == "":
		return errors.New("a domain is missing")
	case len(domain) > 253:
		return fmt.Errorf("the domain has %d characters, 253 are allowed", len(domain))
	case strings.ToLower(domain) != domain:
		return fmt.Errorf("%q has capital letters: write it in lower case", domain)
	case !isASCII(domain):
		return fmt.Errorf("%q is not ASCII: write it in its xn-- form", domain)
	case !strings.Contains(host, "."):
		return fmt.Errorf("%q has a single label: public certificates need at least two", domain)
	}
	for part := range strings.SplitSeq(host, ".") {
		if !label.MatchString(part) {
			return fmt.Errorf("%q is not a domain name: %q is no valid label", domain, part)
		}
	}
	return nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

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

// Renewal implements [anycert.Issuer]. A certificate is due when a third of its
// lifetime is left, or half of one below ten days; that needs no change as
// lifetimes shrink. It is due at once when it is not what is declared any more.
func (i *Issuer) Renewal(certificate anycert.Certificate, entry *anycert.Entry, now time.Time) anycert.Renewal {
	config, ok := i.configs[certificate.Issuer]
	switch {
	case certificate.Issuer == "":
		return anycert.Renewal{Reason: "someone else keeps it"}
	case certificate.Suspended:
		return anycert.Renewal{Reason: "it is suspended"}
	case !ok:
		return anycert.Renewal{Reason: fmt.Sprintf("no issuer is named %s", certificate.Issuer)}
	case entry == nil || entry.Leaf == nil:
		return anycert.Renewal{At: now, Reason: "nothing was issued yet"}
	case now.After(entry.Leaf.NotAfter):
		return anycert.Renewal{At: now, Reason: "it has expired"}
	}
	if reason := changed(certificate, config, *entry); reason != "" {
		return anycert.Renewal{At: now, Reason: reason}
	}
	return byLifetime(entry.Leaf)
}

// byLifetime is the rule for a certificate that is as declared.
func byLifetime(leaf *x509.Certificate) anycert.Renewal {
	lifetime := leaf.NotAfter.Sub(leaf.NotBefore)
	left, reason := lifetime/3, "a third of its lifetime is left"
	if lifetime < short {
		left, reason = lifetime/2, "half of its lifetime is left"
	}
	return anycert.Renewal{At: leaf.NotAfter.Add(-left), Reason: reason}
}

// changed tells what is not as declared, or "". What a person wrote has no origin
// to compare.
func changed(certificate anycert.Certificate, config Config, entry anycert.Entry) string {
	if !sameNames(entry.Leaf.DNSNames, certificate.Domains) {
		return "the domains changed: " + difference(entry.Leaf.DNSNames, certificate.Domains)
	}
	if kind, err := anycert.KeyTypeOf(entry.Leaf.PublicKey); certificate.KeyType != "" && (err != nil || kind != certificate.KeyType) {
		return fmt.Sprintf("the key type changed to %s", certificate.KeyType)
	}
	origin := entry.Origin
	switch {
	case origin == anycert.Origin{}:
		return ""
	case origin.Issuer != certificate.Issuer:
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

package anycert

import (
	"crypto/x509"
	"fmt"
	"strings"
	"time"
)

// Check tells why leaf must not be served for domains at the moment now, or
// nil: it must be valid now, cover every domain, be no CA, be meant for TLS
// servers, and not be signed with a broken hash. What Check refuses is never
// pushed; what is served stays (law 3). The error wraps ErrUnfit.
func Check(leaf *x509.Certificate, domains []string, now time.Time) error {
	switch {
	case now.After(leaf.NotAfter):
		return unfit("it expired at %s: renew it", leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		return unfit("it is not valid before %s: check the clocks", leaf.NotBefore.UTC().Format(time.RFC3339))
	case leaf.IsCA:
		return unfit("it is a CA certificate (CA:TRUE): put a server certificate there")
	case !forServers(leaf):
		return unfit("its extended key usage does not allow TLS servers")
	case weak(leaf.SignatureAlgorithm):
		return unfit("it is signed with %s, which clients refuse", leaf.SignatureAlgorithm)
	}
	if missing := Uncovered(leaf.DNSNames, domains); len(missing) > 0 {
		return unfit("it does not cover %s", strings.Join(missing, ", "))
	}
	return nil
}

// Uncovered lists the domains for which a certificate for names would not serve.
func Uncovered(names, domains []string) []string {
	var missing []string
	for _, domain := range domains {
		if !Covers(names, domain) {
			missing = append(missing, domain)
		}
	}
	return missing
}

func forServers(leaf *x509.Certificate) bool {
	if len(leaf.ExtKeyUsage) == 0 && len(leaf.UnknownExtKeyUsage) == 0 {
		return true // no restriction: RFC 5280, section 4.2.1.12
	}
	for _, usage := range leaf.ExtKeyUsage {
		if usage == x509.ExtKeyUsageServerAuth || usage == x509.ExtKeyUsageAny {
			return true
		}
	}
	return false
}

func weak(algorithm x509.SignatureAlgorithm) bool {
	switch algorithm {
	case x509.UnknownSignatureAlgorithm, x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		return true
	}
	return false
}

func unfit(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUnfit}, args...)...)
}

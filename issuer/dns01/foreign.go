package dns01

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// owner is a provider that asks its customers to point _acme-challenge at it, so
// that it can obtain certificates for itself.
type owner struct{ suffix, name, remedy string }

// owners are the known ones:
//   - https://docs.fastly.com/en/guides/setting-up-tls-with-certificates-fastly-manages
//   - https://fly.io/docs/networking/custom-domain/
//   - https://cloud.google.com/certificate-manager/docs/dns-authorizations
//   - https://developers.cloudflare.com/ssl/edge-certificates/changing-dcv-method/methods/delegated-dcv/
var owners = []owner{
	{"fastly-validations.com.", "Fastly", "take Fastly's managed certificate for the domain away, and then the record: the certificate from here is uploaded there instead"},
	{"flydns.net.", "Fly.io", "remove the record: the certificate from here is imported there, which needs no _acme-challenge (Fly.io may ask for a TXT record _fly-ownership instead)"},
	{"authorize.certificatemanager.goog.", "Google Certificate Manager", "take Google's DNS authorization for the domain away, and then the record"},
	{"dcv.cloudflare.com.", "Cloudflare's delegated validation", "turn the delegation off at Cloudflare, and then remove the record"},
}

// ForeignError says that the challenge record of a domain belongs to someone else.
type ForeignError struct {
	Domain string // of the certificate
	Via    string // what the CNAME at _acme-challenge names
	Target string // what that leads to in the end
	Owner  string // who asked for the record; empty when not known
	Remedy string
}

func (e *ForeignError) Error() string { return e.Domain + ": " + e.sentence() }

func (e *ForeignError) sentence() string {
	leads := "is in the way"
	if e.Via != e.Target {
		leads = "leads to " + strings.TrimSuffix(e.Target, ".")
	}
	whose := "which none of the issuer's DNS providers can write"
	if e.Owner != "" {
		whose = "which belongs to " + e.Owner
	}
	return fmt.Sprintf("%s %s, %s, so control cannot be proven from here: %s",
		cname("_acme-challenge."+e.Domain+".", e.Via), leads, whose, e.Remedy)
}

// foreign tells whether a chain of CNAMEs is known to lead to someone else.
func foreign(domain string, chain []string) *ForeignError {
	target := chain[len(chain)-1]
	for _, o := range owners {
		if dns.IsSubDomain(o.suffix, target) {
			return &ForeignError{Domain: domain, Via: chain[1], Target: target, Owner: o.name, Remedy: o.remedy}
		}
	}
	return nil
}

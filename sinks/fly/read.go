package fly

import (
	"fmt"
	"strings"

	"github.com/anycert/anycert"
	fly "github.com/superfly/fly-go"
)

// The words of the API, as its documentation shows them.
const (
	sourceCustom     = "custom" // imported; Fly.io's own are "fly"
	statusActive     = "active"
	statusUnverified = "pending_ownership"
	ownershipPrefix  = "_fly-ownership."
)

// read turns an answer into what was observed. It fails when the answer does not
// tell the one thing that it is asked for: taking that for a difference would push
// again at every pass.
func read(hostname string, answer *fly.CertificateDetailResponse) (anycert.Observed, error) {
	observed := anycert.Observed{Unmarkable: true}
	custom := imported(answer)
	if custom == nil {
		return observed, nil
	}
	if custom.ExpiresAt == nil || custom.ExpiresAt.IsZero() {
		return observed, unreadable{"it does not tell when the imported certificate ends"}
	}
	observed.Found = true
	observed.Evidence = anycert.Dates
	observed.NotAfter = custom.ExpiresAt.UTC()
	observed.Issuer = printable(custom.Issuer)
	observed.Waiting = waiting(hostname, custom.Status, answer.DNSRequirements.Ownership)
	return observed, nil
}

// imported is the certificate that was imported, or nil. Fly.io's own are passed
// over.
func imported(answer *fly.CertificateDetailResponse) *fly.CertificateDetail {
	for i := range answer.Certificates {
		if answer.Certificates[i].Source == sourceCustom {
			return &answer.Certificates[i]
		}
	}
	return nil
}

// waiting says what is missing until Fly.io serves what it was given. It never
// speaks of the answer's acme_challenge: that CNAME would hand _acme-challenge to
// Fly.io, and anycert could not renew any more.
func waiting(hostname, status string, required fly.OwnershipRequirement) string {
	switch status {
	case statusActive:
		return ""
	case statusUnverified:
		return ownership(hostname, required)
	}
	return fmt.Sprintf("Fly.io reports the status %q: look at `fly certs show %s`", printable(status), hostname)
}

func ownership(hostname string, required fly.OwnershipRequirement) string {
	bare, isWildcard := strings.CutPrefix(hostname, "*.")
	name := printable(required.Name)
	if !strings.HasPrefix(name, ownershipPrefix) {
		name = ownershipPrefix + bare
	}
	record := fmt.Sprintf("add the DNS record %s TXT %q", name, printable(required.AppValue))
	if required.AppValue == "" {
		record = fmt.Sprintf("add the DNS record %s TXT that `fly certs setup %s` shows", name, hostname)
	}
	if isWildcard {
		return "Fly.io wants a proof that the domain is yours: " + record + " (a wildcard needs it)"
	}
	return "Fly.io wants a proof that the domain is yours: " + record + ", or point " + hostname + " at the app"
}

package flytest

import (
	"crypto/x509"
	"slices"
	"strings"
	"time"
)

// The JSON of the API, field by field as the documentation's examples show it. They
// are written down a second time, and not taken from fly-go, so that the client's
// types can be held against them.

type importRequest struct {
	Hostname   string `json:"hostname"`
	Fullchain  string `json:"fullchain"`
	PrivateKey string `json:"private_key"`
}

type acmeRequest struct {
	Hostname string `json:"hostname"`
}

type apiError struct {
	Error string `json:"error"`
}

type detail struct {
	Hostname         string          `json:"hostname"`
	Configured       bool            `json:"configured"`
	AcmeRequested    bool            `json:"acme_requested"`
	Status           string          `json:"status"`
	DNSProvider      string          `json:"dns_provider"`
	RateLimitedUntil *time.Time      `json:"rate_limited_until"`
	Certificates     []sourced       `json:"certificates"`
	Validation       validation      `json:"validation"`
	DNSRequirements  dnsRequirements `json:"dns_requirements"`
	ValidationErrors []string        `json:"validation_errors"`
}

type sourced struct {
	Source    string    `json:"source"` // custom or fly
	Status    string    `json:"status"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
	Issuer    *string   `json:"issuer"` // null for Fly.io's own
	Issued    []issued  `json:"issued"`
}

type issued struct {
	Type      string    `json:"type"`
	ExpiresAt time.Time `json:"expires_at"`
	Authority string    `json:"certificate_authority"`
}

type validation struct {
	DNSConfigured          bool `json:"dns_configured"`
	ALPNConfigured         bool `json:"alpn_configured"`
	HTTPConfigured         bool `json:"http_configured"`
	OwnershipTxtConfigured bool `json:"ownership_txt_configured"`
}

type dnsRequirements struct {
	A             []string      `json:"a"`
	AAAA          []string      `json:"aaaa"`
	CNAME         string        `json:"cname"`
	ACMEChallenge acmeChallenge `json:"acme_challenge"`
	Ownership     ownership     `json:"ownership"`
}

type acmeChallenge struct {
	Name   string `json:"name"`
	Target string `json:"target"`
}

type ownership struct {
	Name     string `json:"name"`
	AppValue string `json:"app_value"`
	OrgValue string `json:"org_value"`
}

type listing struct {
	Certificates []summary `json:"certificates"`
	NextCursor   string    `json:"next_cursor,omitempty"`
	TotalCount   int       `json:"total_count"`
}

type summary struct {
	Hostname               string    `json:"hostname"`
	Status                 string    `json:"status"`
	DNSProvider            string    `json:"dns_provider"`
	AcmeDNSConfigured      bool      `json:"acme_dns_configured"`
	AcmeALPNConfigured     bool      `json:"acme_alpn_configured"`
	AcmeHTTPConfigured     bool      `json:"acme_http_configured"`
	OwnershipTxtConfigured bool      `json:"ownership_txt_configured"`
	Configured             bool      `json:"configured"`
	AcmeRequested          bool      `json:"acme_requested"`
	HasCustomCertificate   bool      `json:"has_custom_certificate"`
	HasFlyCertificate      bool      `json:"has_fly_certificate"`
	CreatedAt              time.Time `json:"created_at"`
	UpdatedAt              time.Time `json:"updated_at"`
}

// challengeTarget ends the CNAME target that Fly.io asks for, for its own issuing.
const challengeTarget = ".k3x9q.flydns.net"

func (h *host) detail() detail {
	base := strings.TrimPrefix(h.name, "*.")
	return detail{
		Hostname:      h.name,
		Configured:    h.owned(),
		AcmeRequested: h.acmeRequested,
		Status:        h.status(),
		DNSProvider:   "example",
		Certificates:  h.sourced(),
		Validation: validation{
			DNSConfigured:          h.isPointed(),
			ALPNConfigured:         h.isPointed(),
			HTTPConfigured:         h.isPointed(),
			OwnershipTxtConfigured: h.hasTXT(),
		},
		DNSRequirements: dnsRequirements{
			A:             []string{"192.0.2.7"},
			AAAA:          []string{"2001:db8::7"},
			CNAME:         h.app.name + ".fly.dev",
			ACMEChallenge: acmeChallenge{Name: "_acme-challenge." + base, Target: base + challengeTarget},
			Ownership:     ownership{Name: ownershipName(h.name), AppValue: h.app.ownershipValue(), OrgValue: "org-4m1zr"},
		},
		ValidationErrors: []string{},
	}
}

func (h *host) sourced() []sourced {
	list := []sourced{}
	if c := h.custom; c != nil {
		issuer := issuerName(c.pair.Leaf)
		list = append(list, sourced{
			Source: "custom", Status: h.customStatus(), CreatedAt: c.created,
			ExpiresAt: c.pair.Leaf.NotAfter.UTC(), Issuer: &issuer, Issued: []issued{},
		})
	}
	if c := h.own; c != nil {
		end := c.pair.Leaf.NotAfter.UTC()
		list = append(list, sourced{
			Source: "fly", Status: "active", CreatedAt: c.created, ExpiresAt: end,
			Issued: []issued{{Type: "ecdsa", ExpiresAt: end, Authority: "lets_encrypt"}},
		})
	}
	return list
}

// issuerName is the issuer as one name. The real spelling is not documented; the
// one example there is reads like a common name.
func issuerName(leaf *x509.Certificate) string {
	if leaf.Issuer.CommonName != "" {
		return leaf.Issuer.CommonName
	}
	return leaf.Issuer.String()
}

func (h *host) summary() summary {
	return summary{
		Hostname: h.name, Status: h.status(), DNSProvider: "example",
		AcmeALPNConfigured: h.isPointed(), AcmeHTTPConfigured: h.isPointed(),
		OwnershipTxtConfigured: h.hasTXT(), Configured: h.owned(), AcmeRequested: h.acmeRequested,
		HasCustomCertificate: h.custom != nil, HasFlyCertificate: h.own != nil,
		CreatedAt: h.created, UpdatedAt: h.updated,
	}
}

// page is the part of the listing that follows cursor, the last hostname of the
// page before.
func (a *app) page(filter, cursor string, limit int) listing {
	names := slices.DeleteFunc(a.hostnames(), func(name string) bool { return !strings.Contains(name, filter) })
	result := listing{Certificates: []summary{}, TotalCount: len(names)}
	at, found := slices.BinarySearch(names, cursor)
	if found {
		at++
	}
	rest := names[at:]
	if len(rest) > limit {
		rest = rest[:limit]
		result.NextCursor = rest[limit-1]
	}
	for _, name := range rest {
		result.Certificates = append(result.Certificates, a.hosts[name].summary())
	}
	return result
}

package fastlytest

import (
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"slices"
	"strings"
	"time"
)

// maxName bounds the names of objects. Fastly documents no bound.
const maxName = 255

// certificate is one object under /tls/certificates.
type certificate struct {
	id, name         string
	chain            []*x509.Certificate
	sha1             string // of its key
	key              string // the key that the edge serves it with; empty when it was never sent
	managed          bool   // of a subscription: not listed
	created, updated time.Time
}

func (c *certificate) leaf() *x509.Certificate { return c.chain[0] }

func (c *certificate) domains() []string { return c.leaf().DNSNames }

func (c *certificate) resource() resource {
	leaf := c.leaf()
	return resource{
		ID: c.id, Type: "tls_certificate",
		Attributes: map[string]any{
			"created_at":          timestamp(c.created),
			"issued_to":           cmp.Or(leaf.Subject.CommonName, leaf.DNSNames[0]),
			"issuer":              leaf.Issuer.CommonName,
			"name":                orNull(c.name),
			"not_after":           timestamp(leaf.NotAfter),
			"not_before":          timestamp(leaf.NotBefore),
			"replace":             false,
			"serial_number":       leaf.SerialNumber.String(),
			"signature_algorithm": leaf.SignatureAlgorithm.String(),
			"updated_at":          timestamp(c.updated),
		},
		Relationships: map[string]any{"tls_domains": toMany("tls_domain", c.domains())},
	}
}

// certificate finds one that is listed.
func (s *Server) certificate(id string) *certificate {
	i := slices.IndexFunc(s.certificates, func(c *certificate) bool { return c.id == id && !c.managed })
	if i < 0 {
		return nil
	}
	return s.certificates[i]
}

func (s *Server) activated(id string) bool {
	return slices.ContainsFunc(s.activations, func(a *activation) bool { return a.certificate == id })
}

func (s *Server) listCertificates(r incoming) answer {
	inUse, domain := r.filters.Get("filter[in_use]"), r.filters.Get("filter[tls_domains.id]")
	if inUse != "" && inUse != "true" && inUse != "false" {
		return refuse(http.StatusBadRequest, "Invalid filter", "filter[in_use] must be true or false")
	}
	var all []resource
	for _, c := range s.certificates {
		wanted := (inUse == "" || (inUse == "true") == s.activated(c.id)) &&
			(domain == "" || slices.Contains(c.domains(), domain))
		if wanted && !c.managed {
			all = append(all, c.resource())
		}
	}
	return list(r, all, 20)
}

func (s *Server) getCertificate(r incoming) answer {
	if c := s.certificate(r.id); c != nil {
		return one(http.StatusOK, c.resource())
	}
	return notFound("certificate")
}

func (s *Server) createCertificate(r incoming) answer {
	c, refusal := s.readCertificate("Can't create certificate", r.body)
	if refusal != nil {
		return *refusal
	}
	c.id, c.created, c.updated = newID(), now(), now()
	s.certificates = append(s.certificates, c)
	return one(http.StatusCreated, c.resource())
}

func (s *Server) updateCertificate(r incoming) answer {
	const title = "Can't update certificate"
	old := s.certificate(r.id)
	if old == nil {
		return notFound("certificate")
	}
	if r.body.Data.ID != r.id {
		return refuse(http.StatusBadRequest, title, "the id in the body must be that of the path")
	}
	c, refusal := s.readCertificate(title, r.body)
	if refusal != nil {
		return *refusal
	}
	for _, domain := range old.domains() {
		if !slices.Contains(c.domains(), domain) {
			return refuse(http.StatusBadRequest, title, "the new certificate must have every SAN entry of the old one: "+domain+" is missing")
		}
	}
	if c.name == "" {
		c.name = old.name
	}
	before := old.domains()
	c.id, c.created, c.updated = old.id, now(), now() // the recorded answer has a new created_at too
	*old = *c
	shown := old.resource()
	// As recorded: the answer does not list a newly added name yet.
	shown.Relationships["tls_domains"] = toMany("tls_domain", before)
	return one(http.StatusOK, shown)
}

func (s *Server) deleteCertificate(r incoming) answer {
	switch {
	case s.certificate(r.id) == nil:
		return notFound("certificate")
	case s.activated(r.id):
		return refuse(http.StatusBadRequest, "Can't delete certificate", "the certificate is enabled for a domain")
	}
	s.certificates = slices.DeleteFunc(s.certificates, func(c *certificate) bool { return c.id == r.id })
	return done()
}

// readCertificate reads what a write sends, and holds it against what is there.
func (s *Server) readCertificate(title string, body document) (*certificate, *answer) {
	no := func(detail string) (*certificate, *answer) {
		refusal := refuse(http.StatusBadRequest, title, detail)
		return nil, &refusal
	}
	sent := body.Data.Attributes
	if body.Data.Type != "tls_certificate" {
		return no("the type must be tls_certificate")
	}
	if len(sent.Name) > maxName {
		return no("the name is too long")
	}
	c, problem := parseChain(sent.CertBlob)
	if problem != "" {
		return no(problem)
	}
	k := s.keyBySHA1(c.sha1)
	if k == nil {
		return no("no matching private key was found: upload the key first")
	}
	c.name, c.key = sent.Name, k.pem
	return c, nil
}

// parseChain reads a certificate and its issuers. problem is empty when all is well.
func parseChain(text string) (c *certificate, problem string) {
	c = &certificate{}
	for rest := []byte(strings.TrimSpace(text)); len(rest) > 0; {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil || block.Type != "CERTIFICATE" {
			return nil, "the blob must be certificates in PEM and nothing else"
		}
		parsed, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, "the blob has a certificate that cannot be read"
		}
		c.chain = append(c.chain, parsed)
	}
	if len(c.chain) == 0 {
		return nil, "the blob must be certificates in PEM and nothing else"
	}
	for i := 1; i < len(c.chain); i++ {
		if c.chain[i-1].CheckSignatureFrom(c.chain[i]) != nil {
			return nil, "the certificates are not in order"
		}
	}
	if len(c.leaf().DNSNames) == 0 {
		return nil, "need at least one DNS name, got none"
	}
	c.sha1 = publicKeySHA1(c.leaf().PublicKey)
	return c, ""
}

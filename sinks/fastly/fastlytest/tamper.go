package fastlytest

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"slices"
)

// What a person, or another program with a token, could do to the account. None of
// it is counted as a request.

// Certificate is one of the account, as its owner would see it.
type Certificate struct {
	ID, Name, Serial string
	Domains          []string
}

// Certificates lists the custom certificates, oldest first.
func (s *Server) Certificates() []Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Certificate
	for _, c := range s.certificates {
		if !c.managed {
			all = append(all, Certificate{c.id, c.name, c.leaf().SerialNumber.String(), slices.Clone(c.domains())})
		}
	}
	return all
}

// Key is a private key of the account.
type Key struct{ ID, Name, SHA1 string }

// Keys lists the private keys, oldest first.
func (s *Server) Keys() []Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Key
	for _, k := range s.keys {
		all = append(all, Key{k.id, k.name, k.sha1})
	}
	return all
}

// Active returns the id of the certificate that serves a domain in a
// configuration, or "".
func (s *Server) Active(configuration, domain string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.at(configuration, domain); a != nil {
		return a.certificate
	}
	return ""
}

// Served is what the edge serves for a domain in a configuration: the chain and,
// where it was ever uploaded, its key. The real API shows neither.
func (s *Server) Served(configuration, domain string) (chainPEM, keyPEM []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.at(configuration, domain)
	if a == nil {
		return nil, nil
	}
	for _, c := range s.certificates {
		if c.id != a.certificate {
			continue
		}
		var chain bytes.Buffer
		for _, certificate := range c.chain {
			_ = pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
		}
		return chain.Bytes(), []byte(c.key)
	}
	return nil, nil
}

// AddKey uploads a key in PKCS#8.
func (s *Server) AddKey(name string, keyPEM []byte) (id string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, problem := parseKey(string(keyPEM))
	if problem != "" {
		return "", fmt.Errorf("fastlytest: %s", problem)
	}
	k.id, k.name, k.created = newID(), name, now()
	s.keys = append(s.keys, k)
	return k.id, nil
}

// RemoveKey deletes a key, whatever it is matched to.
func (s *Server) RemoveKey(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = slices.DeleteFunc(s.keys, func(k *key) bool { return k.id == id })
}

// AddCertificate uploads a chain, whether its key is there or not.
func (s *Server) AddCertificate(name string, chainPEM []byte) (id string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, problem := parseChain(string(chainPEM))
	if problem != "" {
		return "", fmt.Errorf("fastlytest: %s", problem)
	}
	c.id, c.name, c.created, c.updated = newID(), name, now(), now()
	s.certificates = append(s.certificates, c)
	return c.id, nil
}

// ReplaceCertificate puts another chain into a certificate and leaves its name.
func (s *Server) ReplaceCertificate(id string, chainPEM []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.certificate(id)
	c, problem := parseChain(string(chainPEM))
	if old == nil || problem != "" {
		return fmt.Errorf("fastlytest: certificate %s: %s", id, problem)
	}
	old.chain, old.sha1, old.key, old.updated = c.chain, c.sha1, "", now()
	return nil
}

// RenameCertificate gives a certificate another name.
func (s *Server) RenameCertificate(id, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.certificate(id); c != nil {
		c.name = name
	}
}

// RemoveCertificate deletes a certificate with its activations.
func (s *Server) RemoveCertificate(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.activations = slices.DeleteFunc(s.activations, func(a *activation) bool { return a.certificate == id })
	s.certificates = slices.DeleteFunc(s.certificates, func(c *certificate) bool { return c.id == id })
}

// Activate makes a certificate serve a domain in a configuration: the activation
// that is there is moved, or a new one made.
func (s *Server) Activate(configuration, domain, certificateID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.at(configuration, domain); a != nil {
		a.certificate = certificateID
		return
	}
	s.activations = append(s.activations, &activation{
		id: newID(), certificate: certificateID, configuration: configuration, domain: domain, created: now(),
	})
}

// Deactivate ends TLS for a domain in a configuration.
func (s *Server) Deactivate(configuration, domain string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.activations = slices.DeleteFunc(s.activations, func(a *activation) bool {
		return a.configuration == configuration && a.domain == domain
	})
}

// AddSubscription makes Fastly keep a certificate of its own for domains: chainPEM,
// which serves them in the configuration, or nil for one that is still pending.
func (s *Server) AddSubscription(configuration string, domains []string, chainPEM []byte) (id string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &subscription{
		id: newID(), configuration: configuration, domains: domains,
		state: "pending", authorization: newID(), created: now(),
	}
	if chainPEM != nil {
		c, problem := parseChain(string(chainPEM))
		if problem != "" {
			return "", fmt.Errorf("fastlytest: %s", problem)
		}
		c.id, c.managed = newID(), true
		s.certificates = append(s.certificates, c)
		p.state, p.certificates = "issued", []string{c.id}
		for _, domain := range domains {
			s.activations = append(s.activations, &activation{
				id: newID(), certificate: c.id, configuration: configuration, domain: domain, created: now(),
			})
		}
	}
	s.subscriptions = append(s.subscriptions, p)
	return p.id, nil
}

// RequireMutualTLS attaches a mutual authentication to an activation.
func (s *Server) RequireMutualTLS(configuration, domain string) (id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &mutualAuthentication{id: newID(), name: "clients", enforced: true, created: now(), updated: now()}
	s.mutual = append(s.mutual, m)
	if a := s.at(configuration, domain); a != nil {
		a.mutual = m.id
	}
	return m.id
}

// MutualTLS returns the id of the mutual authentication of an activation, or "".
func (s *Server) MutualTLS(configuration, domain string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.at(configuration, domain); a != nil {
		return a.mutual
	}
	return ""
}

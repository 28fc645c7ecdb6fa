package acmeserver

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"path"
	"slices"
	"time"

	"github.com/letsencrypt/pebble/v2/core"
)

// Request is one request that was answered.
type Request struct {
	Time                          time.Time
	Kind, Method, Path, UserAgent string
	Protocol                      string // HTTP/2.0
	Status                        int
}

// Order is one order that was made.
type Order struct {
	ID          string
	Time        time.Time // when it was made, before its client heard of it
	Account     string    // id of the account
	Names       []string  // sorted
	Profile     string
	Replaces    string            // ARI certificate id (RFC 9773), or empty
	Certificate *x509.Certificate // nil as long as none was issued
}

// order keeps Pebble's own object: what it knows changes under its lock.
type order struct {
	core *core.Order
	made Order
}

// Requests returns the requests answered so far.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Count counts the requests answered so far by kind.
func (s *Server) Count() map[string]int {
	counts := map[string]int{}
	for _, r := range s.Requests() {
		counts[r.Kind]++
	}
	return counts
}

// Orders returns the orders made so far, the oldest first.
func (s *Server) Orders() []Order {
	s.mu.Lock()
	defer s.mu.Unlock()
	var orders []Order
	for _, o := range s.orders {
		made := o.made
		made.Certificate = o.certificate()
		orders = append(orders, made)
	}
	return orders
}

// Certificates returns what was issued so far, fetched by a client or not, in
// the order of the orders.
func (s *Server) Certificates() []*x509.Certificate {
	var issued []*x509.Certificate
	for _, o := range s.Orders() {
		if o.Certificate != nil {
			issued = append(issued, o.Certificate)
		}
	}
	return issued
}

// CertificatesFor returns the certificates issued for just these names.
func (s *Server) CertificatesFor(names ...string) []*x509.Certificate {
	wanted := slices.Sorted(slices.Values(names))
	var issued []*x509.Certificate
	for _, certificate := range s.Certificates() {
		if slices.Equal(slices.Sorted(slices.Values(certificate.DNSNames)), wanted) {
			issued = append(issued, certificate)
		}
	}
	return issued
}

// RootPEM returns the root of a chain: 0 is the default, others alternates.
func (s *Server) RootPEM(chain int) []byte {
	root := s.ca.Load().GetRootCert(chain)
	if root == nil {
		return nil
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.DER})
}

// SetRenewalInfo sets the window in which ARI suggests that a certificate be
// renewed (RFC 9773). An explanation may be empty.
func (s *Server) SetRenewalInfo(certificate *x509.Certificate, start, end time.Time, explanationURL string) error {
	info := map[string]any{"suggestedWindow": map[string]time.Time{"start": start.UTC(), "end": end.UTC()}}
	if explanationURL != "" {
		info["explanationURL"] = explanationURL
	}
	text, err := json.Marshal(info)
	if err != nil {
		return err
	}
	return s.SetRenewalInfoText(certificate, string(text))
}

// SetRenewalInfoText sets what is answered for a certificate, nonsense too.
func (s *Server) SetRenewalInfoText(certificate *x509.Certificate, answer string) error {
	if err := s.db.SetARIResponse(certificate.SerialNumber, answer); err != nil {
		return fmt.Errorf("setting renewal information: %w", err)
	}
	return nil
}

func (s *Server) noteRequest(r Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r)
}

// noteOrder remembers an order just made, before its client hears of it.
func (s *Server) noteOrder(url string) {
	s.authorizing.RLock()
	o := s.db.GetOrderByID(path.Base(url))
	s.authorizing.RUnlock()
	if o == nil {
		return // the order was refused
	}
	o.RLock()
	defer o.RUnlock()
	made := Order{ID: o.ID, Time: time.Now(), Account: o.AccountID, Profile: o.Profile, Replaces: o.Replaces}
	names := map[string]bool{}
	for _, identifier := range o.Identifiers {
		names[identifier.Value] = true
	}
	made.Names = slices.Sorted(maps.Keys(names))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.orders = append(s.orders, &order{core: o, made: made})
}

// issued reports whether an order has its certificate.
func (s *Server) issued(id string) bool {
	for _, o := range s.Orders() {
		if o.ID == id {
			return o.Certificate != nil
		}
	}
	return true
}

func (o *order) certificate() *x509.Certificate {
	o.core.RLock()
	defer o.core.RUnlock()
	if o.core.CertificateObject == nil {
		return nil
	}
	return o.core.CertificateObject.Cert
}

package issuertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"time"

	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/calimits"
)

// Origin is where a Model says that it is.
const Origin = "https://ca.example.com"

// Model is an ACME CA without sockets (RFC 8555, and RFC 9773 for advice): an
// http.RoundTripper that an issuer is given in place of the network. It lives by a
// clock of its own, so that years pass in seconds, and has Pebble's paths. It is safe
// for concurrent use. The fields are set before the first request.
type Model struct {
	Now      func() time.Time
	DNS      *DNS              // asked for records
	Limits   *calimits.Limiter // in front of it
	Lifetime time.Duration     // of certificates; 90 days when 0
	// Window is when a certificate is to be renewed; Let's Encrypt's way when nil. A
	// window that ends before it starts is no advice at all: 404.
	Window func(leaf *x509.Certificate) (start, end time.Time)
	// RetryAfter is told with each advice; six hours when 0.
	RetryAfter time.Duration
	BadNonces  int // each so-manieth request is answered badNonce; none when 0

	mu        sync.Mutex
	intercept acmeserver.Interceptor
	cut       func(*http.Request) error

	authority *authority
	serial    int64
	nonces    map[string]bool
	signed    int
	accounts  map[string]*ecdsa.PublicKey // by URL
	orders    map[string]*order           // by id
	latest    map[string]*order           // by account and names
	authz     map[string]*authorization   // by id
	issued    map[string]*issuedLeaf      // by RFC 9773's id
	made      []acmeserver.Order
	asked     []time.Time
}

type order struct {
	id, account, profile, replaces string
	names                          []string
	authz                          []*authorization
	status                         string
	expires                        time.Time
	chain                          []byte // PEM
	place                          int    // in made
}

type authorization struct {
	id, account, token string
	name               string // without "*."
	wildcard           bool
	status             string
	problem            string
}

type issuedLeaf struct {
	leaf     *x509.Certificate
	account  string
	replaced bool
	revoked  bool
}

// Intercept asks f before each request from now on, as acmeserver's does.
func (m *Model) Intercept(f acmeserver.Interceptor) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.intercept = f
}

// Cut lets requests fail with the error that f returns, as a network does; those for
// which it is nil arrive.
func (m *Model) Cut(f func(*http.Request) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cut = f
}

// Orders are those made so far, the oldest first.
func (m *Model) Orders() []acmeserver.Order {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.made)
}

// Asked is when advice was asked for.
func (m *Model) Asked() []time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.asked)
}

// RoundTrip implements http.RoundTripper.
func (m *Model) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	cut, intercept := m.cut, m.intercept
	m.mu.Unlock()
	if cut != nil {
		if err := cut(r); err != nil {
			return nil, err
		}
	}
	request := r.Clone(r.Context())
	request.Host = r.URL.Host
	if request.Body == nil {
		request.Body = http.NoBody
	}
	var handler http.Handler = http.HandlerFunc(m.serve)
	if m.Limits != nil {
		handler = m.Limits.Handler(handler)
	}
	answer := httptest.NewRecorder()
	if intercept == nil || !intercept(answer, request) {
		handler.ServeHTTP(answer, request)
	}
	response := answer.Result()
	response.Request = r
	return response, nil
}

// authority is the key that certificates are signed with.
type authority struct {
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
}

func newAuthority(now time.Time) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Model CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(30, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	return &authority{key, certificate}, err
}

// issue signs a certificate for the names of an order. The caller holds the lock.
func (m *Model) issue(o *order, public any) (*x509.Certificate, error) {
	m.serial++
	begins := m.Now().UTC().Truncate(time.Second)
	template := &x509.Certificate{SerialNumber: big.NewInt(1_000_000 + m.serial), DNSNames: o.names, NotBefore: begins,
		NotAfter: begins.Add(m.lifetime()), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, m.authority.certificate, public, m.authority.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func (m *Model) lifetime() time.Duration {
	if m.Lifetime == 0 {
		return 90 * 24 * time.Hour
	}
	return m.Lifetime
}

// id names a certificate as RFC 9773, section 4.1, does.
func id(leaf *x509.Certificate) string {
	serial := leaf.SerialNumber.Bytes()
	if serial[0] >= 0x80 {
		serial = append([]byte{0}, serial...)
	}
	return base64.RawURLEncoding.EncodeToString(leaf.AuthorityKeyId) + "." + base64.RawURLEncoding.EncodeToString(serial)
}

// window is when Let's Encrypt wants a certificate to be renewed: about when a third of
// its lifetime is left; of less than ten days, the half.
func (m *Model) window(found *issuedLeaf) (start, end time.Time) {
	switch leaf := found.leaf; {
	case found.revoked:
		return leaf.NotBefore, leaf.NotBefore.Add(time.Minute)
	case m.Window != nil:
		return m.Window(leaf)
	default:
		lifetime := leaf.NotAfter.Sub(leaf.NotBefore)
		middle, half := leaf.NotBefore.Add(lifetime*2/3), lifetime/100
		if lifetime < 10*24*time.Hour {
			middle, half = leaf.NotBefore.Add(lifetime/2), lifetime*38/160
		}
		return middle.Add(-half), middle.Add(half)
	}
}

// next is a new name.
func (m *Model) next(prefix string) string {
	m.serial++
	return fmt.Sprint(prefix, m.serial)
}

// Package certs makes certificates for tests: a CA in memory that issues any
// chain one asks for, the bad ones too. It uses the standard library alone and
// knows nothing of package anycert, so that it can judge it.
package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// KeyType names a kind of private key as anycert's config does.
type KeyType string

// The kinds of keys that can be made. RSA keys cost up to a second each.
const (
	EC256   KeyType = "ec256"
	EC384   KeyType = "ec384"
	RSA1024 KeyType = "rsa1024" // too weak on purpose
	RSA2048 KeyType = "rsa2048"
	RSA3072 KeyType = "rsa3072"
	RSA4096 KeyType = "rsa4096"
)

// KeyFormat is how the private key is written in PEM.
type KeyFormat int

// PKCS8 fits every key, SEC1 is for EC keys, PKCS1 for RSA keys.
const (
	PKCS8 KeyFormat = iota
	SEC1
	PKCS1
)

// Options says what to issue. The zero value is a leaf for example.com with an
// EC P-256 key in PKCS#8, valid from an hour ago for 90 days, signed by the
// root itself.
type Options struct {
	Names        []string // DNS names or IP addresses
	NotBefore    time.Time
	NotAfter     time.Time
	KeyType      KeyType
	KeyFormat    KeyFormat
	Key          crypto.Signer // used instead of a new key of KeyType
	IsCA         bool          // basic constraints say CA:TRUE
	SelfSigned   bool          // signed by its own key, the CA unused
	Intermediate bool          // signed by an intermediate, which joins the chain
}

// Pair is a chain and the key of its leaf.
type Pair struct {
	ChainPEM []byte              // leaf first, the root left out
	KeyPEM   []byte              // in the format asked for
	Chain    []*x509.Certificate // what ChainPEM holds
	Key      crypto.Signer
}

// Leaf returns the first certificate of the chain.
func (p Pair) Leaf() *x509.Certificate { return p.Chain[0] }

// CA is a root and one intermediate below it. It may be used by several
// goroutines at once.
type CA struct {
	root, intermediate *issuer
}

type issuer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// NewCA makes a root with a P-256 key, valid from a year ago for twenty years.
func NewCA() (*CA, error) {
	root, err := newIssuer("anycert test root", nil)
	if err != nil {
		return nil, err
	}
	intermediate, err := newIssuer("anycert test intermediate", root)
	if err != nil {
		return nil, err
	}
	return &CA{root: root, intermediate: intermediate}, nil
}

// Issue makes what o asks for.
func (ca *CA) Issue(o Options) (Pair, error) {
	key := o.Key
	if key == nil {
		var err error
		if key, err = NewKey(o.KeyType); err != nil {
			return Pair{}, err
		}
	}
	signer := ca.root
	if o.Intermediate {
		signer = ca.intermediate
	}
	template := leafTemplate(o)
	if o.SelfSigned {
		signer = &issuer{cert: template, key: key}
	}
	leaf, err := sign(template, key, signer)
	if err != nil {
		return Pair{}, err
	}
	keyPEM, err := MarshalKey(key, o.KeyFormat)
	if err != nil {
		return Pair{}, err
	}
	chain := []*x509.Certificate{leaf}
	if o.Intermediate && !o.SelfSigned {
		chain = append(chain, ca.intermediate.cert)
	}
	return Pair{ChainPEM: ChainPEM(chain...), KeyPEM: keyPEM, Chain: chain, Key: key}, nil
}

// Root returns the root's certificate.
func (ca *CA) Root() *x509.Certificate { return ca.root.cert }

// PEM returns the root's certificate as a bundle to trust.
func (ca *CA) PEM() []byte { return ChainPEM(ca.root.cert) }

// Pool returns a pool that trusts the root.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.root.cert)
	return pool
}

// NewKey makes a private key; the empty type is EC256.
func NewKey(t KeyType) (crypto.Signer, error) {
	switch t {
	case EC256, "":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case EC384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case RSA1024:
		return rsa.GenerateKey(rand.Reader, 1024)
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case RSA3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	case RSA4096:
		return rsa.GenerateKey(rand.Reader, 4096)
	}
	return nil, fmt.Errorf("certs: no key type %q", t)
}

// MarshalKey writes a private key as one PEM block.
func MarshalKey(key crypto.Signer, format KeyFormat) ([]byte, error) {
	var block pem.Block
	var err error
	switch format {
	case PKCS8:
		block.Type = "PRIVATE KEY"
		block.Bytes, err = x509.MarshalPKCS8PrivateKey(key)
	case SEC1:
		ec, ok := key.(*ecdsa.PrivateKey)
		if !ok {
			return nil, fmt.Errorf("certs: SEC 1 cannot hold a %T", key)
		}
		block.Type = "EC PRIVATE KEY"
		block.Bytes, err = x509.MarshalECPrivateKey(ec)
	case PKCS1:
		rsaKey, ok := key.(*rsa.PrivateKey)
		if !ok {
			return nil, fmt.Errorf("certs: PKCS#1 cannot hold a %T", key)
		}
		block.Type = "RSA PRIVATE KEY"
		block.Bytes = x509.MarshalPKCS1PrivateKey(rsaKey)
	default:
		return nil, fmt.Errorf("certs: no key format %d", format)
	}
	if err != nil {
		return nil, fmt.Errorf("certs: writing a key: %w", err)
	}
	return pem.EncodeToMemory(&block), nil
}

// ChainPEM writes certificates in the order given.
func ChainPEM(chain ...*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range chain {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return b.Bytes()
}

func leafTemplate(o Options) *x509.Certificate {
	if len(o.Names) == 0 {
		o.Names = []string{"example.com"}
	}
	notBefore, notAfter := o.NotBefore, o.NotAfter
	if notBefore.IsZero() {
		notBefore = time.Now().Add(-time.Hour)
	}
	if notAfter.IsZero() {
		notAfter = notBefore.Add(90 * 24 * time.Hour)
	}
	t := &x509.Certificate{
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  o.IsCA,
	}
	if o.IsCA {
		t.KeyUsage |= x509.KeyUsageCertSign
	}
	// A common name ends at 64 characters (RFC 5280, ub-common-name).
	if len(o.Names[0]) <= 64 {
		t.Subject = pkix.Name{CommonName: o.Names[0]}
	}
	for _, name := range o.Names {
		if ip := net.ParseIP(name); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, name)
		}
	}
	return t
}

// newIssuer makes a CA certificate signed by parent, or by itself.
func newIssuer(name string, parent *issuer) (*issuer, error) {
	key, err := NewKey(EC256)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.AddDate(-1, 0, 0),
		NotAfter:              now.AddDate(19, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	if parent == nil {
		parent = &issuer{cert: template, key: key}
	}
	cert, err := sign(template, key, parent)
	if err != nil {
		return nil, err
	}
	return &issuer{cert: cert, key: key}, nil
}

func sign(template *x509.Certificate, key interface{ Public() crypto.PublicKey }, by *issuer) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("certs: making a serial number: %w", err)
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, key.Public(), by.key)
	if err != nil {
		return nil, fmt.Errorf("certs: signing a certificate for %v: %w", template.DNSNames, err)
	}
	return x509.ParseCertificate(der)
}

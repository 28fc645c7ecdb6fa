package anycert

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
)

// Bounds on what is parsed. A chain of three RSA-4096 certificates is about 6 KiB.
const (
	MaxCertificatePEM = 128 << 10 // bytes of the PEM text of a chain
	MaxKeyPEM         = 16 << 10  // bytes of the PEM text of a key
	MaxChain          = 10        // certificates in a chain
	MaxIssuerRSA      = 8192      // bits of an issuer's RSA key, as in crypto/tls: the work grows with the square
)

// Bundle is one certificate chain and its private key, checked to belong
// together. It is immutable, knows no name and no version, and never prints its
// key: every printer sees the digest alone.
type Bundle struct {
	chain []*x509.Certificate
	key   Secret // PKCS#8, PEM
}

// ParseBundle reads a chain (leaf first, each certificate signed by the next) and
// the leaf's key (PKCS#8, SEC1 or PKCS#1; P-256, P-384 or RSA of 2048 to 4096
// bits). Text around the PEM blocks is ignored (RFC 7468, section 5.2); anything
// else that is not what it should be is an error that wraps ErrMalformed and shows
// no key material. Whether the certificate may be served, Check tells.
func ParseBundle(certificatePEM, keyPEM []byte) (*Bundle, error) {
	chain, err := ParseChain(certificatePEM)
	if err != nil {
		return nil, err
	}
	key, err := ParseKey(keyPEM)
	if err != nil {
		return nil, err
	}
	return NewBundle(chain, key)
}

// NewBundle pairs a parsed chain with its key, under the promises of ParseBundle.
func NewBundle(chain []*x509.Certificate, key crypto.Signer) (*Bundle, error) {
	if err := checkChain(chain); err != nil {
		return nil, err
	}
	if _, err := KeyTypeOf(key.Public()); err != nil {
		return nil, malformed("private key: %w", err)
	}
	leafKey, ok := chain[0].PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !leafKey.Equal(key.Public()) {
		return nil, malformed("the private key does not belong to the certificate: use the key that the certificate was requested with")
	}
	text, err := MarshalKey(key)
	if err != nil {
		return nil, err
	}
	return &Bundle{chain: slices.Clone(chain), key: text}, nil
}

// ParseChain reads a certificate chain from PEM, under the promises of ParseBundle.
func ParseChain(certificatePEM []byte) ([]*x509.Certificate, error) {
	if len(certificatePEM) > MaxCertificatePEM {
		return nil, malformed("the certificate chain has %d bytes, %d are allowed", len(certificatePEM), MaxCertificatePEM)
	}
	var chain []*x509.Certificate
	for rest := certificatePEM; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, malformed("the certificate chain holds a PEM block of type %q: only CERTIFICATE blocks belong there", shorten(block.Type))
		}
		if len(chain) == MaxChain {
			return nil, malformed("the certificate chain has more than %d certificates", MaxChain)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, malformed("certificate %d of the chain: %w", len(chain)+1, err)
		}
		chain = append(chain, certificate)
	}
	if begun := begun(certificatePEM); begun > len(chain) {
		return nil, malformed("the certificate chain has %d PEM blocks, of which %d can be read: one is damaged or cut off", begun, len(chain))
	}
	return chain, checkChain(chain)
}

// begun counts the PEM blocks that a text begins. To pem.Decode a damaged one is text
// around the others, and a chain without its middle would be served.
func begun(text []byte) int {
	n := bytes.Count(text, []byte("\n-----BEGIN "))
	if bytes.HasPrefix(text, []byte("-----BEGIN ")) {
		n++
	}
	return n
}

// checkChain holds a chain to its order.
func checkChain(chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return malformed("no certificate found: expected PEM blocks of type CERTIFICATE, the leaf first")
	}
	if len(chain) > MaxChain {
		return malformed("the certificate chain has more than %d certificates", MaxChain)
	}
	if _, err := KeyTypeOf(chain[0].PublicKey); err != nil {
		return malformed("certificate: %w", err)
	}
	for i := 1; i < len(chain); i++ {
		if key, ok := chain[i].PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > MaxIssuerRSA {
			return malformed("certificate %d of the chain has an RSA key of %d bits, %d are allowed", i+1, key.N.BitLen(), MaxIssuerRSA)
		}
		if err := chain[i-1].CheckSignatureFrom(chain[i]); err != nil {
			return malformed("certificate %d of the chain did not sign certificate %d (%w): put the leaf first, then each issuer", i+1, i, err)
		}
	}
	return nil
}

// Leaf is the certificate itself. It must not be changed.
func (b *Bundle) Leaf() *x509.Certificate { return b.chain[0] }

// Digest identifies the whole chain.
func (b *Bundle) Digest() Digest { return DigestOf(b.chain) }

// FullChainPEM is the leaf and its issuers.
func (b *Bundle) FullChainPEM() []byte { return encode(b.chain) }

// LeafPEM is the leaf alone.
func (b *Bundle) LeafPEM() []byte { return encode(b.chain[:1]) }

// IssuersPEM is the chain without its leaf; empty for a self-signed certificate.
func (b *Bundle) IssuersPEM() []byte { return encode(b.chain[1:]) }

// Chain is a copy of the chain, leaf first.
func (b *Bundle) Chain() []*x509.Certificate { return slices.Clone(b.chain) }

// KeyPEM is the private key as PKCS#8 in PEM.
func (b *Bundle) KeyPEM() Secret { return b.key }

// Signer is the private key, ready for use.
func (b *Bundle) Signer() crypto.Signer {
	key, err := ParseKey([]byte(b.key.Reveal()))
	if err != nil { // the text was made by NewBundle
		panic("anycert: a bundle's own key does not parse")
	}
	return key
}

// String shows the digest and nothing else.
func (b *Bundle) String() string { return "bundle " + b.Digest().String() }

func encode(chain []*x509.Certificate) []byte {
	var out bytes.Buffer
	for _, certificate := range chain {
		_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
	}
	return out.Bytes()
}

// Digest is SHA-256 over the DER of a whole chain, leaf first. The zero value
// means that it is not known.
type Digest [sha256.Size]byte

// DigestOf is the digest of chain.
func DigestOf(chain []*x509.Certificate) Digest {
	sum := sha256.New()
	for _, certificate := range chain {
		sum.Write(certificate.Raw)
	}
	return Digest(sum.Sum(nil))
}

// ParseDigest reads what String wrote.
func ParseDigest(text string) (Digest, error) {
	raw, err := hex.DecodeString(strings.TrimPrefix(text, "sha256:"))
	if err != nil || len(raw) != sha256.Size || !strings.HasPrefix(text, "sha256:") {
		return Digest{}, malformed("%q is not a digest: expected sha256: and 64 hexadecimal digits", shorten(text))
	}
	return Digest(raw), nil
}

// IsZero reports whether the digest is not known.
func (d Digest) IsZero() bool { return d == Digest{} }

// Hex is the digest in 64 hexadecimal digits, as file names use it.
func (d Digest) Hex() string { return hex.EncodeToString(d[:]) }

// String is "sha256:" and Hex, or "" for the zero value.
func (d Digest) String() string {
	if d.IsZero() {
		return ""
	}
	return "sha256:" + d.Hex()
}

// MarshalText and UnmarshalText make a digest readable in JSON.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

func (d *Digest) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*d = Digest{}
		return nil
	}
	*d, err = ParseDigest(string(text))
	return err
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}

func shorten(text string) string {
	if len(text) > 40 {
		return text[:40] + "…"
	}
	return text
}

package anycert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
)

// KeyType is the kind of a certificate's key.
type KeyType string

// The kinds that every sink takes, except where its page says less.
const (
	EC256   KeyType = "ec256"
	EC384   KeyType = "ec384"
	RSA2048 KeyType = "rsa2048"
	RSA3072 KeyType = "rsa3072"
	RSA4096 KeyType = "rsa4096"
)

// KeyTypes lists them, the default first.
func KeyTypes() []KeyType { return []KeyType{EC256, EC384, RSA2048, RSA3072, RSA4096} }

// Generate makes a new key.
func (t KeyType) Generate() (crypto.Signer, error) {
	switch t {
	case EC256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case EC384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case RSA3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	case RSA4096:
		return rsa.GenerateKey(rand.Reader, 4096)
	}
	return nil, fmt.Errorf("unknown key type %q: use one of %v", t, KeyTypes())
}

// KeyTypeOf names the kind of a public key. RSA keys between the named sizes are
// accepted and rounded down; every other kind is an error.
func KeyTypeOf(public crypto.PublicKey) (KeyType, error) {
	switch key := public.(type) {
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256():
			return EC256, nil
		case elliptic.P384():
			return EC384, nil
		}
		return "", fmt.Errorf("elliptic curve %s is not supported: use P-256 or P-384", key.Curve.Params().Name)
	case *rsa.PublicKey:
		switch bits := key.N.BitLen(); {
		case bits < 2048 || bits > 4096:
			return "", fmt.Errorf("an RSA key of %d bits is not supported: use 2048 to 4096", bits)
		case bits == 4096:
			return RSA4096, nil
		case bits >= 3072:
			return RSA3072, nil
		}
		return RSA2048, nil
	}
	return "", fmt.Errorf("keys of type %T are not supported: use P-256, P-384 or RSA", public)
}

// SPKI is SHA-256 over a public key's SubjectPublicKeyInfo (RFC 5280, section
// 4.1.2.7). It tells whether a key belongs to a certificate, and shows neither.
// The zero value means that it is not known.
type SPKI [sha256.Size]byte

// SPKIOf hashes a certificate's public key.
func SPKIOf(certificate *x509.Certificate) SPKI {
	return sha256.Sum256(certificate.RawSubjectPublicKeyInfo)
}

// SPKIOfKey hashes the public half of a private key in PEM. A sink calls it to
// tell which key lies at a target; the error shows nothing of the key.
func SPKIOfKey(keyPEM []byte) (SPKI, error) {
	key, err := ParseKey(keyPEM)
	if err != nil {
		return SPKI{}, err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return SPKI{}, malformed("private key: its public half cannot be encoded")
	}
	return sha256.Sum256(der), nil
}

// MarshalKey writes a key as PKCS#8 in PEM.
func MarshalKey(key crypto.Signer) (Secret, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Secret{}, malformed("the private key cannot be written as PKCS#8")
	}
	return NewSecret(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))), nil
}

// ParseKey reads exactly one private key from PEM, under the promises of
// ParseBundle. What x509 says of bad input is left out of the errors: it may quote
// what it read.
func ParseKey(keyPEM []byte) (crypto.Signer, error) {
	if len(keyPEM) > MaxKeyPEM {
		return nil, malformed("the private key has %d bytes, %d are allowed", len(keyPEM), MaxKeyPEM)
	}
	var found crypto.Signer
	for rest := keyPEM; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type == "EC PARAMETERS" { // openssl ecparam writes them before the key
			continue
		}
		if found != nil {
			return nil, malformed("private key: more than one PEM block: exactly one key belongs there")
		}
		key, err := parseKeyBlock(block)
		if err != nil {
			return nil, err
		}
		found = key
	}
	if found == nil {
		return nil, malformed("private key: no PEM block found: expected PRIVATE KEY")
	}
	if _, err := KeyTypeOf(found.Public()); err != nil {
		return nil, malformed("private key: %w", err)
	}
	return found, nil
}

func parseKeyBlock(block *pem.Block) (crypto.Signer, error) {
	var key any
	var err error
	switch {
	case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
		return nil, malformed("private key: it is encrypted: decrypt it first (openssl pkey -in FILE)")
	case block.Type == "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case block.Type == "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case block.Type == "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return nil, malformed("private key: a PEM block that is no private key")
	}
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil, malformed("private key: the PEM block %s does not parse", block.Type)
	}
	return signer, nil
}

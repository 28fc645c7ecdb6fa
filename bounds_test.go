package anycert_test

import (
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert"
)

// A certificate of 85 KB took six seconds to look at: the issuer's RSA key had
// 250,000 bits. Whoever may write into one Secret could stop a sink with it.
func TestIssuerWithAHugeKey(t *testing.T) {
	root := issue(t, ecKey(t, elliptic.P256()), nil, ca)
	for bits, says := range map[int]string{
		anycert.MaxIssuerRSA:     "did not sign", // it was tried
		anycert.MaxIssuerRSA + 8: "certificate 2 of the chain has an RSA key of 8200 bits, 8192 are allowed",
		250_000:                  "certificate 2 of the chain has an RSA key of 250000 bits",
	} {
		modulus := new(big.Int).SetBit(big.NewInt(1), bits-1, 1)
		huge := issueTo(t, &rsa.PublicKey{N: modulus, E: 1<<31 - 1}, root)
		leaf := issue(t, ecKey(t, elliptic.P256()), &root, nil)
		begin := time.Now()
		_, err := anycert.ParseChain(append(certPEM(leaf), block("CERTIFICATE", huge.Raw)...))
		if !errors.Is(err, anycert.ErrMalformed) || !strings.Contains(err.Error(), says) {
			t.Errorf("%d bits: %v, want %q", bits, err, says)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("%d bits: it took %s", bits, took)
		}
	}
}

// issueTo makes a CA certificate for a key that nobody has.
func issueTo(t *testing.T, key *rsa.PublicKey, root pair) *x509.Certificate {
	t.Helper()
	template := *root.certificate
	der, err := x509.CreateCertificate(rand.Reader, &template, root.certificate, key, root.key)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

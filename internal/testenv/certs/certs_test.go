package certs

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"
)

func TestIssue(t *testing.T) {
	ca, err := NewCA()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		options Options
		length  int
		block   string
		trusted bool
	}{
		{"defaults", Options{}, 1, "PRIVATE KEY", true},
		{"intermediate", Options{Names: []string{"*.example.com", "example.com"}, Intermediate: true}, 2, "PRIVATE KEY", true},
		{"SEC 1", Options{KeyType: EC384, KeyFormat: SEC1}, 1, "EC PRIVATE KEY", true},
		{"PKCS#1", Options{KeyType: RSA2048, KeyFormat: PKCS1}, 1, "RSA PRIVATE KEY", true},
		{"self-signed", Options{SelfSigned: true, NotAfter: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)}, 1, "PRIVATE KEY", false},
		{"expired", Options{NotBefore: time.Now().AddDate(-1, 0, 0)}, 1, "PRIVATE KEY", false},
		{"CA", Options{IsCA: true}, 1, "PRIVATE KEY", true},
		{"weak", Options{KeyType: RSA1024}, 1, "PRIVATE KEY", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			pair, err := ca.Issue(test.options)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tls.X509KeyPair(pair.ChainPEM, pair.KeyPEM); err != nil {
				t.Errorf("the pair does not belong together: %v", err)
			}
			if len(pair.Chain) != test.length {
				t.Errorf("the chain has %d certificates, want %d", len(pair.Chain), test.length)
			}
			if block, _ := pem.Decode(pair.KeyPEM); block.Type != test.block {
				t.Errorf("the key is a %q, want %q", block.Type, test.block)
			}
			if pair.Leaf().IsCA != test.options.IsCA {
				t.Errorf("CA is %t, want %t", pair.Leaf().IsCA, test.options.IsCA)
			}
			if got := verify(ca, pair) == nil; got != test.trusted {
				t.Errorf("trusted is %t, want %t: %v", got, test.trusted, verify(ca, pair))
			}
		})
	}
}

func verify(ca *CA, pair Pair) error {
	intermediates := x509.NewCertPool()
	for _, c := range pair.Chain[1:] {
		intermediates.AddCert(c)
	}
	_, err := pair.Leaf().Verify(x509.VerifyOptions{Roots: ca.Pool(), Intermediates: intermediates})
	return err
}

func TestIssueRefuses(t *testing.T) {
	ca, err := NewCA()
	if err != nil {
		t.Fatal(err)
	}
	for name, options := range map[string]Options{
		"an unknown key type":   {KeyType: "dsa"},
		"an RSA key in SEC 1":   {KeyType: RSA2048, KeyFormat: SEC1},
		"an EC key in PKCS#1":   {KeyFormat: PKCS1},
		"an unknown key format": {KeyFormat: 9},
	} {
		if _, err := ca.Issue(options); err == nil {
			t.Errorf("%s was issued", name)
		}
	}
}

package attacks

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
)

// entries are bad certificates in Vault, written by somebody who may.
func entries() []attack {
	day := 24 * time.Hour
	const kept = "; what is served stays"
	return []attack{
		{"pair-mismatched", "the key in Vault belongs to another certificate", "exit 1: `the private key does not belong to the certificate`" + kept, replaced(func(s *scene) {
			other := testenv.IssueFrom(s.T, s.Strangers, certs.Options{})
			s.plant("example", testenv.IssueFrom(s.T, s.Strangers, certs.Options{}).ChainPEM, other.KeyPEM)
		}, "the private key does not belong to the certificate")},
		{"pair-expired", "the certificate in Vault has expired", "exit 1: `it expired at`" + kept, replaced(func(s *scene) {
			s.issued("example", certs.Options{NotBefore: time.Now().Add(-9 * day), NotAfter: time.Now().Add(-day)})
		}, "it expired at")},
		{"pair-others", "it is for `bank.example.org`", "exit 1: `it does not cover example.com`" + kept, replaced(func(s *scene) {
			s.issued("example", certs.Options{Names: []string{"bank.example.org"}})
		}, "it does not cover example.com")},
		{"pair-ca", "it is a CA (CA:TRUE), with which its holder could sign for any name", "exit 1: `it is a CA certificate (CA:TRUE)`" + kept, replaced(func(s *scene) {
			s.issued("example", certs.Options{IsCA: true})
		}, "it is a CA certificate (CA:TRUE)")},
		{"pair-weak", "its key is RSA of 1024 bits", "exit 1: `an RSA key of 1024 bits is not supported`" + kept, replaced(func(s *scene) {
			s.issued("example", certs.Options{KeyType: certs.RSA1024})
		}, "an RSA key of 1024 bits is not supported")},
		{"pair-text", "it is no certificate, but a script with escape codes", "exit 1: `no certificate found`" + kept + quiet, func(s *scene) string {
			return replaced(func(s *scene) { s.plant("example", []byte("\x1b]0;x\a$(reboot)\n"), []byte("\x1b[2J")) }, "no certificate found")(s) +
				escapes(s.Run(s.Path("config.yaml"), "status"))
		}},
		{"chain-long", "a chain of a thousand certificates", "exit 1: `the certificate chain has`" + kept, replaced(func(s *scene) {
			pair := testenv.IssueFrom(s.T, s.Strangers, certs.Options{Intermediate: true})
			s.plant("example", append(pair.ChainPEM, bytes.Repeat(s.Strangers.PEM(), 1000)...), pair.KeyPEM)
		}, "the certificate chain has")},
		{"chain-costly", "a certificate whose issuer has an RSA key of 250,000 bits: six seconds of work for each look", "exit 1: `an RSA key of 250000 bits, 8192 are allowed`" + kept, replaced(func(s *scene) {
			certificate, key := costly(s)
			s.plant("example", certificate, key)
		}, "an RSA key of 250000 bits, 8192 are allowed")},
		{"subject-ansi", "a certificate whose subject and issuer hold escape codes and line ends, served in the place of ours", "exit 2: `another certificate is there`" + quiet, func(s *scene) string {
			s.issued("example", certs.Options{})
			path := s.config(toFiles)
			s.Kept(s.Report(0, path, "sync"))
			s.replaceServed(forged(s, "\x1b[2J\n1 promise: 1 kept\r"))
			r := s.Run(path, "audit")
			return told(r, "another certificate is there") + escapes(r)
		}},
		{"metadata-forged", "somebody who may write the entry's metadata alone says there that it is another certificate", "exit 1: `spoke of another certificate than its data; it was mended`" + kept, replaced(func(s *scene) {
			other := testenv.IssueFrom(s.T, s.Strangers, certs.Options{})
			s.issued("example", certs.Options{})
			digest, leaf := sha256.Sum256(other.Leaf().Raw), base64.StdEncoding.EncodeToString(other.Leaf().Raw)
			_, err := s.Vault.Client().Logical().JSONMergePatch(s.T.Context(), "secret/metadata/"+s.id+"/certs/example", map[string]any{"custom_metadata": map[string]any{
				"anycert-schema": "1", "anycert-version": "2", "anycert-digest": fmt.Sprintf("sha256:%x", digest), "anycert-leaf-00": leaf[:512], "anycert-leaf-01": leaf[512:]}})
			s.Must(err)
		}, "spoke of another certificate than its data; it was mended")},
		{"undeclared", "somebody with access to Vault writes `bank`, for bank.example; the sinks hold `[\"*\"]`", "exit 0: `bank`; it is pushed nowhere", func(s *scene) string {
			s.issued("example", certs.Options{})
			s.issued("bank", certs.Options{Names: []string{"bank.example"}})
			path := s.config(toFiles)
			s.Kept(s.Report(0, path, "sync"))
			seen := "; it is pushed nowhere"
			for _, file := range s.files(s.Files) {
				if bytes.Contains([]byte(file), []byte("bank")) {
					seen = "; pushed: " + file
				}
			}
			return told(s.Run(path, "audit"), "bank") + seen
		}},
	}
}

// replaced fills a directory, lets somebody change the entry, and tells what a sync
// says and whether the directory is what it was.
func replaced(change func(s *scene), word string) func(s *scene) string {
	return func(s *scene) string {
		s.issued("example", certs.Options{})
		path := s.config(toFiles)
		s.Kept(s.Report(0, path, "sync"))
		before := s.served()
		change(s)
		r, late := s.idle(4*time.Second, s.Command(path, "sync"))
		if s.served() != before {
			return told(r, word) + "; what is served was changed" + late
		}
		return told(r, word) + "; what is served stays" + late
	}
}

// costly is a pair whose chain would take seconds to verify: the leaf is signed, or
// says so, by an issuer whose RSA key is enormous.
func costly(s *scene) (certificate, key []byte) {
	const bits = 250_000
	signer, err := rsa.GenerateKey(rand.Reader, 2048)
	s.Must(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	modulus := new(big.Int).SetBit(new(big.Int).SetBit(new(big.Int), bits-1, 1), 0, 1)
	issuer, err := x509.CreateCertificate(rand.Reader, template, template, &rsa.PublicKey{N: modulus, E: 1<<31 - 1}, signer)
	s.Must(err)
	pair := testenv.IssueFrom(s.T, s.Strangers, certs.Options{})
	leaf, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: template.NotBefore,
		NotAfter: template.NotAfter, DNSNames: []string{"example.com"}}, template, pair.Key.Public(), signer)
	s.Must(err)
	var parts struct {
		Signed    asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	_, err = asn1.Unmarshal(leaf, &parts)
	s.Must(err)
	signature := bytes.Repeat([]byte{0x55}, bits/8)
	parts.Signature = asn1.BitString{Bytes: signature, BitLength: bits}
	leaf, err = asn1.Marshal(parts)
	s.Must(err)
	block := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }
	return append(block(leaf), block(issuer)...), pair.KeyPEM
}

// forged is a self-signed certificate whose names hold a text.
func forged(s *scene, text string) []byte {
	key, err := certs.NewKey("")
	s.Must(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: text, Organization: []string{text}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"example.com"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	s.Must(err)
	leaf, err := x509.ParseCertificate(der)
	s.Must(err)
	return certs.ChainPEM(leaf)
}

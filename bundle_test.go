package anycert_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert"
)

// pair is a certificate with its key, made for a test.
type pair struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// issue makes a certificate signed by parent, or by itself.
func issue(t *testing.T, key crypto.Signer, parent *pair, change func(*x509.Certificate)) pair {
	t.Helper()
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "test " + serial.String()},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(90 * 24 * time.Hour),
		DNSNames:     []string{"example.com", "*.example.com"},
	}
	if change != nil {
		change(template)
	}
	signer := &pair{template, key}
	if parent != nil {
		signer = parent
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer.certificate, key.Public(), signer.key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return pair{certificate, key}
}

func ca(template *x509.Certificate) {
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign
	template.DNSNames = nil
}

func ecKey(t *testing.T, curve elliptic.Curve) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func pkcs8(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return block("PRIVATE KEY", der)
}

func certPEM(pairs ...pair) []byte {
	var out []byte
	for _, p := range pairs {
		out = append(out, block("CERTIFICATE", p.certificate.Raw)...)
	}
	return out
}

func TestBundleReadsEveryKeyForm(t *testing.T) {
	p256 := ecKey(t, elliptic.P256())
	sec1, _ := x509.MarshalECPrivateKey(p256.(*ecdsa.PrivateKey))
	rsa2048, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		key     crypto.Signer
		keyPEM  []byte
		keyType anycert.KeyType
	}{
		"PKCS#8 P-256":              {p256, pkcs8(t, p256), anycert.EC256},
		"SEC1 P-256":                {p256, block("EC PRIVATE KEY", sec1), anycert.EC256},
		"SEC1 after its parameters": {p256, append(block("EC PARAMETERS", []byte{6, 1, 1}), block("EC PRIVATE KEY", sec1)...), anycert.EC256},
		"text around the block":     {p256, append([]byte("Bag Attributes\n  localKeyID: 01\n"), pkcs8(t, p256)...), anycert.EC256},
		"PKCS#1 RSA":                {rsa2048, block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsa2048)), anycert.RSA2048},
		"PKCS#8 RSA":                {rsa2048, pkcs8(t, rsa2048), anycert.RSA2048},
	} {
		t.Run(name, func(t *testing.T) {
			root := issue(t, ecKey(t, elliptic.P384()), nil, ca)
			leaf := issue(t, test.key, &root, nil)
			bundle, err := anycert.ParseBundle(certPEM(leaf, root), test.keyPEM)
			if err != nil {
				t.Fatal(err)
			}
			if got := bundle.KeyPEM().Reveal(); got != string(pkcs8(t, test.key)) {
				t.Error("the key is not written as PKCS#8")
			}
			if !bytes.Equal(bundle.FullChainPEM(), append(bundle.LeafPEM(), bundle.IssuersPEM()...)) || len(bundle.Chain()) != 2 {
				t.Error("the chain is not the leaf and its issuers")
			}
			if got, _ := anycert.KeyTypeOf(bundle.Leaf().PublicKey); got != test.keyType {
				t.Errorf("key type %s, want %s", got, test.keyType)
			}
			spki, err := anycert.SPKIOfKey(test.keyPEM)
			if err != nil || spki != anycert.SPKIOf(bundle.Leaf()) {
				t.Errorf("the key's SPKI hash is not the certificate's (%v)", err)
			}
			again, err := anycert.ParseBundle(bundle.FullChainPEM(), []byte(bundle.KeyPEM().Reveal()))
			if err != nil || again.Digest() != bundle.Digest() {
				t.Errorf("what was written does not read back: %v", err)
			}
		})
	}
}

func TestBundleRefuses(t *testing.T) {
	key := ecKey(t, elliptic.P256())
	root := issue(t, ecKey(t, elliptic.P256()), nil, ca)
	other := issue(t, ecKey(t, elliptic.P256()), nil, ca)
	leaf := issue(t, key, &root, nil)
	good := certPEM(leaf, root)
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		chain, key []byte
		want       string
	}{
		"no certificate":         {nil, pkcs8(t, key), "no certificate found"},
		"no key":                 {good, nil, "no PEM block found"},
		"wrong order":            {certPEM(root, leaf), pkcs8(t, key), "put the leaf first"},
		"foreign issuer":         {certPEM(leaf, other), pkcs8(t, key), "put the leaf first"},
		"leaf twice":             {certPEM(leaf, leaf), pkcs8(t, key), "put the leaf first"},
		"another key":            {good, pkcs8(t, ecKey(t, elliptic.P256())), "does not belong to the certificate"},
		"a key in the chain":     {append(certPEM(leaf), pkcs8(t, key)...), pkcs8(t, key), "only CERTIFICATE blocks"},
		"two keys":               {good, append(pkcs8(t, key), pkcs8(t, key)...), "more than one PEM block"},
		"a certificate as key":   {good, certPEM(leaf), "no private key"},
		"encrypted key":          {good, block("ENCRYPTED PRIVATE KEY", []byte{1}), "openssl pkey"},
		"P-521":                  {good, pkcs8(t, ecKey(t, elliptic.P521())), "use P-256 or P-384"},
		"Ed25519":                {good, pkcs8(t, edKey), "not supported"},
		"RSA of 1024 bits":       {good, pkcs8(t, small), "use 2048 to 4096"},
		"garbage in a block":     {block("CERTIFICATE", []byte("garbage")), pkcs8(t, key), "certificate 1 of the chain"},
		"garbage in a key":       {good, block("PRIVATE KEY", []byte("garbage")), "does not parse"},
		"50 MB":                  {bytes.Repeat([]byte("a"), 50<<20), pkcs8(t, key), "bytes"},
		"50 MB of key":           {good, bytes.Repeat([]byte("a"), 50<<20), "bytes"},
		"a chain of a thousand":  {bytes.Repeat(block("CERTIFICATE", leaf.certificate.Raw), 1000), pkcs8(t, key), "bytes"},
		"one certificate above":  {bytes.Repeat(block("CERTIFICATE", leaf.certificate.Raw), anycert.MaxChain+1), pkcs8(t, key), "more than 10 certificates"},
		"control characters too": {block("CERTIFICATE\x1b[31m", leaf.certificate.Raw), pkcs8(t, key), `type "CERTIFICATE\x1b[31m"`},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			bundle, err := anycert.ParseBundle(test.chain, test.key)
			if bundle != nil || !errors.Is(err, anycert.ErrMalformed) || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, %v; want ErrMalformed that says %q", bundle, err, test.want)
			}
			if len(err.Error()) > 400 {
				t.Errorf("the error is %d bytes long", len(err.Error()))
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("refusing took %v", took)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	key := ecKey(t, elliptic.P256())
	now := time.Now()
	for name, test := range map[string]struct {
		change  func(*x509.Certificate)
		domains []string
		want    string // empty: fit
	}{
		"fit":                     {nil, []string{"example.com", "*.example.com", "www.example.com"}, ""},
		"fit for any use":         {func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }, nil, ""},
		"expired":                 {func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Second) }, nil, "expired"},
		"not yet valid":           {func(c *x509.Certificate) { c.NotBefore = now.Add(time.Hour) }, nil, "not valid before"},
		"a CA":                    {ca, nil, "CA:TRUE"},
		"for clients only":        {func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, nil, "extended key usage"},
		"another name":            {nil, []string{"example.org"}, "does not cover example.org"},
		"two labels below":        {nil, []string{"a.b.example.com"}, "does not cover"},
		"wildcard not for itself": {func(c *x509.Certificate) { c.DNSNames = []string{"*.example.com"} }, []string{"example.com"}, "does not cover"},
		"a host is no wildcard":   {func(c *x509.Certificate) { c.DNSNames = []string{"*.com"} }, []string{"*.example.com"}, "does not cover"},
	} {
		t.Run(name, func(t *testing.T) {
			err := anycert.Check(issue(t, key, nil, test.change).certificate, test.domains, now)
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if !errors.Is(err, anycert.ErrUnfit) || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want ErrUnfit that says %q", err, test.want)
			}
		})
	}
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"example": true, "a": true, "a-1": true, strings.Repeat("a", 63): true,
		"": false, strings.Repeat("a", 64): false, "../up": false, "a/b": false, "A": false,
		"-a": false, "a-": false, "a.b": false, "a\x00": false, "a\n": false, "ä": false,
	} {
		if err := anycert.CheckName(name); (err == nil) != ok {
			t.Errorf("CheckName(%q) = %v", name, err)
		}
	}
	for domain, ok := range map[string]bool{
		"example.com": true, "*.example.com": true, "xn--bcher-kva.example": true,
		"": false, "com": false, "*.com": false, "*": false, "a.*.com": false, "Example.com": false,
		"bücher.example": false, "a..com": false, "a.com.": false, strings.Repeat("a.", 130) + "com": false,
		"a_b.example.com": false, "\x1b[31m.com": false,
	} {
		if err := anycert.CheckDomain(domain); (err == nil) != ok {
			t.Errorf("CheckDomain(%q) = %v", domain, err)
		}
	}
}

func FuzzParseBundle(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, chain, key []byte) {
		bundle, err := anycert.ParseBundle(chain, key)
		if (bundle == nil) == (err == nil) {
			t.Fatalf("bundle %v with error %v", bundle, err)
		}
		if err != nil && !errors.Is(err, anycert.ErrMalformed) {
			t.Fatalf("an error that is not ErrMalformed: %v", err)
		}
	})
}

func TestMarkIsLater(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 999, time.UTC)
	entry := anycert.Entry{Name: "example", Time: at, Digest: anycert.Digest{1}}
	mark := anycert.MarkOf("prod", entry)
	if mark.Later(entry) {
		t.Error("a mark is later than its own version")
	}
	for name, test := range map[string]struct {
		mark  anycert.Mark
		later bool
	}{
		"another version, later":              {anycert.Mark{Certificate: "example", Time: at.Add(time.Minute), Digest: anycert.Digest{2}}, true},
		"another version, earlier":            {anycert.Mark{Certificate: "example", Time: at.Add(-time.Minute), Digest: anycert.Digest{2}}, false},
		"another version in the same second":  {anycert.Mark{Certificate: "example", Time: at.Truncate(time.Second), Digest: anycert.Digest{2}}, false},
		"the same chain, written again later": {anycert.Mark{Certificate: "example", Time: at.Add(time.Minute), Digest: anycert.Digest{1}}, false},
		"another certificate":                 {anycert.Mark{Certificate: "other", Time: at.Add(time.Minute), Digest: anycert.Digest{2}}, false},
	} {
		if test.mark.Later(entry) != test.later {
			t.Errorf("%s: Later is %v", name, !test.later)
		}
	}
}

func TestDigestText(t *testing.T) {
	digest := anycert.Digest{1, 2, 3}
	back, err := anycert.ParseDigest(digest.String())
	if err != nil || back != digest {
		t.Fatalf("%v, %v", back, err)
	}
	for _, bad := range []string{"", "sha256:", digest.Hex(), "sha256:zz", "md5:" + digest.Hex()} {
		if _, err := anycert.ParseDigest(bad); !errors.Is(err, anycert.ErrMalformed) {
			t.Errorf("ParseDigest(%q) = %v", bad, err)
		}
	}
}

// A block that does not decode is no text around the others: without it the chain
// would be served short.
func TestParseChainDamaged(t *testing.T) {
	root := issue(t, ecKey(t, elliptic.P256()), nil, ca)
	between := issue(t, ecKey(t, elliptic.P256()), &root, ca)
	leaf := issue(t, ecKey(t, elliptic.P256()), &between, nil)
	whole := string(certPEM(leaf, between))
	if chain, err := anycert.ParseChain([]byte("subject=example\n" + whole + "the end\n")); err != nil || len(chain) != 2 {
		t.Fatalf("%d certificates, %v", len(chain), err)
	}
	end := strings.LastIndex(whole, "-----END")
	for name, damaged := range map[string]string{
		"a character": whole[:end-20] + "!" + whole[end-19:],
		"the end":     whole[:end],
		"a dash":      whole[:len(whole)-3],
	} {
		if chain, err := anycert.ParseChain([]byte(damaged)); !errors.Is(err, anycert.ErrMalformed) {
			t.Errorf("%s is damaged: %d certificates, %v", name, len(chain), err)
		}
	}
}

// Case means nothing in a domain name (RFC 4343): a bought certificate may spell it
// as it likes.
func TestCoversInAnyCase(t *testing.T) {
	if missing := anycert.Uncovered([]string{"Example.COM", "*.Example.com"}, []string{"example.com", "www.example.com", "*.example.com"}); len(missing) > 0 {
		t.Errorf("not covered: %v", missing)
	}
}

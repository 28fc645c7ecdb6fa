package vaultpki

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/anycert/anycert/internal/testenv/vaultserver"
	"github.com/anycert/anycert/internal/testenv/world"
)

// The page's commands and its configuration make a certificate for a domain and all
// names below it that clients of the root trust. anycert asks the PKI without a token,
// and a second pass asks it for its directory at most.
func TestPage(t *testing.T) {
	t.Parallel()
	o := open(t)
	config := o.Config("config.yaml", `version: 1
owner: hub
store: {{.World.Store .Auth}}
{{.Page}}
sinks:
  - {name: nginx, type: file, certificates: ["*"], config: {dir: {{.World.Files}}}}
http: {listen: "127.0.0.1:0"}
`, map[string]any{"World": o.World, "Page": o.configuration(), "Auth": o.Token("hub", o.HubPolicy()+`
path "secret/data/credentials/*" { capabilities = ["read"] }`)})
	before := o.Now()
	o.Kept(o.Report(0, config, "sync"))

	o.trusted(o.Stored("internal"), "example.com", "www.example.com")
	o.inDirectory("internal")
	if asked := o.asked(before); len(asked) == 0 {
		t.Error("the audit log knows of no request to the PKI")
	} else if accessor := asked[0].Accessor; accessor != "" {
		t.Errorf("anycert asked the PKI with the token %s", accessor)
	}
	if got := o.Run(config, "check", "--connect"); got.Code != 0 || !got.Says("issuer vault-pki: ok") {
		t.Error(got)
	}
	if printed := o.shell("vault list pki/eab 2>&1 || true"); strings.Contains(printed, o.kid) {
		t.Errorf("the binding was not used: %s", printed)
	}

	m := o.Now()
	o.Kept(o.Report(0, config, "sync"))
	o.WroteNothing("a second pass", m)
	for _, r := range o.asked(m) {
		if !strings.HasSuffix(r.Path, "/acme/directory") { // which may have come to give advice by now (RFC 9773)
			t.Errorf("a second pass asked the PKI: %s %s", r.Operation, r.Path)
		}
	}
}

var dnsOfPage = regexp.MustCompile(`(?m)^    dns:\n(?:      .*\n)+`)

// configuration is the page's, with the addresses of the world.
func (o *office) configuration() string {
	o.T.Helper()
	written := page(o.T).yaml[0]
	text := dnsOfPage.ReplaceAllLiteralString(written, "    dns: "+o.Challenges()+"\n")
	for old, new := range map[string]string{
		"https://vault.example.com:8200":       o.Vault.Addr,
		"/etc/anycert/vault-ca.pem":            o.Vault.CAFile,
		"9d3a1c52-6f0e-4b57-8d9e-2f1b7c4a5e60": o.kid,
	} {
		if !strings.Contains(text, old) {
			o.T.Errorf("the page's configuration does not hold %s", old)
		}
		text = strings.ReplaceAll(text, old, new)
	}
	return text
}

// trusted expects that clients of the root take what is stored for some hosts, and
// that the chain does not hold the root itself.
func (o *office) trusted(s world.Stored, hosts ...string) {
	o.T.Helper()
	text, err := os.ReadFile(o.root)
	o.Must(err)
	block, _ := pem.Decode(text)
	root, err := x509.ParseCertificate(block.Bytes)
	o.Must(err)
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(root)
	for _, c := range o.Parse(s.Chain)[1:] {
		intermediates.AddCert(c)
		if c.Equal(root) {
			o.T.Error("the chain holds the root")
		}
	}
	for _, host := range hosts {
		if _, err := s.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: intermediates}); err != nil {
			o.T.Errorf("a client that connects to %s says: %v", host, err)
		}
	}
}

// inDirectory expects that the directory holds what Vault does.
func (o *office) inDirectory(certificate string) {
	o.T.Helper()
	if err := o.Stored(certificate).Same(o.InFiles(o.Files, certificate)); err != nil {
		o.T.Errorf("the directory: %v", err)
	}
}

// asked is what Vault's PKI was asked for over ACME since m.
func (o *office) asked(m world.Moment) (some []vaultserver.Request) {
	o.T.Helper()
	for _, r := range o.VaultSince(m) {
		if strings.HasPrefix(r.Path, "pki/") && strings.Contains(r.Path, "/acme/") {
			some = append(some, r)
		}
	}
	return some
}

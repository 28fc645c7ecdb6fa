package docs_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/internal/testenv/leak"
	"github.com/anycert/anycert/internal/testenv/nameserver"
	"github.com/anycert/anycert/internal/testenv/nginxserver"
	"github.com/anycert/anycert/internal/testenv/parts"
	"github.com/anycert/anycert/internal/testenv/vaultserver"
	"github.com/anycert/anycert/sinks/fastly/fastlytest"
	"github.com/anycert/anycert/sinks/fly/flytest"
	"github.com/miekg/dns"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// places are the servers that the page speaks of, and a home for its shell.
type places struct {
	vault  *vaultserver.Server
	acme   *acmeserver.Server
	dns    *nameserver.Server
	kube   *kubeserver.Server
	nginx  *nginxserver.Server
	fastly *fastlytest.Server
	fly    *flytest.Server

	home    string // HOME and TMPDIR of the shell
	certDir string
	env     map[string]string
}

func newPlaces(t *testing.T) *places {
	t.Helper()
	p := &places{home: t.TempDir(), certDir: t.TempDir()}
	p.vault = testenv.Vault(t)
	p.dns = testenv.BIND(t, "example.com")
	p.acme = testenv.ACME(t, p.dns.Addr, acmeserver.Options{RejectNonces: 20})
	p.kube = testenv.Kubernetes(t)
	if err := p.kube.CreateNamespaces(t.Context(), "web", "api"); err != nil {
		t.Fatal(err)
	}
	p.startProviders(t)
	p.startNginx(t)
	p.setEnvironment(t)
	return p
}

func (p *places) startProviders(t *testing.T) {
	t.Helper()
	var err error
	if p.fastly, err = fastlytest.Start(fastlytest.Options{Token: fastlyToken, Configurations: []string{configuration}}); err != nil {
		t.Fatal(err)
	}
	p.fly, err = flytest.Start(flytest.Options{
		Apps:      map[string]string{flyApp: flyToken},
		RateLimit: true,
		TXT:       func(name string) ([]string, error) { return p.txt(context.Background(), name) },
		Forbidden: func(call string) { t.Errorf("the page calls %s", call) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(p.fastly.Close(), p.fly.Close()); err != nil {
			t.Error(err)
		}
	})
}

// startNginx starts it with what was served before.
func (p *places) startNginx(t *testing.T) {
	t.Helper()
	writePair(t, filepath.Join(p.certDir, ".by-hand", "example-old"), testenv.Issue(t, certs.Options{SelfSigned: true}))
	link := filepath.Join(p.certDir, "example")
	if err := os.Symlink(".by-hand/example-old", link); err != nil {
		t.Fatal(err)
	}
	p.nginx = testenv.Nginx(t, link)
}

// setEnvironment sets the variables that the page's table names, and finds the
// tools.
func (p *places) setEnvironment(t *testing.T) {
	t.Helper()
	host, port, err := net.SplitHostPort(p.dns.Addr)
	if err != nil {
		t.Fatal(err)
	}
	file := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tsig := fmt.Sprintf("key %q { algorithm hmac-sha256; secret %q; };\n", nameserver.KeyName, p.dns.Secret)
	p.env = map[string]string{
		"VAULT_ADDR": p.vault.Addr, "VAULT_TOKEN": p.vault.RootToken,
		"ACME_DIRECTORY": p.acme.URL, "ACME_CA": file("acme-ca.pem", string(p.acme.CAPEM)),
		"DNS_SERVER": host, "DNS_PORT": port, "DNS_KEYFILE": file("tsig.key", tsig),
		"KUBECONFIG": p.kube.Kubeconfig,
		"FASTLY_API": p.fastly.URL, "FASTLY_TOKEN_FILE": file("fastly", fastlyToken), "FASTLY_CONFIGURATION": configuration,
		"FLY_API": p.fly.URL, "FLY_TOKEN_FILE": file("fly", flyToken), "FLY_APP": flyApp, "FLY_EDGE": p.fly.Edge,
		"CERT_DIR": p.certDir, "NGINX": p.nginx.Addr, "NGINX_RELOAD": strings.Join(p.nginx.ReloadCommand(), " "),
		"COMPROMISED": "",
		"HOME":        p.home, "TMPDIR": p.home, "LC_ALL": "C", "PATH": toolPath(t),
	}
}

// toolPath is a PATH that leads to the rig's vault and kubectl before all others.
func toolPath(t *testing.T) string {
	t.Helper()
	path := []string{}
	for _, part := range []parts.Part{parts.Vault, parts.Kubectl} {
		binary, err := parts.Find(part)
		if err != nil {
			t.Fatal(err)
		}
		path = append(path, filepath.Dir(binary))
	}
	return strings.Join(append(path, "/usr/bin", "/bin"), ":")
}

// stored is what Vault holds, as its version round.
func (p *places) stored(t *testing.T, round int) *anycert.Bundle {
	t.Helper()
	entry, err := p.vault.Client().KVv2("secret").Get(t.Context(), "anycert/certs/example")
	if err != nil {
		t.Fatal(err)
	}
	if entry.VersionMetadata.Version != round {
		t.Errorf("Vault is at version %d after round %d", entry.VersionMetadata.Version, round)
	}
	if len(entry.Data) != 2 {
		t.Errorf("the entry has %d fields, want tls.crt and tls.key alone", len(entry.Data))
	}
	bundle, err := anycert.ParseBundle([]byte(entry.Data["tls.crt"].(string)), []byte(entry.Data["tls.key"].(string)))
	if err != nil {
		t.Fatal(err)
	}
	if missing := anycert.Uncovered(bundle.Leaf().DNSNames, []string{"example.com", "*.example.com"}); len(missing) > 0 {
		t.Errorf("the certificate does not cover %q", missing)
	}
	return bundle
}

// checkAll reads every place without the page's help.
func (p *places) checkAll(t *testing.T, want *anycert.Bundle) {
	t.Helper()
	check := func(place string, chain, key []byte) {
		t.Helper()
		got, err := anycert.ParseBundle(chain, key)
		if err != nil {
			t.Errorf("%s: %v", place, err)
		} else if got.Digest() != want.Digest() {
			t.Errorf("%s holds %s, want %s", place, got, want)
		}
	}
	for _, namespace := range []string{"web", "api"} {
		secret, err := p.kube.Client().CoreV1().Secrets(namespace).Get(t.Context(), "example-tls", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		check("Kubernetes "+namespace, secret.Data["tls.crt"], secret.Data["tls.key"])
	}
	for _, name := range []string{"example.com", "*.example.com"} {
		chain, key := p.fastly.Served(configuration, name)
		check("Fastly "+name, chain, key)
		chain, key = p.fly.Custom(flyApp, name)
		check("Fly.io "+name, chain, key)
		p.checkServed(t, p.fly.Edge, strings.Replace(name, "*", "www", 1), want.Leaf())
	}
	p.checkServed(t, p.nginx.Addr, "example.com", want.Leaf())
	if version, err := os.Readlink(filepath.Join(p.certDir, "example")); err != nil || version != ".by-hand/example-"+want.Digest().Hex() {
		t.Errorf("the directory that nginx reads is %s, %v, want one named by the digest %s", version, err, want.Digest())
	}
}

func (p *places) checkServed(t *testing.T, address, name string, want *x509.Certificate) {
	t.Helper()
	chain, err := nginxserver.Handshake(t.Context(), address, name)
	if err != nil || !chain[0].Equal(want) {
		t.Errorf("a handshake with %s at %s: not the certificate of the store (%v)", name, address, err)
	}
}

// checkTraces looks for what must not be left: keys and tokens in what was printed
// or in a temporary file, and challenges in the zone.
func (p *places) checkTraces(t *testing.T, printed string, bundle *anycert.Bundle) {
	t.Helper()
	account, err := p.vault.Client().KVv2("secret").Get(t.Context(), "by-hand/account")
	if err != nil {
		t.Fatal(err)
	}
	search, err := leak.New(
		leak.Secret{Name: "the private key", PEM: []byte(bundle.KeyPEM().Reveal())},
		leak.Secret{Name: "the account's key", PEM: []byte(account.Data["key"].(string))},
		leak.Secret{Name: "Fastly's token", Token: fastlyToken},
		leak.Secret{Name: "Fly.io's token", Token: flyToken},
	)
	if err != nil {
		t.Fatal(err)
	}
	if planted := base64.StdEncoding.EncodeToString([]byte(bundle.KeyPEM().Reveal())); len(search.Bytes("planted", []byte(planted))) == 0 {
		t.Error("the search does not find what was planted")
	}
	found := search.Bytes("what was printed", []byte(printed))
	left, err := search.Dir(p.home)
	if err != nil {
		t.Fatal(err)
	}
	for _, finding := range append(found, left...) {
		t.Error(finding)
	}
	if records, err := p.txt(t.Context(), "_acme-challenge.example.com"); err != nil || len(records) > 0 {
		t.Errorf("challenges are left in the zone: %q, %v", records, err)
	}
}

// txt asks BIND for a TXT record.
func (p *places) txt(ctx context.Context, name string) ([]string, error) {
	client := &dns.Client{Timeout: 20 * time.Second} // two are the default, which a busy machine may need
	answer, _, err := client.ExchangeContext(ctx, new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeTXT), p.dns.Addr)
	if err != nil {
		return nil, err
	}
	var values []string
	for _, record := range answer.Answer {
		if txt, ok := record.(*dns.TXT); ok {
			values = append(values, strings.Join(txt.Txt, ""))
		}
	}
	return values, nil
}

func writePair(t *testing.T, dir string, pair certs.Pair) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"fullchain.pem": pair.ChainPEM, "privkey.pem": pair.KeyPEM} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

package acmeserver_test

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-acme/lego/v4/certcrypto"
	"github.com/go-acme/lego/v4/certificate"
	"github.com/go-acme/lego/v4/challenge/dns01"
	"github.com/go-acme/lego/v4/lego"
	"github.com/go-acme/lego/v4/providers/dns/rfc2136"
	"github.com/go-acme/lego/v4/registration"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/dnsserver"
)

func TestLegoObtainsApexAndWildcard(t *testing.T) {
	dns := testenv.DNS(t, "example.com")
	server := testenv.ACME(t, dns.Addr, acmeserver.Options{})
	client := newClient(t, server, dns)
	begun := time.Now()
	got := obtain(t, client, "tlsserver")
	t.Logf("issued in %s", time.Since(begun))

	names := []string{"example.com", "*.example.com"}
	issued := server.CertificatesFor(names...)
	if len(issued) != 1 {
		t.Fatalf("Pebble issued %d certificates for %v, want 1", len(issued), names)
	}
	chain, err := certcrypto.ParsePEMBundle(got.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	if !chain[0].Equal(issued[0]) {
		t.Error("what lego has is not what Pebble issued")
	}
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(server.RootPEM(0))
	intermediates.AddCert(chain[1])
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates}); err != nil {
		t.Error(err)
	}
	if orders := server.Orders(); len(orders) != 1 || orders[0].Profile != "tlsserver" || len(orders[0].Names) != 2 {
		t.Errorf("orders: %+v", orders)
	}
	if n := server.Count()[acmeserver.KindFinalize]; n < 1 {
		t.Errorf("%d requests to finalize, want 1 or, with nonces refused, more", n)
	}
	if updates := dns.Updates(); len(updates) != 4 {
		t.Errorf("%d updates, want two records added and removed: %+v", len(updates), updates)
	}
	if texts := dns.TXT("_acme-challenge.example.com"); len(texts) != 0 {
		t.Errorf("left behind: %q", texts)
	}
}

func TestLoseIntermediates(t *testing.T) {
	dns := testenv.DNS(t, "example.com")
	server := testenv.ACME(t, dns.Addr, acmeserver.Options{})
	client := newClient(t, server, dns)
	for _, lost := range []bool{true, false} {
		server.LoseIntermediates(lost)
		chain, err := certcrypto.ParsePEMBundle(obtain(t, client, "tlsserver").Certificate)
		if err != nil {
			t.Fatal(err)
		}
		if (len(chain) == 1) != lost || chain[0].IsCA {
			t.Errorf("a chain of %d while the intermediates are lost: %t", len(chain), lost)
		}
	}
}

func TestRenewalInfo(t *testing.T) {
	dns := testenv.DNS(t, "example.com")
	server := testenv.ACME(t, dns.Addr, acmeserver.Options{})
	client := newClient(t, server, dns)
	obtain(t, client, "shortlived")
	leaf := server.Certificates()[0]
	if got := leaf.NotAfter.Sub(leaf.NotBefore).Round(time.Hour); got != 160*time.Hour {
		t.Errorf("valid for %s, want 160h", got)
	}
	start := time.Now().Add(time.Hour).Truncate(time.Second)
	if err := server.SetRenewalInfo(leaf, start, start.Add(time.Hour), ""); err != nil {
		t.Fatal(err)
	}
	info, err := client.Certificate.GetRenewalInfo(certificate.RenewalInfoRequest{Cert: leaf})
	if err != nil {
		t.Fatal(err)
	}
	if !info.SuggestedWindow.Start.Equal(start) || info.RetryAfter != 6*time.Hour {
		t.Errorf("renewal information %+v, want a window from %s and 6h", info, start)
	}
}

func TestIntercept(t *testing.T) {
	dns := testenv.DNS(t, "example.com")
	server := testenv.ACME(t, dns.Addr, acmeserver.Options{RejectNonces: -1})
	client := newClient(t, server, dns)
	var refused atomic.Int32
	server.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if acmeserver.KindOf(r) != acmeserver.KindNewOrder {
			return false
		}
		refused.Add(1)
		acmeserver.Fail(w, http.StatusTooManyRequests, "rateLimited", "3600")
		return true
	})
	_, err := client.Certificate.Obtain(certificate.ObtainRequest{Domains: []string{"example.com"}, Profile: "default"})
	if err == nil || !strings.Contains(err.Error(), "rateLimited") {
		t.Errorf("lego gave %v, want rateLimited", err)
	}
	if refused.Load() != 1 || len(server.Orders()) != 0 {
		t.Errorf("%d requests were refused, %d orders made, want 1 and none", refused.Load(), len(server.Orders()))
	}
	server.Intercept(nil)
	obtain(t, client, "default")
}

func TestExternalAccountBinding(t *testing.T) {
	dns := testenv.DNS(t, "example.com")
	const key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	server := testenv.ACME(t, dns.Addr, acmeserver.Options{EAB: map[string]string{"kid-1": key}})
	client := connect(t, server)
	if _, err := client.Registration.Register(registration.RegisterOptions{TermsOfServiceAgreed: true}); err == nil {
		t.Error("an account was made without a binding")
	}
	_, err := client.Registration.RegisterWithExternalAccountBinding(
		registration.RegisterEABOptions{TermsOfServiceAgreed: true, Kid: "kid-1", HmacEncoded: key})
	if err != nil {
		t.Error(err)
	}
}

func TestEnvironmentIsPutBack(t *testing.T) {
	t.Setenv("PEBBLE_AUTHZREUSE", "7")
	testenv.ACME(t, "127.0.0.1:53", acmeserver.Options{RejectNonces: 30})
	if got := os.Getenv("PEBBLE_AUTHZREUSE"); got != "7" {
		t.Errorf("PEBBLE_AUTHZREUSE is %q afterwards, want 7", got)
	}
	for _, name := range []string{"PEBBLE_VA_NOSLEEP", "PEBBLE_WFE_NONCEREJECT"} {
		if value, set := os.LookupEnv(name); set {
			t.Errorf("%s is left set to %q", name, value)
		}
	}
}

// user is lego's idea of an account.
type user struct {
	key          crypto.PrivateKey
	registration *registration.Resource
}

func (u *user) GetEmail() string                        { return "" }
func (u *user) GetRegistration() *registration.Resource { return u.registration }
func (u *user) GetPrivateKey() crypto.PrivateKey        { return u.key }

func connect(t *testing.T, server *acmeserver.Server) *lego.Client {
	t.Helper()
	client, _ := connectAs(t, server)
	return client
}

func connectAs(t *testing.T, server *acmeserver.Server) (*lego.Client, *user) {
	t.Helper()
	key, err := certs.NewKey(certs.EC256)
	if err != nil {
		t.Fatal(err)
	}
	account := &user{key: key}
	config := lego.NewConfig(account)
	config.CADirURL = server.URL
	config.HTTPClient = httpClient(server)
	client, err := lego.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	return client, account
}

// httpClient trusts server.
func httpClient(server *acmeserver.Server) *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(server.CAPEM)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
}

// newClient returns a client with an account that solves DNS-01 at dns.
func newClient(t *testing.T, server *acmeserver.Server, dns *dnsserver.Server) *lego.Client {
	t.Helper()
	client, account := connectAs(t, server)
	var err error
	account.registration, err = client.Registration.Register(registration.RegisterOptions{TermsOfServiceAgreed: true})
	if err != nil {
		t.Fatal(err)
	}
	config := rfc2136.NewDefaultConfig()
	config.Nameserver = dns.Addr
	config.TSIGKey, config.TSIGSecret, config.TSIGAlgorithm = dnsserver.KeyName, dns.Secret, dnsserver.Algorithm
	config.SequenceInterval, config.PollingInterval = 0, 10*time.Millisecond
	provider, err := rfc2136.NewDNSProviderConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	err = client.Challenge.SetDNS01Provider(provider,
		dns01.AddRecursiveNameservers([]string{dns.Addr}),
		dns01.DisableAuthoritativeNssPropagationRequirement(),
		dns01.RecursiveNSsPropagationRequirement())
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func obtain(t *testing.T, client *lego.Client, profile string) *certificate.Resource {
	t.Helper()
	got, err := client.Certificate.Obtain(certificate.ObtainRequest{
		Domains: []string{"example.com", "*.example.com"}, Profile: profile, Bundle: true})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

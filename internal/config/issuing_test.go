package config_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/config"
	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
)

const moving = `version: 1
owner: example
store: {local: {path: anycert.db}}
issuers:
  - {name: old-cluster, type: kubernetes, config: {kubeconfig: testdata/kubeconfig, context: other, secret: "web/{{ .Name }}-tls"}}
  - {name: letsencrypt, directory: letsencrypt-staging, dns: {provider: cloudflare, settings: {CF_DNS_API_TOKEN: {env: CF_DNS_API_TOKEN}}}}
certificates:
  - {name: example, domains: [example.com], issuer: old-cluster}
  - {name: shop, domains: [shop.example.com], issuer: letsencrypt}
  - {name: bought, domains: [example.org]}
`

// Each certificate is asked of the issuer that it names.
func TestIssuersByName(t *testing.T) {
	graph, err := config.Open(read(t, moving), config.Options{Getenv: environment(nil)})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for i, want := range []string{"Secret web/example-tls of cluster other is looked at in each pass", "nothing was issued yet", "someone else keeps it"} {
		if got := graph.Issuer.Renewal(graph.Certificates[i], nil, now); got.Reason != want {
			t.Errorf("%s: %q, want %q", graph.Certificates[i].Name, got.Reason, want)
		}
	}
	var parts []string
	for _, probe := range graph.Probes(true) {
		parts = append(parts, probe.Part)
	}
	if got := strings.Join(parts, ", "); got != "store, issuer old-cluster, issuer letsencrypt" {
		t.Errorf("tried would be %s", got)
	}
	ended, cancel := context.WithCancel(t.Context()) // nobody is asked
	cancel()
	_, err = graph.Issuer.Obtain(ended, graph.Certificates[0])
	if err == nil || !strings.Contains(err.Error(), "obtaining certificate example from issuer old-cluster: ") || !strings.Contains(err.Error(), "other.example.com:6443") {
		t.Errorf("obtaining it: %v", err)
	}
}

// What an imported certificate would be ordered anew for is known before it is imported.
func TestRenewalOfWhatIsImported(t *testing.T) {
	loaded := read(t, moving)
	now := time.Now()
	tests := map[string]struct {
		certificate string
		options     certs.Options
		at          time.Time // zero: never
	}{
		"as declared":              {"shop", certs.Options{Names: []string{"shop.example.com"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(89 * time.Hour)}, now.Add(44 * time.Hour)},
		"for another name as well": {"shop", certs.Options{Names: []string{"shop.example.com", "example.com"}}, now},
		"with another key":         {"shop", certs.Options{Names: []string{"shop.example.com"}, KeyType: certs.EC384}, now},
		"looked at in a cluster":   {"example", certs.Options{KeyType: certs.EC384}, time.Time{}},
		"kept by someone else":     {"bought", certs.Options{Names: []string{"example.org"}, KeyType: certs.EC384}, time.Time{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			certificate, ok := loaded.Certificate(test.certificate)
			if !ok || certificate.KeyType != anycert.EC256 {
				t.Fatalf("%+v", certificate)
			}
			got := loaded.Renewal(certificate, testenv.Issue(t, test.options).Leaf(), now)
			if d := got.At.Sub(test.at); d > time.Second || d < -time.Second {
				t.Errorf("%+v, want it at %s", got, test.at)
			}
		})
	}
	if _, ok := loaded.Certificate("nothing"); ok {
		t.Error("what is not declared was found")
	}
}

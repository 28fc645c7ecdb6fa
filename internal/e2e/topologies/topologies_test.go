// Package topologies asks for certificates in every shape of DNS that docs/dns.md
// speaks of: served by BIND and by Knot, resolved from a root of their own, validated by
// Pebble. What can be issued is, by a real order; what cannot is named before the CA is
// asked for one, in the sentence that the page's table has.
//
// The table is written by
//
//	go test ./internal/e2e/topologies -run TestTable -update
package topologies

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/issuer"
	"github.com/anycert/anycert/issuer/dns01"
	"github.com/anycert/anycert/store/storetest"
)

// issued is what is said of what works.
const issued = "issued"

// topology is one row of the table. Names are those of the world with BIND.
type topology struct {
	id    string // names the row, the subtest and the zone: ID.example.com
	shape string // what the DNS looks like
	asks  []ask
}

// ask is one certificate, and what comes of it.
type ask struct {
	domains []string
	seen    string
}

func all() []topology {
	return []topology{
		{"delegated", "a sub-zone that is delegated to other name servers", []ask{
			{[]string{"www.dev.delegated.example.com", "delegated.example.com"}, issued}}},
		{"alias", "`_acme-challenge` is a CNAME into another zone, the only one that the credential may write", []ask{
			{[]string{"alias.example.com", "*.alias.example.com"}, issued}}},
		{"loop", "CNAMEs lead in a circle", []ask{
			{[]string{"loop.example.com"}, "loop.example.com: CNAMEs lead from _acme-challenge.loop.example.com. in a circle: remove hop.loop.example.com. IN CNAME _acme-challenge.loop.example.com."}}},
		{"split", "inside there is a zone that the rest of the world has another of", []ask{
			{[]string{"split.example.com"}, "split.example.com: the resolvers show split.example.com. with the name server inside.split.example.com, the rest of the world with ns1.split.example.com, so that records written to the first are not seen by the CA: let the DNS provider write to the second, or add _acme-challenge.split.example.com. IN CNAME NAME there, into a zone that both show"}}},
		{"stale", "one of three name servers does not transfer the zone any more", []ask{
			{[]string{"stale.example.com"}, "stale.example.com: the name server ns3.stale.example.com of the zone stale.example.com. does not show a trial record after 3s, as the others do (its serial is behind that of ns1.stale.example.com): let it transfer the zone, or remove stale.example.com. IN NS ns3.stale.example.com."}}},
		{"servfail", "the name server answers SERVFAIL: it could not load the zone", []ask{
			{[]string{"servfail.example.com"}, "servfail.example.com: no name server of the zone servfail.example.com. serves it (ns1.servfail.example.com answers SERVFAIL): load the zone there, or change servfail.example.com. IN NS ns1.servfail.example.com. in the zone example.com."}}},
		{"tsig", "the TSIG key has another secret at the name server", []ask{
			{[]string{"tsig.example.com"}, "tsig.example.com: DNS provider rfc2136 could not write a trial record: the server 192.0.2.53:53 answers NOTAUTH to the update of zone tsig.example.com: the key's name, algorithm or secret is another one there, it may not change this name, or the zone is not its own: it is to be able to add and remove _acme-challenge.tsig.example.com. IN TXT"}}},
		{"caa", "a CAA record of the zone above names another CA", []ask{
			{[]string{"www.caa.example.com"}, `www.caa.example.com: caa.example.com. IN CAA 0 issue "ca.example.net" does not permit this CA: add caa.example.com. IN CAA 0 issue "pebble.letsencrypt.org"`}}},
		{"wild", "CAA permits names, and no wildcard", []ask{
			{[]string{"wild.example.com"}, issued},
			{[]string{"*.wild.example.com"}, `*.wild.example.com: wild.example.com. IN CAA 0 issuewild ";" does not permit this CA: add wild.example.com. IN CAA 0 issuewild "pebble.letsencrypt.org"`}}},
		{"both", "a domain and its wildcard: two records at one name", []ask{
			{[]string{"both.example.com", "*.both.example.com"}, issued}}},
		{"bogus", "DNSSEC signatures have expired, and the resolver checks them", []ask{
			{[]string{"bogus.example.com"}, "bogus.example.com: the DNSSEC signatures of bogus.example.com. do not hold: the resolvers answer SERVFAIL, and answer once told not to check: sign the zone anew, or remove the DS records (bogus.example.com. IN DS …) from the zone above"}}},
		{"star", "a wildcard CNAME leads every name to a CDN, `_acme-challenge` as well until there is a record", []ask{
			{[]string{"star.example.com", "*.star.example.com"}, issued}}},
		{"cdn", "a CDN has its own CNAME at `_acme-challenge`", []ask{
			{[]string{"cdn.example.com"}, "cdn.example.com: _acme-challenge.cdn.example.com. IN CNAME abc123.fastly-validations.com. is in the way, which belongs to Fastly, so control cannot be proven from here: take Fastly's managed certificate for the domain away, and then the record: the certificate from here is uploaded there instead"}}},
	}
}

func TestTopologies(t *testing.T) {
	at(t, []string{"BIND", "Knot"}, func(t *testing.T, software string) {
		n := newNet(t, software)
		ca := testenv.ACME(t, n.outside.Addr, acmeserver.Options{})
		n.roots = n.file("roots.pem", ca.CAPEM)
		tests := map[string]func(*testing.T){"closed": func(t *testing.T) { n.closed(t, ca) }}
		for _, topology := range all() {
			tests[topology.id] = func(t *testing.T) {
				for _, ask := range topology.asks {
					if seen := n.ask(t, ca, topology.id, ask.domains); seen != ask.seen {
						t.Errorf("%v\nseen: %s\nwant: %s", ask.domains, seen, ask.seen)
					}
				}
			}
		}
		at(t, slices.Sorted(maps.Keys(tests)), func(t *testing.T, id string) { tests[id](t) })
	})
}

// at runs tests at once, however few the processors: they mostly wait.
func at(t *testing.T, names []string, test func(t *testing.T, name string)) {
	var group sync.WaitGroup
	for _, name := range names {
		group.Go(func() { t.Run(name, func(t *testing.T) { test(t, name) }) })
	}
	group.Wait()
}

// ask orders a certificate, and tells what came of it. `check --connect` must have
// said the same before.
func (n *net) ask(t *testing.T, ca *acmeserver.Server, id string, domains []string) string {
	t.Helper()
	certificate := anycert.Certificate{Name: id, Issuer: "pebble", KeyType: anycert.EC256}
	for _, domain := range domains {
		certificate.Domains = append(certificate.Domains, n.here(domain))
	}
	made := n.issuer(t, issuer.Config{Directory: ca.URL, CABundle: n.roots, DNS: n.providers(id)}, n.Port)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	warnings, refusal := made.Probe(ctx, "pebble", []anycert.Certificate{certificate}, true)
	if len(warnings) > 0 {
		t.Errorf("check --connect warns: %q", warnings)
	}
	_, err := made.Obtain(ctx, certificate)
	if asked := orders(ca, certificate.Domains); (asked == 1) != (err == nil) || asked > 1 {
		t.Errorf("the CA was asked for %d orders, and the end is %v", asked, err)
	}
	for _, domain := range certificate.Domains {
		n.clean(t, "_acme-challenge."+strings.TrimPrefix(domain, "*."))
	}
	seen := n.told(err, "obtaining certificate "+id+" from issuer pebble: ", "the CA was not asked, since it would fail: ")
	if before := n.told(refusal, "issuer pebble: ", "certificate "+id+": "); before != seen {
		t.Errorf("check --connect says %s", before)
	}
	return seen
}

// orders counts those for just these domains.
func orders(ca *acmeserver.Server, domains []string) (count int) {
	for _, order := range ca.Orders() {
		if slices.Equal(order.Names, slices.Sorted(slices.Values(domains))) {
			count++
		}
	}
	return count
}

// told is what is said, in the names and addresses of the table.
func (n *net) told(err error, prefixes ...string) string {
	if err == nil {
		return issued
	}
	text := err.Error()
	for _, prefix := range prefixes {
		text = strings.TrimPrefix(text, prefix)
	}
	text, _, _ = strings.Cut(text, " (attempt 1, ")
	text = strings.ReplaceAll(text, n.main.Addr, "192.0.2.53:53")
	return strings.ReplaceAll(text, n.domain, "example.com")
}

// issuer is one named pebble, for which name servers are at a port.
func (n *net) issuer(t *testing.T, config issuer.Config, port string) *issuer.Issuer {
	t.Helper()
	secrets := map[string]string{"MAIN": n.main.Secret, "SECOND": n.second.Secret, "INSIDE": n.inside.Secret, "WRONG": "d3Jvbmctc2VjcmV0LXdyb25n"}
	config.Name = "pebble"
	store := &storetest.Memory{}
	locks := new(dns01.Locks)
	credential := func(r anycert.Reference) anycert.Credential { return secret(secrets[r.Env]) }
	made, err := issuer.New(issuer.Options{
		Issuers: []issuer.Config{config}, Store: store, Records: store, UserAgent: "anycert/test", Credential: credential,
		Prover: func(ctx context.Context, config issuer.Config) (issuer.Prover, error) {
			return config.DNS.Open(ctx, dns01.Env{Credential: credential, Locks: locks, Propagation: config.Propagation, Port: port})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

type secret string

func (s secret) Secret(context.Context) (anycert.Secret, error) {
	return anycert.NewSecret(string(s)), nil
}
func (s secret) Refused() {}

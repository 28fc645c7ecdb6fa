package issuer_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/dnsserver"
	"github.com/anycert/anycert/internal/testenv/nameserver"
	"github.com/anycert/anycert/issuer"
	"github.com/anycert/anycert/issuer/dns01"
)

// TestRealNameServers proves domains by BIND and by Knot, on ports that are not 53.
func TestRealNameServers(t *testing.T) {
	servers := map[string]func(testing.TB, ...string) *nameserver.Server{"BIND": testenv.BIND, "Knot": testenv.Knot}
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start(t, "example.com")
			w := newWorld(t, acmeserver.Options{Resolver: server.Addr})
			config := w.config()
			config.DNS = dns01.Config{updates(server.Addr, "env", "KEY", nameserver.Algorithm)}
			i := w.open(issuer.Options{Issuers: []issuer.Config{config}, Credential: secrets{"env KEY": server.Secret}.credential})
			c := certificate("site", "example.com", "*.example.com", "deep.www.example.com")
			obtain(t, i, c)
			wantNames(t, w.bundle("site").Leaf().DNSNames, c.Domains)

			config.DNS[0].Settings["DNSUPDATE_TSIG_SECRET"] = dns01.Setting{Reference: anycert.Reference{Env: "WRONG"}}
			const wrong = "d3Jvbmctc2VjcmV0LXdyb25nLXNlY3JldC13cm9uZw=="
			i = w.open(issuer.Options{Issuers: []issuer.Config{config}, Credential: secrets{"env WRONG": wrong}.credential})
			_, err := i.Obtain(limited(t), certificate("other", "other.example.com"))
			wantError(t, err, "certificate other", "other.example.com", "rfc2136", server.Addr)
			wantNotSaid(t, err, wrong)
		})
	}
}

// TestApexAndWildcardAtTheSameTime: certificates whose records stand at one name do
// not take each other's away, within one process and between two.
func TestApexAndWildcardAtTheSameTime(t *testing.T) {
	for _, issuers := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d issuers", issuers), func(t *testing.T) {
			w := newWorld(t, acmeserver.Options{})
			w.oneAccountAtATime()
			var made []*issuer.Issuer
			for range issuers {
				made = append(made, w.issuer())
			}
			var group sync.WaitGroup
			for n := range 6 {
				group.Go(func() {
					c := certificate(fmt.Sprintf("c%d", n), []string{"example.com", "*.example.com"}[n%2])
					if n > 3 {
						c.Domains = []string{"example.com", "*.example.com"}
					}
					if _, err := made[n%issuers].Obtain(limited(t), c); err != nil {
						t.Error(err)
					}
				})
			}
			group.Wait()
			w.noRecords("_acme-challenge.example.com")
		})
	}
}

// TestZonesOfTwoProvidersInOneCertificate: two DNS servers that know nothing of
// each other, with credentials of their own.
func TestZonesOfTwoProvidersInOneCertificate(t *testing.T) {
	first, second := testenv.DNS(t, "example.com"), testenv.DNS(t, "example.org")
	both := testenv.DNS(t, "example.com", "example.org") // what the CA asks
	w := newWorld(t, acmeserver.Options{Resolver: both.Addr})
	at := func(server *dnsserver.Server, key, zone string) dns01.Provider {
		provider := updates(server.Addr, "env", key, dnsserver.Algorithm)
		provider.Zones = []string{zone}
		return provider
	}
	config := w.config()
	config.DNS = dns01.Config{at(first, "FIRST", "example.com"), at(second, "SECOND", "example.org")}
	i := w.open(issuer.Options{Issuers: []issuer.Config{config},
		Credential: secrets{"env FIRST": first.Secret, "env SECOND": second.Secret}.credential})

	// The CA sees what both servers have at the moment it is told.
	w.acme.Intercept(copying(both, first, second))
	c := certificate("site", "example.com", "*.example.org")
	obtain(t, i, c)
	wantNames(t, w.bundle("site").Leaf().DNSNames, c.Domains)
	for _, server := range []*dnsserver.Server{first, second} {
		if n := len(server.Updates()); n != 4 {
			t.Errorf("a server was updated %d times, want a record written and removed, first on trial", n)
		}
	}

	_, err := i.Obtain(limited(t), certificate("third", "example.com", "www.example.net"))
	wantError(t, err, "www.example.net", "no zone of the issuer's DNS providers")
}

func TestDelegatedChallengeIsFollowed(t *testing.T) {
	w := newWorld(t, acmeserver.Options{}, "example.com", "acme.example.org")
	w.dns.RefuseUpdates("_acme-challenge.example.com", true)
	if err := w.dns.Add("_acme-challenge.example.com. 1 IN CNAME hop.example.com.", "hop.example.com. 1 IN CNAME site.acme.example.org."); err != nil {
		t.Fatal(err)
	}
	i := w.issuer(func(c *issuer.Config) {
		c.DNS[0].Zones = []string{"acme.example.org"} // the only one that we may write
	})
	obtain(t, i, certificate("site", "example.com", "*.example.com"))
	w.noRecords("site.acme.example.org")
}

// TestForeignChallengeRecordIsNamed: before an order is made, with its owner and
// what to do.
func TestForeignChallengeRecordIsNamed(t *testing.T) {
	tests := []struct{ target, owner, remedy string }{
		{"abc123.fastly-validations.com", "Fastly", "managed certificate"},
		{"example.com.xyz.flydns.net", "Fly.io", "_fly-ownership"},
		{"1234.5.authorize.certificatemanager.goog", "Google Certificate Manager", "DNS authorization"},
		{"example.com.abcdef.dcv.cloudflare.com", "Cloudflare", "delegation"},
		{"elsewhere.example.net", "none of the issuer's DNS providers", "add the zone"},
	}
	for _, test := range tests {
		t.Run(test.target, func(t *testing.T) {
			w := newWorld(t, acmeserver.Options{})
			if err := w.dns.Add("_acme-challenge.www.example.com. 60 IN CNAME " + test.target + "."); err != nil {
				t.Fatal(err)
			}
			i := w.issuer(func(c *issuer.Config) { c.DNS[0].Zones = []string{"example.com"} })
			for n := range 4 { // it is looked at again after ten minutes, and told all the time
				_, err := i.Obtain(limited(t), certificate("site", "example.com", "www.example.com", "*.www.example.com"))
				wantError(t, err, "certificate site", "_acme-challenge.www.example.com", test.target, test.owner, test.remedy)
				if looked := errors.As(err, new(*dns01.ForeignError)); looked != (n%2 == 0) {
					t.Errorf("try %d: it was looked at: %v", n, looked)
				}
				if n := strings.Count(err.Error(), test.target); n != 1 {
					t.Errorf("it is told %d times: %v", n, err)
				}
				w.pass(time.Duration(n%2) * 11 * time.Minute)
			}
			if asked := len(w.acme.Requests()); asked != 0 {
				t.Errorf("the CA was asked %d times", asked)
			}
			w.noJournal()
		})
	}
}

// TestForeignLookupThatFailsIsNoRefusal: the order is made, and tried.
func TestForeignLookupThatFailsIsNoRefusal(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	w.dns.FailQueries("_acme-challenge.example.com", dns.RcodeServerFailure)
	i := w.open(issuer.Options{Issuers: []issuer.Config{w.config()}, At: func(point issuer.Point) {
		if point == issuer.OrderWritten {
			w.dns.FailQueries("_acme-challenge.example.com", dns.RcodeSuccess)
		}
	}})
	obtain(t, i, certificate("site", "example.com"))
}

// TestTwoIssuersOneProviderTwoCredentials: each of two servers has its own key.
func TestTwoIssuersOneProviderTwoCredentials(t *testing.T) {
	w, other := newWorld(t, acmeserver.Options{}), newWorld(t, acmeserver.Options{})
	first, second := w.config(), other.config()
	second.Name = "other"
	second.DNS[0].Settings["DNSUPDATE_TSIG_SECRET"] = dns01.Setting{Reference: anycert.Reference{Env: "OTHER"}}
	i := w.open(issuer.Options{Issuers: []issuer.Config{first, second},
		Credential: secrets{"env TSIG_SECRET": w.dns.Secret, "env OTHER": other.dns.Secret}.credential})
	there := certificate("there", "example.com")
	there.Issuer = "other"
	obtain(t, i, certificate("here", "example.com"))
	obtain(t, i, there)
	if len(w.acme.Certificates()) != 1 || len(other.acme.Certificates()) != 1 {
		t.Error("not each CA issued one")
	}
}

// TestManyDomains: an order of many names is worked at in parallel.
func TestManyDomains(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	var domains []string
	for n := range 40 {
		domains = append(domains, fmt.Sprintf("h%d.example.com", n))
	}
	obtain(t, w.issuer(), certificate("site", domains...))
	wantNames(t, w.bundle("site").Leaf().DNSNames, domains)
}

func TestMissingCredentialTroublesNobody(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	i := w.open(issuer.Options{Issuers: []issuer.Config{w.config()}, Credential: secrets{}.credential})
	for range 2 {
		_, err := i.Obtain(limited(t), certificate("site", "example.com"))
		wantError(t, err, "certificate site", "rfc2136", "DNSUPDATE_TSIG_SECRET", "no such secret")
	}
	if asked := len(w.acme.Requests()); asked != 0 {
		t.Errorf("the CA was asked %d times", asked)
	}
	w.noJournal()
}

// copying shows the CA's server what the others have, before a challenge is tried.
func copying(to *dnsserver.Server, from ...*dnsserver.Server) acmeserver.Interceptor {
	return interceptor(acmeserver.KindChallenge, func() error {
		var lines []string
		for _, server := range from {
			for _, zone := range []string{"example.com", "example.org"} {
				for _, text := range server.TXT("_acme-challenge." + zone) {
					lines = append(lines, fmt.Sprintf("_acme-challenge.%s. 1 IN TXT %q", zone, text))
				}
			}
		}
		slices.Sort(lines)
		return to.Add(lines...)
	})
}

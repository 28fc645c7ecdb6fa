package topologies

import (
	"crypto"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// signed is a zone whose signatures have expired: everything about it is genuine, and
// a year old.
type signed struct {
	anchor  string // for a resolver
	records func(address string) []string
}

func (n *net) signed(t *testing.T) signed {
	t.Helper()
	zone := n.at("bogus") + "."
	key := &dns.DNSKEY{Hdr: dns.RR_Header{Name: zone, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 60},
		Flags: dns.ZONE | dns.SEP, Protocol: 3, Algorithm: dns.ECDSAP256SHA256}
	private, err := key.Generate(256)
	if err != nil {
		t.Fatal(err)
	}
	return signed{
		anchor: fmt.Sprintf("%s static-key %d %d %d %q", zone, key.Flags, key.Protocol, key.Algorithm, key.PublicKey),
		records: func(address string) (lines []string) {
			parse := func(text string) dns.RR {
				rr, err := dns.NewRR(zone + " 60 IN " + text)
				if err != nil {
					t.Fatal(err)
				}
				return rr
			}
			sets := []dns.RR{key, parse("SOA ns1." + zone + " hostmaster." + zone + " 1 60 60 3600 1"), parse("NS ns1." + zone)}
			for _, rr := range sets {
				for _, rr := range []dns.RR{rr, sign(t, key, private.(crypto.Signer), rr)} {
					lines = append(lines, strings.ReplaceAll(rr.String(), "\t", " "))
				}
			}
			return append(lines, "ns1 IN A "+address)
		},
	}
}

func sign(t *testing.T, key *dns.DNSKEY, private crypto.Signer, rr dns.RR) *dns.RRSIG {
	t.Helper()
	signature := &dns.RRSIG{KeyTag: key.KeyTag(), SignerName: key.Hdr.Name, Algorithm: key.Algorithm,
		Inception:  uint32(time.Now().AddDate(-1, 0, 0).Unix()),
		Expiration: uint32(time.Now().AddDate(-1, 1, 0).Unix())}
	if err := signature.Sign(private, []dns.RR{rr}); err != nil {
		t.Fatal(err)
	}
	return signature
}

package dnsserver

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// zone holds the records of one zone by owner, under the server's lock.
type zone struct {
	name    string // canonical: lower case, with the final dot
	soa     *dns.SOA
	records map[string][]dns.RR
}

// AddZone makes the server authoritative for a zone, with one name server.
func (s *Server) AddZone(name string) {
	name = dns.CanonicalName(name)
	header := dns.RR_Header{Name: name, Class: dns.ClassINET, Ttl: 60}
	z := &zone{name: name, records: map[string][]dns.RR{}}
	ns := "ns." + name
	soaHeader, nsHeader, aHeader := header, header, header
	soaHeader.Rrtype, nsHeader.Rrtype, aHeader.Rrtype = dns.TypeSOA, dns.TypeNS, dns.TypeA
	aHeader.Name = ns
	z.soa = &dns.SOA{Hdr: soaHeader, Ns: ns, Mbox: "hostmaster." + name,
		Serial: 1, Refresh: 60, Retry: 60, Expire: 3600, Minttl: 1}
	z.add(&dns.NS{Hdr: nsHeader, Ns: ns})
	z.add(&dns.A{Hdr: aHeader, A: []byte{127, 0, 0, 1}})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zones[name] = z
}

// Add adds records in the words of a zone file, whatever updates would be
// refused: `_acme-challenge.example.com. 60 IN CNAME example.acme.example.org.`
func (s *Server) Add(lines ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range lines {
		rr, err := dns.NewRR(line)
		if err != nil {
			return fmt.Errorf("adding a DNS record: %w", err)
		}
		z := s.zoneOf(rr.Header().Name)
		if z == nil {
			return fmt.Errorf("adding a DNS record: no zone holds %q", rr.Header().Name)
		}
		z.add(rr)
	}
	return nil
}

// Remove removes every record of a name, such as "www.example.com".
func (s *Server) Remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if z := s.zoneOf(name); z != nil {
		z.remove(name, func(dns.RR) bool { return true })
	}
}

// TXT returns the texts at a name, as an outsider would see them but for
// CNAMEs, which are not followed.
func (s *Server) TXT(name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var texts []string
	if z := s.zoneOf(name); z != nil {
		for _, rr := range z.lookup(name, dns.TypeTXT) {
			texts = append(texts, strings.Join(rr.(*dns.TXT).Txt, ""))
		}
	}
	return texts
}

// zoneOf returns the closest zone that holds a name, or nil.
func (s *Server) zoneOf(name string) *zone {
	name = dns.CanonicalName(name)
	for offset, end := 0, false; !end; offset, end = dns.NextLabel(name, offset) {
		if z := s.zones[name[offset:]]; z != nil {
			return z
		}
	}
	return nil
}

// add adds a record unless it is there.
func (z *zone) add(rr dns.RR) {
	name := dns.CanonicalName(rr.Header().Name)
	for _, old := range z.records[name] {
		if dns.IsDuplicate(old, rr) {
			return
		}
	}
	z.records[name] = append(z.records[name], rr)
}

// remove removes the records of a name that match.
func (z *zone) remove(name string, match func(dns.RR) bool) {
	name = dns.CanonicalName(name)
	var kept []dns.RR
	for _, rr := range z.records[name] {
		if !match(rr) {
			kept = append(kept, rr)
		}
	}
	if len(kept) == 0 {
		delete(z.records, name)
		return
	}
	z.records[name] = kept
}

// lookup returns the records of a name and type.
func (z *zone) lookup(name string, kind uint16) []dns.RR {
	name = dns.CanonicalName(name)
	if name == z.name && kind == dns.TypeSOA {
		return []dns.RR{dns.Copy(z.soa)}
	}
	var found []dns.RR
	for _, rr := range z.records[name] {
		if kind == dns.TypeANY || rr.Header().Rrtype == kind {
			found = append(found, dns.Copy(rr))
		}
	}
	return found
}

// exists reports whether there is anything at a name or below it (RFC 8020).
func (z *zone) exists(name string) bool {
	name = dns.CanonicalName(name)
	if name == z.name {
		return true
	}
	for owner := range z.records {
		if dns.IsSubDomain(name, owner) {
			return true
		}
	}
	return false
}

package dnsserver

import (
	"slices"
	"time"

	"github.com/miekg/dns"
)

// Update is one dynamic update that was asked for.
type Update struct {
	Time    time.Time
	Zone    string
	Changes []string // the update section, a record a line
	Rcode   int      // dns.RcodeSuccess when it was made
}

// Updates returns the updates that were asked for so far, refused ones too.
func (s *Server) Updates() []Update {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.updates)
}

// RefuseUpdates makes the server refuse updates that name a name, or accept
// them again.
func (s *Server) RefuseUpdates(name string, refuse bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused[dns.CanonicalName(name)] = refuse
}

// update carries out a dynamic update and returns the response code.
func (s *Server) update(request *dns.Msg, tsigStatus error) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := Update{Time: time.Now(), Zone: request.Question[0].Name}
	for _, rr := range request.Ns {
		u.Changes = append(u.Changes, rr.String())
	}
	u.Rcode = s.checkUpdate(request, tsigStatus)
	if u.Rcode == dns.RcodeSuccess {
		z := s.zones[dns.CanonicalName(u.Zone)]
		for _, rr := range request.Ns {
			z.apply(rr)
		}
		z.soa.Serial++
	}
	s.updates = append(s.updates, u)
	return u.Rcode
}

func (s *Server) checkUpdate(request *dns.Msg, tsigStatus error) int {
	switch z := s.zones[dns.CanonicalName(request.Question[0].Name)]; {
	case request.IsTsig() == nil:
		return dns.RcodeRefused
	case tsigStatus != nil, z == nil:
		return dns.RcodeNotAuth
	case len(request.Answer) > 0: // prerequisites: nobody here sends them
		return dns.RcodeNotImplemented
	default:
		for _, rr := range request.Ns {
			if !dns.IsSubDomain(z.name, dns.CanonicalName(rr.Header().Name)) {
				return dns.RcodeNotZone
			}
			if s.refused[dns.CanonicalName(rr.Header().Name)] {
				return dns.RcodeRefused
			}
		}
		return dns.RcodeSuccess
	}
}

// apply makes one change; its class says which (RFC 2136, section 2.5).
func (z *zone) apply(change dns.RR) {
	header := change.Header()
	switch header.Class {
	case dns.ClassANY: // remove a name, or its records of a type
		z.remove(header.Name, func(rr dns.RR) bool {
			return header.Rrtype == dns.TypeANY || rr.Header().Rrtype == header.Rrtype
		})
	case dns.ClassNONE: // remove one record
		wanted := dns.Copy(change)
		wanted.Header().Class = dns.ClassINET
		z.remove(header.Name, func(rr dns.RR) bool { return dns.IsDuplicate(rr, wanted) })
	default:
		z.add(change)
	}
}

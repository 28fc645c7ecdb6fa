package dnsserver

import "github.com/miekg/dns"

// FailQueries makes the server answer queries about a name with a response
// code, such as dns.RcodeServerFailure. dns.RcodeSuccess ends it.
func (s *Server) FailQueries(name string, rcode int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing[dns.CanonicalName(name)] = rcode
}

// query fills in the answer to one question, following CNAMEs.
func (s *Server) query(reply *dns.Msg, question dns.Question) {
	const mostCNAMEs = 8
	s.mu.Lock()
	defer s.mu.Unlock()
	name := question.Name
	for range mostCNAMEs {
		if rcode := s.failing[dns.CanonicalName(name)]; rcode != dns.RcodeSuccess {
			reply.Rcode = rcode
			return
		}
		z := s.zoneOf(name)
		if z == nil {
			reply.Rcode = dns.RcodeNameError
			return
		}
		reply.Authoritative = true
		if found := z.lookup(name, question.Qtype); len(found) > 0 {
			reply.Answer = append(reply.Answer, found...)
			return
		}
		aliases := z.lookup(name, dns.TypeCNAME)
		if len(aliases) == 0 {
			if !z.exists(name) {
				reply.Rcode = dns.RcodeNameError
			}
			reply.Ns = []dns.RR{dns.Copy(z.soa)}
			return
		}
		reply.Answer = append(reply.Answer, aliases...)
		name = aliases[0].(*dns.CNAME).Target
	}
	reply.Rcode = dns.RcodeServerFailure // a loop
}

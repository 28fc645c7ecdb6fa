package dns01

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/anycert/anycert/internal/failures"
)

const (
	askTimeout = 5 * time.Second // for one server
	mostCNAMEs = 16
)

// resolver asks DNS servers, in their order, until one answers.
type resolver struct {
	servers []string // host:port
	port    string   // of the zones' own name servers; tests have another than 53
	absent  absences
}

// newResolver makes a resolver of the servers named, or of the system's.
func newResolver(servers []string, port string) (*resolver, error) {
	if len(servers) == 0 {
		const file = "/etc/resolv.conf"
		system, err := dns.ClientConfigFromFile(file)
		if err != nil || len(system.Servers) == 0 {
			return nil, fmt.Errorf("%s names no DNS server: name some as resolvers", file)
		}
		servers = system.Servers
	}
	r := &resolver{port: cmp.Or(port, "53")}
	for _, server := range servers {
		address, err := withPort(server)
		if err != nil {
			return nil, err
		}
		r.servers = append(r.servers, address)
	}
	return r, nil
}

// ask returns the answer of the first server that knows one, that there is no
// such name included.
func (r *resolver) ask(ctx context.Context, name string, kind uint16) (*dns.Msg, error) {
	return r.put(ctx, newQuestion(name, kind))
}

func newQuestion(name string, kind uint16) *dns.Msg {
	question := new(dns.Msg).SetQuestion(dns.Fqdn(name), kind)
	question.SetEdns0(1232, false) // RFC 9715: what no network fragments
	return question
}

func (r *resolver) put(ctx context.Context, question *dns.Msg) (*dns.Msg, error) {
	var last error
	for _, server := range slices.Concat(r.servers, r.servers) {
		reply, err := exchange(ctx, server, question)
		if err == nil {
			r.absent.note(question.Question[0].Name, reply, time.Now())
			return reply, nil
		}
		last = err
		if ctx.Err() != nil {
			break
		}
	}
	asked := question.Question[0]
	return nil, fmt.Errorf("looking up %s %s: %w", dns.TypeToString[asked.Qtype], strings.TrimSuffix(asked.Name, "."), last)
}

// exchange asks one server over UDP, and over TCP where the answer is too long.
func exchange(ctx context.Context, server string, question *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	reply, _, err := (&dns.Client{Net: "udp"}).ExchangeContext(ctx, question, server)
	if err == nil && reply.Truncated {
		reply, _, err = (&dns.Client{Net: "tcp"}).ExchangeContext(ctx, question, server)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("the DNS server %s does not answer: %w", server, err)
	case reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError:
		return nil, &refusal{fmt.Errorf("the DNS server %s answers %s", server, dns.RcodeToString[reply.Rcode]), reply.Rcode}
	}
	return reply, nil
}

// refusal is an answer of a server that will not do what it was asked: it was
// reached, and understood.
type refusal struct {
	error
	rcode int
}

func (e *refusal) Unwrap() error { return e.error }

// follow returns the names that CNAMEs lead to from name, which stands first; those
// that were found together with an error, which is a *chainError where they lead
// nowhere.
func (r *resolver) follow(ctx context.Context, name string) ([]string, error) {
	chain := []string{dns.CanonicalName(name)}
	for {
		last := chain[len(chain)-1]
		reply, err := r.ask(ctx, last, dns.TypeCNAME)
		if err != nil {
			return chain, err
		}
		next := alias(reply, last)
		if next == "" {
			return chain, nil
		}
		loop := slices.Contains(chain, next)
		chain = append(chain, next)
		if loop || len(chain) > mostCNAMEs+1 {
			return chain, &chainError{chain, loop}
		}
	}
}

// wildcard reports whether the CNAME at a name is that of a wildcard, which a name beside it
// has as well. A record at the name itself takes its place (RFC 4592, section 2.2.1).
func (r *resolver) wildcard(ctx context.Context, name, target string) bool {
	beside := "_anycert-" + strings.ToLower(rand.Text()) + "." + parent(name)
	reply, err := r.ask(ctx, beside, dns.TypeCNAME)
	return err == nil && alias(reply, beside) == target
}

// chainError says that CNAMEs lead nowhere.
type chainError struct {
	names []string
	loop  bool
}

func (e *chainError) Error() string {
	last := cname(e.names[len(e.names)-2], e.names[len(e.names)-1])
	if e.loop {
		return fmt.Sprintf("CNAMEs lead from %s in a circle: remove %s", e.names[0], last)
	}
	return fmt.Sprintf("more than %d CNAMEs follow each other from %s: let %s lead to where the last of them does",
		mostCNAMEs, e.names[0], cname(e.names[0], e.names[1]))
}

// cname is the record in the words of a zone file.
func cname(name, target string) string { return name + " IN CNAME " + target }

func alias(reply *dns.Msg, name string) string {
	for _, answer := range reply.Answer {
		if cname, ok := answer.(*dns.CNAME); ok && dns.CanonicalName(cname.Hdr.Name) == name {
			return dns.CanonicalName(cname.Target)
		}
	}
	return ""
}

// zone returns the zone that name lies in: the closest name above it that has a
// SOA record.
func (r *resolver) zone(ctx context.Context, name string) (string, error) {
	for candidate := dns.CanonicalName(name); candidate != "."; candidate = parent(candidate) {
		reply, err := r.ask(ctx, candidate, dns.TypeSOA)
		if err != nil {
			return "", err
		}
		for _, answer := range reply.Answer {
			if soa, ok := answer.(*dns.SOA); ok && dns.CanonicalName(soa.Hdr.Name) == candidate {
				return candidate, nil
			}
		}
	}
	return "", noZoneError{fmt.Errorf("no zone holds %s: no name above it has a SOA record", strings.TrimSuffix(name, "."))}
}

// noZoneError says that there is no zone for a name, by the servers' own answers.
type noZoneError struct{ error }

func parent(name string) string {
	_, rest, _ := strings.Cut(name, ".")
	return cmp.Or(rest, ".")
}

// nameServer is one of the servers of a zone.
type nameServer struct {
	name      string
	addresses []string // host:port
}

// nameServers lists the servers that are authoritative for a zone.
func (r *resolver) nameServers(ctx context.Context, zone string) ([]nameServer, error) {
	reply, err := r.ask(ctx, zone, dns.TypeNS)
	if err != nil {
		return nil, err
	}
	var servers []nameServer
	for _, answer := range reply.Answer {
		if ns, ok := answer.(*dns.NS); ok {
			addresses, err := r.addresses(ctx, ns.Ns)
			if err != nil {
				return nil, err
			}
			servers = append(servers, nameServer{name: strings.TrimSuffix(ns.Ns, "."), addresses: addresses})
		}
	}
	if len(servers) == 0 {
		return nil, fmt.Errorf("the zone %s has no NS record", zone)
	}
	return servers, nil
}

// addresses returns those of IPv4 first: more machines can reach them.
func (r *resolver) addresses(ctx context.Context, host string) ([]string, error) {
	var found []string
	var errs []error
	for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
		reply, err := r.ask(ctx, host, kind)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, answer := range reply.Answer {
			switch rr := answer.(type) {
			case *dns.A:
				found = append(found, net.JoinHostPort(rr.A.String(), r.port))
			case *dns.AAAA:
				found = append(found, net.JoinHostPort(rr.AAAA.String(), r.port))
			}
		}
	}
	if len(found) == 0 {
		return nil, failures.Join(append(errs, fmt.Errorf("the name server %s has no address", host))...)
	}
	return found, nil
}

// texts returns what stands in the TXT records of a name at one server, which is
// asked for what it knows itself.
func texts(ctx context.Context, server, name string, recursive bool) ([]string, error) {
	question := newQuestion(name, dns.TypeTXT)
	question.RecursionDesired = recursive
	reply, err := exchange(ctx, server, question)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, answer := range reply.Answer {
		if txt, ok := answer.(*dns.TXT); ok {
			found = append(found, strings.Join(txt.Txt, ""))
		}
	}
	return found, nil
}

package dns01

import (
	"cmp"
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	directTimeout = 2 * time.Second // for one question to a name server, which is asked twice
	mostCuts      = 12              // between the top and a name
	mostSilent    = 3               // addresses of a zone's servers that are tried for an answer
)

// cut is a zone with its name servers, as the zone above it delegates it.
type cut struct {
	zone    string // with the final dot
	parent  string // the zone above; empty where the delegation was not seen
	hosts   []nameServer
	byChild bool // hosts are what the zone says itself: its server is that of the zone above too
	stuck   bool // nobody answered what lies below: the name's zone may be another
}

// cutOf walks down from the highest zone above name that the resolvers know, by the
// answers of name servers, to the zone that name lies in. It stops where nobody
// answers: then the cut is that of the servers that do not.
func (p *preflight) cutOf(ctx context.Context, r *resolver, name string) (cut, error) {
	here, err := top(ctx, r, name)
	if err != nil {
		return cut{}, err
	}
	for range mostCuts {
		if _, silent := p.silent.Load(here.zone); silent {
			break
		}
		reply, address := authority(ctx, here, name)
		if reply == nil {
			p.silent.Store(here.zone, true)
			break
		}
		if !reply.Authoritative {
			next := referred(reply, here.zone, name)
			here = cut{zone: next, parent: delegator(ctx, address, here.zone, next), hosts: delegated(ctx, r, reply, next)}
			continue
		}
		soa := soaOf(reply)
		if soa == "" { // a CNAME: the zone is that of the name above
			name = parent(name)
			continue
		}
		if soa == here.zone || !dns.IsSubDomain(here.zone, soa) {
			return here, nil
		}
		child, err := direct(ctx, address, soa, dns.TypeNS)
		if err != nil {
			break
		}
		child.Ns = child.Answer
		return cut{zone: soa, parent: here.zone, hosts: delegated(ctx, r, child, soa), byChild: true}, nil
	}
	here.stuck = true
	return here, nil
}

// delegator is the zone in which a server at address has the delegation of a zone: it
// may serve several above it.
func delegator(ctx context.Context, address, known, zone string) string {
	reply, err := direct(ctx, address, parent(zone), dns.TypeSOA)
	if err == nil && reply.Authoritative {
		return cmp.Or(soaOf(reply), known)
	}
	return known
}

// top is the zone to begin with.
func top(ctx context.Context, r *resolver, name string) (cut, error) {
	labels := dns.SplitDomainName(name)
	for i := len(labels) - 1; i >= 0; i-- {
		zone := dns.Fqdn(strings.Join(labels[i:], "."))
		reply, err := r.ask(ctx, zone, dns.TypeNS)
		if err != nil || len(nsOf(reply.Answer, zone)) == 0 {
			continue
		}
		reply.Ns = reply.Answer
		return cut{zone: zone, hosts: delegated(ctx, r, reply, zone), byChild: true}, nil
	}
	return cut{}, errors.New("no name server is known")
}

// authority is the first answer of a zone's servers that is of use: it is
// authoritative, or names the servers of a zone below.
func authority(ctx context.Context, at cut, name string) (reply *dns.Msg, address string) {
	silent := 0
	for _, host := range at.hosts {
		for _, address := range host.addresses {
			reply, err := direct(ctx, address, name, dns.TypeSOA)
			if err == nil && (reply.Authoritative || referred(reply, at.zone, name) != "") {
				return reply, address
			}
			if err != nil && !errors.As(err, new(*refusal)) {
				silent++
			}
			if silent == mostSilent {
				return nil, ""
			}
		}
	}
	return nil, ""
}

// referred is the zone below zone, at or above name, that a reply leads to.
func referred(reply *dns.Msg, zone, name string) string {
	for _, rr := range reply.Ns {
		owner := dns.CanonicalName(rr.Header().Name)
		if rr.Header().Rrtype == dns.TypeNS && owner != zone && dns.IsSubDomain(zone, owner) && dns.IsSubDomain(owner, name) {
			return owner
		}
	}
	return ""
}

// soaOf is the zone that an authoritative reply speaks of.
func soaOf(reply *dns.Msg) string {
	for _, rr := range slices.Concat(reply.Answer, reply.Ns) {
		if rr.Header().Rrtype == dns.TypeSOA {
			return dns.CanonicalName(rr.Header().Name)
		}
	}
	return ""
}

func nsOf(records []dns.RR, zone string) (names []string) {
	for _, rr := range records {
		if ns, ok := rr.(*dns.NS); ok && dns.CanonicalName(ns.Hdr.Name) == zone {
			names = append(names, strings.TrimSuffix(dns.CanonicalName(ns.Ns), "."))
		}
	}
	slices.Sort(names)
	return names
}

// delegated are the servers that a reply names for zone, with the addresses beside
// them, or those that the resolvers know.
func delegated(ctx context.Context, r *resolver, reply *dns.Msg, zone string) (hosts []nameServer) {
	for _, name := range nsOf(reply.Ns, zone) {
		host := nameServer{name: name}
		for _, rr := range reply.Extra {
			switch glue := rr.(type) {
			case *dns.A:
				if dns.CanonicalName(glue.Hdr.Name) == name+"." {
					host.addresses = append(host.addresses, net.JoinHostPort(glue.A.String(), r.port))
				}
			case *dns.AAAA:
				if dns.CanonicalName(glue.Hdr.Name) == name+"." {
					host.addresses = append(host.addresses, net.JoinHostPort(glue.AAAA.String(), r.port))
				}
			}
		}
		if len(host.addresses) == 0 {
			host.addresses, _ = r.addresses(ctx, name) // without one it does not answer, which is told
		}
		hosts = append(hosts, host)
	}
	return hosts
}

// direct asks a name server for what it knows itself.
func direct(ctx context.Context, address, name string, kind uint16) (reply *dns.Msg, err error) {
	question := newQuestion(name, kind)
	question.RecursionDesired = false
	for range 2 { // a datagram may be lost
		ctx, cancel := context.WithTimeout(ctx, directTimeout)
		reply, err = exchange(ctx, address, question)
		cancel()
		if err == nil || errors.As(err, new(*refusal)) {
			return reply, err
		}
	}
	return nil, err
}

// serverState is what one name server says of its zone.
type serverState struct {
	nameServer
	address string // that answered; empty for none
	rcode   int
	soa     *dns.SOA // nil unless it serves the zone
	ns      []string
}

func (s serverState) silent() bool { return s.address == "" }
func (s serverState) serves() bool { return s.soa != nil }

// fault tells what a server does instead of serving its zone.
func (s serverState) fault() string {
	if s.silent() {
		return "does not answer"
	}
	if s.rcode != dns.RcodeSuccess {
		return "answers " + dns.RcodeToString[s.rcode]
	}
	return "does not answer with authority"
}

// statesOf asks all servers of a zone at once.
func statesOf(ctx context.Context, at cut) []serverState {
	states := make([]serverState, len(at.hosts))
	var group sync.WaitGroup
	for i, host := range at.hosts {
		group.Go(func() { states[i] = stateOf(ctx, host, at.zone) })
	}
	group.Wait()
	return states
}

func stateOf(ctx context.Context, host nameServer, zone string) serverState {
	state := serverState{nameServer: host}
	for _, address := range host.addresses {
		reply, err := direct(ctx, address, zone, dns.TypeSOA)
		refused := new(refusal)
		switch {
		case errors.As(err, &refused):
			state.address, state.rcode = address, refused.rcode
			return state
		case err != nil:
			continue
		}
		state.address, state.rcode = address, reply.Rcode
		for _, rr := range reply.Answer {
			if soa, ok := rr.(*dns.SOA); ok && reply.Authoritative && dns.CanonicalName(soa.Hdr.Name) == zone {
				state.soa = soa
			}
		}
		if state.serves() {
			if reply, err := direct(ctx, address, zone, dns.TypeNS); err == nil {
				state.ns = nsOf(reply.Answer, zone)
			}
		}
		return state
	}
	return state
}

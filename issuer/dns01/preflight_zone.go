package dns01

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/miekg/dns"
)

// zoneView is a zone as its own name servers show it, and how that differs from what
// the zone above says of it and from what the resolvers show.
type zoneView struct {
	cut
	servers []serverState
	inside  string // what the resolvers show instead; empty: the same

	unseen atomic.Bool // what was written inside was not seen by any server
	blamed atomic.Bool // servers that are behind were told of with a trial record
}

// lookAtZone asks the name servers of the place's zone.
func (p *preflight) lookAtZone(ctx context.Context, s *subject) {
	r := s.place.by.resolver
	view := p.view(ctx, r, s.place.name)
	if view == nil {
		s.warns("the name servers of the zone of %s could not be found out from here, so only the resolvers' answers were looked at", s.place.name)
		return
	}
	s.view = view
	if own := dns.CanonicalName(challengeLabel + s.domain); own != s.place.name {
		p.compareAlias(ctx, s, r, own)
	}
}

// view is the zone of name; nil where it is not known. Where the way to it ends at
// servers that do not serve their own zone, it is that one.
func (p *preflight) view(ctx context.Context, r *resolver, name string) *zoneView {
	found, err := p.cutOf(ctx, r, name)
	if err != nil {
		return nil
	}
	return p.zones.get(fmt.Sprint(r.servers, found.zone, found.stuck), func() *zoneView {
		view := &zoneView{cut: found, servers: statesOf(ctx, found)}
		if found.stuck && view.newest() != nil {
			return nil
		}
		if slices.ContainsFunc(view.servers, serverState.serves) {
			view.inside = insideOf(ctx, r, name, view)
		}
		return view
	})
}

// judge tells what is wrong with the zone of a place that can be resolved from here all
// the same.
func (s *subject) judge() {
	view := s.view
	if view == nil {
		return
	}
	if view.newest() == nil {
		s.warns("no name server of the zone %s answers for it here (%s), while the resolvers do: if port 53 is closed to them from here, write propagation: recursive",
			view.zone, view.faults())
		return
	}
	for _, server := range view.servers {
		if !server.serves() {
			s.warns("the name server %s %s for the zone %s, which %s delegates to it: if that lasts, load the zone there, or remove %s",
				server.name, server.fault(), view.zone, view.above(), view.record(server.name))
		}
	}
	s.judgeSets(view)
	if view.inside != "" {
		s.findings = append(s.findings, Finding{Domain: s.domain, Text: view.inside, Blocks: view.unseen.Load()})
	}
}

// judgeSets compares what the servers of one zone say of it.
func (s *subject) judgeSets(view *zoneView) {
	newest, oldest := view.newest(), view.oldest()
	if !view.blamed.Load() && oldest.soa.Serial != newest.soa.Serial {
		s.warns("the name server %s has serial %d of the zone %s where %s has %d: if it stays behind, let it transfer the zone, or remove %s",
			oldest.name, oldest.soa.Serial, view.zone, newest.name, newest.soa.Serial, view.record(oldest.name))
	}
	if view.byChild {
		return
	}
	for _, name := range newest.ns {
		if !slices.ContainsFunc(view.servers, func(server serverState) bool { return server.name == name }) {
			s.warns("the zone %s names the name server %s, which %s does not delegate it to: add %s there, or remove it from the zone",
				view.zone, name, view.above(), view.record(name))
		}
	}
}

// record is an NS record of the zone.
func (v *zoneView) record(server string) string { return v.zone + " IN NS " + server + "." }

func (c cut) above() string {
	if c.parent == "" {
		return "the zone above"
	}
	return "the zone " + c.parent
}

// newest and oldest are servers that have the highest and the lowest serial, in the
// arithmetic of RFC 1982; nil where none serves the zone.
func (v *zoneView) newest() *serverState { return v.extreme(1) }
func (v *zoneView) oldest() *serverState { return v.extreme(-1) }

func (v *zoneView) extreme(sign int32) (found *serverState) {
	for i, server := range v.servers {
		if server.serves() && (found == nil || int32(server.soa.Serial-found.soa.Serial)*sign > 0) {
			found = &v.servers[i]
		}
	}
	return found
}

// insideOf tells how the resolvers' view of a zone is another than its name servers':
// whoever stands elsewhere, such as the CA, sees the name servers'.
func insideOf(ctx context.Context, r *resolver, name string, view *zoneView) string {
	zone, err := r.zone(ctx, name)
	if err != nil {
		return ""
	}
	shown, err := r.ask(ctx, zone, dns.TypeNS)
	if err != nil {
		return ""
	}
	names := nsOf(shown.Answer, zone)
	switch {
	case zone != view.zone && dns.IsSubDomain(view.zone, zone):
		record := zone + " IN NS " + strings.Join(names, ". and ") + "."
		return fmt.Sprintf("the resolvers show a zone %s that the name servers of %s do not delegate, so that nobody outside sees it: add %s to %s",
			zone, view.zone, record, view.zone)
	case zone != view.zone, len(names) > 0 && !slices.ContainsFunc(names, view.names):
		return fmt.Sprintf("the resolvers show %s with the name server %s, the rest of the world with %s, so that records written to the first are not seen by the CA: let the DNS provider write to the second, or add %s there, into a zone that both show",
			zone, strings.Join(names, ", "), view.list(), cname(name, "NAME"))
	}
	return ""
}

// names reports whether the zone is delegated to a server, or says so itself.
func (v *zoneView) names(name string) bool {
	return slices.ContainsFunc(v.servers, func(server serverState) bool {
		return server.name == name || slices.Contains(server.ns, name)
	})
}

func (v *zoneView) list() string {
	var names []string
	for _, server := range v.servers {
		names = append(names, server.name)
	}
	return strings.Join(names, ", ")
}

// compareAlias asks the name servers of the domain for the CNAME that the resolvers
// show at its challenge name.
func (p *preflight) compareAlias(ctx context.Context, s *subject, r *resolver, own string) {
	view := p.view(ctx, r, own)
	if view == nil {
		return
	}
	shown, err := r.ask(ctx, own, dns.TypeCNAME)
	if err != nil {
		return
	}
	want := alias(shown, own)
	for _, server := range view.servers {
		if !server.serves() {
			continue
		}
		reply, err := direct(ctx, server.address, own, dns.TypeCNAME)
		if err == nil && reply.Authoritative && alias(reply, own) != want {
			s.warns("the name server %s does not show %s as the resolvers do: let it transfer the zone %s, or remove %s",
				server.name, cname(own, want), view.zone, view.record(server.name))
		}
	}
}

// explain tells why a name could not be looked up.
func (p *preflight) explain(ctx context.Context, s *subject, failure error) {
	near := p.near(s.domain)
	name := dns.CanonicalName(challengeLabel + s.domain)
	refused := new(refusal)
	if !errors.As(failure, &refused) || refused.rcode != dns.RcodeServerFailure {
		s.warns("where the challenge record belongs could not be looked up: %v", errors.Unwrap(failure))
		return
	}
	if near.bogus(ctx, name) {
		zone := p.bogusZone(ctx, near, name)
		s.blocks("the DNSSEC signatures of %s do not hold: the resolvers answer SERVFAIL, and answer once told not to check: sign the zone anew, or remove the DS records (%s IN DS …) from the zone above", zone, zone)
		return
	}
	if p.isAuthoritative(s.domain) {
		if view := p.view(ctx, near, name); view != nil && view.dead() {
			s.blocks("no name server of the zone %s serves it (%s): load the zone there, or change %s in %s",
				view.zone, view.faults(), view.record(view.servers[0].name), view.above())
			return
		}
	}
	s.warns("the resolvers answer SERVFAIL for %s, so where the record belongs is not known: ask the name servers of its zone", name)
}

// near is the resolver that is asked about a domain.
func (p *preflight) near(domain string) *resolver { return p.nearest(domain).resolver }

func (p *preflight) isAuthoritative(domain string) bool {
	return p.nearest(domain).config.Propagation.authoritative()
}

// dead reports whether all servers were reached and none serves the zone.
func (v *zoneView) dead() bool {
	return len(v.servers) > 0 && !slices.ContainsFunc(v.servers, func(server serverState) bool {
		return server.silent() || server.serves()
	})
}

func (v *zoneView) faults() string {
	const most = 3 // com has thirteen
	var told []string
	for _, server := range v.servers[:min(len(v.servers), most)] {
		told = append(told, server.name+" "+server.fault())
	}
	if more := len(v.servers) - most; more > 0 {
		told = append(told, fmt.Sprintf("and %d more like these", more))
	}
	return strings.Join(told, ", ")
}

package dns01

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/failures"
	"github.com/anycert/anycert/issuer/internal/redact"
)

// Challenge is what one domain asks for.
type Challenge struct {
	Domain         string // without "*."
	Token, KeyAuth string // RFC 8555, section 8.1
}

// value is what the TXT record holds. (lego's function for it looks up CNAMEs.)
func (c Challenge) value() string {
	sum := sha256.Sum256([]byte(c.KeyAuth))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Env is what a Solver is given beside its configuration.
type Env struct {
	Credential func(anycert.Reference) anycert.Credential
	Locks      *Locks
	// Propagation is for providers that name none.
	Propagation Propagation
	// Port is that of the zones' name servers. Default: 53; an NS record names none,
	// and tests cannot have that one.
	Port string
}

// Solver writes the records of one order. It is made for each order, so that
// credentials are read anew.
type Solver struct {
	locks     *Locks
	providers []*opened
}

// opened is a provider ready for use.
type opened struct {
	backend
	config   Provider
	resolver *resolver
	refs     []anycert.Credential
	redact   redact.Redactor
}

// Open reads the credentials and makes the providers. Some providers ask the
// network for that; none is asked to write.
func (c Config) Open(ctx context.Context, env Env) (*Solver, error) {
	Silence()
	s := &Solver{locks: env.Locks}
	for _, provider := range c {
		o, err := provider.open(ctx, env)
		if err != nil {
			return nil, fmt.Errorf("DNS provider %s: %w", provider.Provider, err)
		}
		s.providers = append(s.providers, o)
	}
	return s, nil
}

func (p Provider) open(ctx context.Context, env Env) (*opened, error) {
	spec, ok := find(p.Provider)
	if !ok {
		return nil, errors.New("it is not in this build")
	}
	p.Propagation = cmp.Or(p.Propagation, env.Propagation, Authoritative)
	resolver, err := newResolver(p.Resolvers, env.Port)
	if err != nil {
		return nil, err
	}
	v, err := spec.read(ctx, p.Settings, env.Credential)
	if err != nil {
		return nil, err
	}
	v.resolvers, v.locks, v.propagation = resolver, env.Locks, p.Propagation
	o := &opened{config: p, resolver: resolver, refs: v.refs, redact: redact.New(v.secrets...)}
	if o.backend, err = spec.build(v); err != nil {
		return nil, o.redact.Error(err)
	}
	return o, v.err
}

// Look tells which domains cannot be proven from here because their challenge
// record is somebody else's: a *ForeignError for each, joined. What cannot be
// looked up is no reason to refuse.
func (s *Solver) Look(ctx context.Context, domains []string) error {
	_, errs := s.places(ctx, domains)
	var refusals []error
	for _, err := range errs {
		if errors.As(err, new(*ForeignError)) {
			refusals = append(refusals, err)
		}
	}
	return failures.Join(refusals...)
}

// places finds out for each domain, "*." left out, where its record belongs, or
// what is wrong with it, in the order of domains.
func (s *Solver) places(ctx context.Context, domains []string) (map[string]place, []error) {
	bases := bases(domains)
	found, errs := make([]place, len(bases)), make([]error, len(bases))
	var group errgroup.Group
	group.SetLimit(namesAtOnce)
	for i, base := range bases {
		group.Go(func() error {
			found[i], errs[i] = s.place(ctx, base)
			return nil
		})
	}
	_ = group.Wait()
	places := map[string]place{}
	for i, base := range bases {
		places[base] = found[i]
	}
	return places, errs
}

// place is where the record of a domain is written, and by whom.
type place struct {
	name string
	by   *opened
	// hides says that a wildcard CNAME answers for the name until a record is there.
	hides bool
}

func (s *Solver) place(ctx context.Context, domain string) (place, error) {
	name := dns.CanonicalName(challengeLabel + domain)
	near := s.nearest(domain)
	chain, err := near.resolver.follow(ctx, name)
	if len(chain) > 1 && near.resolver.wildcard(ctx, name, chain[1]) {
		if by := s.route(name); by != nil {
			return place{name: name, by: by, hides: true}, nil
		}
	}
	target := chain[len(chain)-1]
	if target != name {
		if err := foreign(domain, chain); err != nil {
			return place{}, err
		}
	}
	if err != nil {
		return place{}, fmt.Errorf("%s: %w", domain, err)
	}
	by := s.route(target)
	switch {
	case by == nil && target == name:
		return place{}, &noProviderError{domain}
	case by == nil:
		return place{}, &ForeignError{Domain: domain, Target: target, Via: chain[1], Remedy: "remove the record, or add the zone it leads to under dns"}
	}
	return place{name: target, by: by}, nil
}

// nearest is the provider whose resolvers are asked about a domain.
func (s *Solver) nearest(domain string) *opened {
	return cmp.Or(s.route(dns.CanonicalName(challengeLabel+domain)), s.providers[0])
}

// noProviderError says that nobody here writes the zone of a domain.
type noProviderError struct{ domain string }

func (e *noProviderError) Error() string { return e.domain + " " + e.sentence() }

func (e *noProviderError) sentence() string {
	return "lies in no zone of the issuer's DNS providers: add the zone to one of them"
}

// route returns the provider with the longest zone that holds name, or nil.
func (s *Solver) route(name string) *opened {
	var best *opened
	length := -1
	for _, o := range s.providers {
		if len(o.config.Zones) == 0 && length < 0 {
			best, length = o, 0
		}
		for _, zone := range o.config.Zones {
			if n := dns.CountLabel(zone); dns.IsSubDomain(dns.Fqdn(zone), name) && n > length {
				best, length = o, n
			}
		}
	}
	return best
}

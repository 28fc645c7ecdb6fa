package dns01

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	legodns01 "github.com/go-acme/lego/v4/challenge/dns01"
	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/issuer/internal/failures"
	"github.com/anycert/anycert/issuer/internal/redact"
)

const (
	// namesAtOnce bounds the names of one order that are worked at together.
	namesAtOnce = 8
	// cleanUpTime is what cleaning up may take, also after the order's context
	// has ended.
	cleanUpTime = time.Minute
)

// Challenge is what one domain asks for.
type Challenge struct {
	Domain         string // without "*."
	Token, KeyAuth string // RFC 8555, section 8.1
}

// value is what the TXT record holds.
func (c Challenge) value() string {
	return legodns01.GetChallengeInfo(c.Domain, c.KeyAuth).Value
}

// Env is what a Solver is given beside its configuration.
type Env struct {
	Credential func(anycert.Reference) anycert.Credential
	Locks      *Locks
}

// Solver writes the records of one order. It is made for each order, so that
// credentials are read anew.
type Solver struct {
	locks     *Locks
	providers []*opened
}

// opened is a provider ready for use.
type opened struct {
	Provider
	backend
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
	resolver, err := newResolver(p.Resolvers)
	if err != nil {
		return nil, err
	}
	v, err := spec.read(ctx, p.Settings, env.Credential)
	if err != nil {
		return nil, err
	}
	v.resolvers, v.locks = resolver, env.Locks
	o := &opened{Provider: p, resolver: resolver, refs: v.refs, redact: redact.New(v.secrets...)}
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
	var bases []string
	for _, domain := range domains {
		if base := strings.TrimPrefix(domain, "*."); !slices.Contains(bases, base) {
			bases = append(bases, base)
		}
	}
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
}

func (s *Solver) place(ctx context.Context, domain string) (place, error) {
	name := dns.CanonicalName("_acme-challenge." + domain)
	near := s.route(name)
	if near == nil {
		near = s.providers[0]
	}
	target, err := near.resolver.follow(ctx, name)
	if err != nil {
		return place{}, err
	}
	if target != name {
		if err := foreign(domain, target); err != nil {
			return place{}, err
		}
	}
	by := s.route(target)
	switch {
	case by == nil && target == name:
		return place{}, fmt.Errorf("%s lies in no zone of the issuer's DNS providers: add the zone to one of them", domain)
	case by == nil:
		return place{}, &ForeignError{Domain: domain, Target: target, Remedy: "remove the record, or add the zone it leads to under dns"}
	}
	return place{name: target, by: by}, nil
}

// route returns the provider with the longest zone that holds name, or nil.
func (s *Solver) route(name string) *opened {
	var best *opened
	length := -1
	for _, o := range s.providers {
		if len(o.Zones) == 0 && length < 0 {
			best, length = o, 0
		}
		for _, zone := range o.Zones {
			if n := dns.CountLabel(zone); dns.IsSubDomain(dns.Fqdn(zone), name) && n > length {
				best, length = o, n
			}
		}
	}
	return best
}

// batch are challenges whose records stand at one name.
type batch struct {
	place
	challenges []Challenge
	indexes    []int // of the challenges, as accept wants them
}

// Solve writes the records of challenges, waits until they are seen, calls accept
// for each with its index, and removes the records when accept has returned,
// whatever it returned. accept is called by several goroutines at once. resumed
// says that an earlier process may have written the records already.
//
// Each name goes its own way: one that fails leaves the others to be proven, which
// the CA remembers for the next attempt. The error joins what failed, each with
// its domain.
func (s *Solver) Solve(ctx context.Context, challenges []Challenge, resumed bool, accept func(ctx context.Context, index int) error) error {
	batches, err := s.batches(ctx, challenges)
	if err != nil {
		return err
	}
	var lines [][]batch // each line is worked off in order
	queues := map[*opened][]batch{}
	for _, b := range batches {
		if _, is := b.by.sequential(); is {
			queues[b.by] = append(queues[b.by], b.split()...)
			continue
		}
		lines = append(lines, []batch{b})
	}
	for _, queue := range queues {
		lines = append(lines, queue)
	}
	errs := make([]error, len(lines))
	var group errgroup.Group
	group.SetLimit(namesAtOnce)
	for i, line := range lines {
		group.Go(func() error {
			errs[i] = s.solveLine(ctx, line, resumed, accept)
			return nil
		})
	}
	_ = group.Wait()
	return failures.Join(errs...)
}

// split makes a batch of each challenge, for providers that hold one value.
func (b batch) split() (each []batch) {
	for i := range b.challenges {
		each = append(each, batch{place: b.place, challenges: b.challenges[i : i+1], indexes: b.indexes[i : i+1]})
	}
	return each
}

// batches finds out where the records belong.
func (s *Solver) batches(ctx context.Context, challenges []Challenge) ([]batch, error) {
	var domains []string
	for _, challenge := range challenges {
		domains = append(domains, challenge.Domain)
	}
	places, errs := s.places(ctx, domains)
	if err := failures.Join(errs...); err != nil {
		return nil, err
	}
	var batches []batch
	for i, challenge := range challenges {
		at := places[challenge.Domain]
		n := slices.IndexFunc(batches, func(b batch) bool { return b.place == at })
		if n < 0 {
			n = len(batches)
			batches = append(batches, batch{place: at})
		}
		batches[n].challenges = append(batches[n].challenges, challenge)
		batches[n].indexes = append(batches[n].indexes, i)
	}
	return batches, nil
}

func (s *Solver) solveLine(ctx context.Context, line []batch, resumed bool, accept func(context.Context, int) error) error {
	var errs []error
	for i, b := range line {
		if pause, _ := b.by.sequential(); i > 0 && pause > 0 {
			if err := sleep(ctx, pause); err != nil {
				return failures.Join(append(errs, err)...)
			}
		}
		errs = append(errs, s.solve(ctx, b, resumed, accept))
	}
	return failures.Join(errs...)
}

// solve works at one name.
func (s *Solver) solve(ctx context.Context, b batch, resumed bool, accept func(context.Context, int) error) error {
	unlock, err := s.locks.lock(ctx, b.name)
	if err != nil {
		return err
	}
	defer unlock()
	defer b.cleanUp(ctx)
	if err := b.present(ctx, resumed); err != nil {
		return fmt.Errorf("%s: writing the record %s with DNS provider %s: %w", b.challenges[0].Domain, strings.TrimSuffix(b.name, "."), b.by.Provider.Provider, err)
	}
	if err := b.watch().wait(ctx, b.name, b.values()); err != nil {
		return fmt.Errorf("%s: %w", b.challenges[0].Domain, err)
	}
	errs := make([]error, len(b.indexes))
	var group errgroup.Group
	for i, index := range b.indexes {
		group.Go(func() error {
			errs[i] = accept(ctx, index)
			return nil
		})
	}
	_ = group.Wait()
	return failures.Join(errs...)
}

func (b batch) values() (values []string) {
	for _, challenge := range b.challenges {
		values = append(values, challenge.value())
	}
	return values
}

func (b batch) watch() watch {
	timeout, interval := b.by.pace()
	who := b.by.Propagation
	if who == "" {
		who = Authoritative
	}
	return watch{resolver: b.by.resolver, who: who, timeout: timeout, interval: interval}
}

// present writes the values. Those that an earlier process wrote are left: some
// providers refuse to write what is there.
func (b batch) present(ctx context.Context, resumed bool) error {
	if w := b.watch(); resumed && w.who != Unchecked && w.seen(ctx, b.name, b.values()) == nil {
		return nil
	}
	for _, challenge := range b.challenges {
		if err := b.by.present(ctx, record{Challenge: challenge, name: b.name}); err != nil {
			for _, credential := range b.by.refs {
				credential.Refused() // if that was the reason, the next attempt reads them anew
			}
			return b.by.redact.Error(err)
		}
	}
	return nil
}

// cleanUp removes the values. A record that stays behind does no harm, and the
// order is none the worse for it, so failures are not told.
func (b batch) cleanUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
	defer cancel()
	for _, challenge := range b.challenges {
		_ = b.by.cleanUp(ctx, record{Challenge: challenge, name: b.name})
	}
}

package config

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/config/strict"
	"github.com/anycert/anycert/issuer"
	"github.com/anycert/anycert/issuer/upstream"
	"github.com/anycert/anycert/reconcile"
)

// Certificate is what is declared under a name.
func (c *Config) Certificate(name string) (anycert.Certificate, bool) {
	for _, certificate := range c.declared() {
		if certificate.Name == name {
			return certificate, true
		}
	}
	return anycert.Certificate{}, false
}

// Renewal tells when an order would be made for a certificate if a person had put leaf
// into the store, and why: at now exactly when leaf is not what is declared. It is zero
// where no order ever is. Nobody is asked.
func (c *Config) Renewal(certificate anycert.Certificate, leaf *x509.Certificate, now time.Time) anycert.Renewal {
	orderer, err := issuer.New(issuer.Options{Issuers: c.orderers()})
	if err != nil || !slices.ContainsFunc(c.orderers(), func(o issuer.Config) bool { return o.Name == certificate.Issuer }) {
		return anycert.Renewal{}
	}
	return orderer.Renewal(certificate, &anycert.Entry{Name: certificate.Name, Leaf: leaf}, now)
}

// orderers are the issuers of type acme.
func (c *Config) orderers() (configs []issuer.Config) {
	for _, declared := range c.Issuers {
		if declared.Orders() {
			configs = append(configs, declared.ACME)
		}
	}
	return configs
}

// openIssuers makes the issuers that are declared, and lists what is wrong with the
// places that certificates come from. It asks nobody.
func (c *Config) openIssuers(options Options, opened opened) (*issuers, []strict.Problem, error) {
	sources, problems := c.openSources(options, opened)
	configs := c.orderers()
	history, _ := opened.store.(anycert.Historian)
	made, err := issuer.New(issuer.Options{
		Issuers:    configs,
		Store:      opened.store,
		Records:    opened.records,
		History:    history,
		Credential: opened.credentials,
		UserAgent:  options.userAgent(),
		At:         options.At,
	})
	if err != nil {
		return nil, nil, c.in(err)
	}
	return &issuers{
		certificates: c.declared(),
		acme:         made,
		orders:       len(configs) > 0,
		upstream:     upstream.New(upstream.Options{Sources: sources, Store: opened.store}),
		sources:      sources,
	}, problems, nil
}

func (c *Config) openSources(options Options, opened opened) (map[string]anycert.Source, []strict.Problem) {
	sources := map[string]anycert.Source{}
	var problems []strict.Problem
	for i, declared := range c.Issuers {
		if declared.source == nil {
			continue
		}
		source, err := declared.source.OpenSource(anycert.SinkEnv{
			Name:       declared.Name(),
			Owner:      c.Owner,
			UserAgent:  options.userAgent(),
			Credential: opened.credentials,
		})
		if err != nil {
			path := fmt.Sprintf("issuers[%d].config", i)
			problems = append(problems, c.root.Problem(path, fmt.Sprintf("issuer %q: %v", declared.Name(), err)))
			continue
		}
		sources[declared.Name()] = source
	}
	return sources, problems
}

// circles tells of each place that a certificate comes from and that a sink writes to:
// what we put there would come back as news.
func (c *Config) circles(sources map[string]anycert.Source, agents []reconcile.Agent) (problems []strict.Problem) {
	from := map[string]anycert.Target{} // by key
	at := map[string]int{}
	for i, declared := range c.Issuers {
		source, ok := sources[declared.Name()]
		if !ok {
			continue
		}
		for _, certificate := range c.Certificates {
			place, err := source.Place(certificate.Name)
			if err != nil || certificate.Issuer.first() != declared.Name() {
				continue
			}
			from[place.Key], at[place.Key] = place, i
		}
	}
	if len(from) == 0 {
		return nil
	}
	for _, agent := range agents {
		for _, certificate := range agent.Certificates {
			targets, _ := agent.Sink.Targets(certificate.Name, certificate.Domains) // openSinks has told what is wrong
			for _, target := range targets {
				place, ok := from[target.Key]
				if !ok {
					continue
				}
				problems = append(problems, c.root.Problem(fmt.Sprintf("issuers[%d].config", at[target.Key]),
					fmt.Sprintf("certificate %s comes from %s, where sink %s puts certificate %s: it would come from itself, so give it an issuer of type acme, or take that place from the sink",
						place.Certificate, place.Label, agent.Name, certificate.Name)))
			}
		}
	}
	return problems
}

// issuers is one anycert.Issuer out of those of both types: whose a certificate is, its
// issuer's name tells.
type issuers struct {
	certificates []anycert.Certificate
	acme         *issuer.Issuer
	orders       bool // one of type acme is declared
	upstream     *upstream.Issuer
	sources      map[string]anycert.Source // of upstream, by the name of the issuer
}

var _ anycert.Issuer = (*issuers)(nil)

func (i *issuers) of(name string) anycert.Issuer {
	if _, ok := i.sources[name]; ok {
		return i.upstream
	}
	return i.acme
}

// Renewal implements [anycert.Issuer].
func (i *issuers) Renewal(certificate anycert.Certificate, entry *anycert.Entry, now time.Time) anycert.Renewal {
	return i.of(certificate.Issuer).Renewal(certificate, entry, now)
}

// Recall implements [anycert.Issuer]. Like Unfinished it needs no right without an issuer
// that makes orders.
func (i *issuers) Recall(ctx context.Context, wanted []anycert.Wanted, ask bool) error {
	if !i.orders {
		return nil
	}
	return i.acme.Recall(ctx, i.ordered(wanted), ask)
}

// Plan implements [anycert.Issuer]. What is only looked at has no limits, takes a
// moment, and comes first.
func (i *issuers) Plan(wanted []anycert.Wanted, now time.Time) []anycert.Slot {
	others := slices.DeleteFunc(slices.Clone(wanted), func(w anycert.Wanted) bool { return i.of(w.Certificate.Issuer) == i.acme })
	return slices.Concat(i.upstream.Plan(others, now), i.acme.Plan(i.ordered(wanted), now))
}

// ordered are those of wanted that an order is made for.
func (i *issuers) ordered(wanted []anycert.Wanted) []anycert.Wanted {
	return slices.DeleteFunc(slices.Clone(wanted), func(w anycert.Wanted) bool { return i.of(w.Certificate.Issuer) != i.acme })
}

// Obtain implements [anycert.Issuer].
func (i *issuers) Obtain(ctx context.Context, certificate anycert.Certificate) (anycert.Entry, error) {
	return i.of(certificate.Issuer).Obtain(ctx, certificate)
}

// Unfinished implements [anycert.Issuer]. Without an issuer that makes orders there are
// none, and no right to list them is needed.
func (i *issuers) Unfinished(ctx context.Context) ([]string, error) {
	if !i.orders {
		return nil, nil
	}
	return i.acme.Unfinished(ctx)
}

// probe tries one of them.
func (i *issuers) probe(ctx context.Context, name string, trial bool) error {
	if _, ok := i.sources[name]; ok {
		return i.upstream.Probe(ctx, name, i.certificates)
	}
	warnings, err := i.acme.Probe(ctx, name, i.certificates, trial)
	switch told := strings.Join(warnings, "; "); {
	case err != nil && told != "":
		return fmt.Errorf("%w; beside that: %s", err, told)
	case err == nil && told != "":
		return Warning(told)
	}
	return err
}

package config

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/config/strict"
	"github.com/anycert/anycert/reconcile"
)

// idle tells of the places under verify at which nobody looks: whoever lists one believes
// that it is looked at. What is suspended counts as what is not, since it will be back.
func (c *Config) idle(agents []reconcile.Agent, roots map[string]*x509.CertPool) (problems []strict.Problem) {
	seen, whole := looked(agents)
	if !whole {
		return nil // a target could not be named, and that is told
	}
	tell := func(path string, i int, why string) {
		problems = append(problems, c.root.Problem(fmt.Sprintf("%s.verify[%d]", path, i), "nobody looks here: "+why))
	}
	for n, certificate := range c.Certificates {
		for i, e := range certificate.Verify {
			if !slices.ContainsFunc(agents, func(a reconcile.Agent) bool {
				return seen[sight{a.Name, certificate.Name, e.endpoint(roots)}]
			}) {
				tell(fmt.Sprintf("certificates[%d]", n), i, c.whyNotOf(certificate, e))
			}
		}
	}
	for n, sink := range c.Sinks {
		for i, e := range sink.Verify {
			if !slices.ContainsFunc(c.Certificates, func(of Certificate) bool {
				return seen[sight{sink.Name, of.Name, e.endpoint(roots)}]
			}) {
				tell(fmt.Sprintf("sinks[%d]", n), i, c.whyNotAt(sink, e))
			}
		}
	}
	return problems
}

// sight is a place that is looked at for a certificate at a sink.
type sight struct {
	sink, certificate string
	at                anycert.Endpoint
}

// looked is everywhere that is looked at; whole tells that each sink named its targets.
func looked(agents []reconcile.Agent) (seen map[sight]bool, whole bool) {
	seen = map[sight]bool{}
	for _, agent := range agents {
		if agent.Endpoints == nil {
			continue
		}
		for _, certificate := range agent.Certificates {
			targets, err := agent.Sink.Targets(certificate.Name, certificate.Domains)
			if err != nil {
				return nil, false
			}
			for _, target := range targets {
				for _, at := range agent.Endpoints(certificate, target) {
					seen[sight{agent.Name, certificate.Name, at}] = true
				}
			}
		}
	}
	return seen, true
}

// whyNotOf says why nobody looks at a place that a certificate lists.
func (c *Config) whyNotOf(certificate Certificate, e Endpoint) string {
	var at []Sink
	for _, sink := range c.Sinks {
		if slices.ContainsFunc(sink.of(c.declared()), func(of anycert.Certificate) bool { return of.Name == certificate.Name }) {
			at = append(at, sink)
		}
	}
	switch {
	case len(at) == 0:
		return "no sink has this certificate, and it is a sink's copy that is compared with what is served: put it into one, or leave this out"
	case !slices.ContainsFunc(at, func(s Sink) bool { return !s.Verify.off() }):
		return "each sink that has this certificate says verify: false: take that away from one, or leave this out"
	}
	return fmt.Sprintf("no sink that has this certificate serves %s: correct the name, or leave this out", e.name())
}

// whyNotAt says why nobody looks at a place that a sink lists.
func (c *Config) whyNotAt(sink Sink, e Endpoint) string {
	var off []string
	for _, declared := range sink.of(c.declared()) {
		for _, certificate := range c.Certificates {
			if certificate.Name == declared.Name && certificate.Verify.off() && anycert.Covers(certificate.Domains, e.name()) {
				off = append(off, certificate.Name)
			}
		}
	}
	if len(off) > 0 {
		return fmt.Sprintf("certificate %s says verify: false: take that away, or leave this out", strings.Join(off, ", "))
	}
	return fmt.Sprintf("this sink has no target that serves %s: correct the name, or leave this out", e.name())
}

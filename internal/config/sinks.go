package config

import (
	"fmt"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/config/strict"
	"github.com/anycert/anycert/reconcile"
)

// openSinks makes every sink and computes its targets: each certificate must have
// some, and no target two certificates.
func (c *Config) openSinks(options Options, credentials func(anycert.Reference) anycert.Credential, certificates []anycert.Certificate) ([]reconcile.Agent, []strict.Problem) {
	opening := opening{Config: c, taken: map[string]claim{}}
	agents := []reconcile.Agent{}
	for i, declared := range c.Sinks {
		path := fmt.Sprintf("sinks[%d]", i)
		sink, err := declared.config.Open(anycert.SinkEnv{
			Name:       declared.Name,
			Owner:      c.Owner,
			UserAgent:  options.userAgent(),
			Credential: credentials,
		})
		if err != nil {
			opening.add(path+".config", "%v", err)
			continue
		}
		agent := reconcile.Agent{
			Name:         declared.Name,
			Type:         declared.Type,
			Sink:         sink,
			Certificates: declared.of(certificates),
			Suspended:    declared.Suspend,
			Canary:       declared.Canary,
		}
		opening.claim(path, agent)
		agents = append(agents, agent)
	}
	return agents, opening.problems
}

// opening is what is known of the sinks that were opened so far.
type opening struct {
	*Config
	taken    map[string]claim // by the key of a target
	problems []strict.Problem
}

// claim says whose a target is.
type claim struct{ sink, certificate string }

func (o *opening) add(path, format string, args ...any) {
	o.problems = append(o.problems, o.root.Problem(path, fmt.Sprintf(format, args...)))
}

func (o *opening) claim(path string, agent reconcile.Agent) {
	for _, certificate := range agent.Certificates {
		targets, err := agent.Sink.Targets(certificate.Name, certificate.Domains)
		if err != nil {
			o.add(path, "certificate %s cannot go to sink %s: %v", certificate.Name, agent.Name, err)
		}
		for _, target := range targets {
			mine := claim{agent.Name, certificate.Name}
			if other, taken := o.taken[target.Key]; taken && other != mine {
				o.add(path, "certificate %s of sink %s goes to %s, where certificate %s of sink %s goes already: one place holds one certificate",
					mine.certificate, mine.sink, target.Label, other.certificate, other.sink)
				continue
			}
			o.taken[target.Key] = mine
		}
	}
}

package config

import (
	"fmt"
	"slices"

	"github.com/anycert/anycert"
)

// Targets lists what a configuration declares, and for each certificate its targets as
// SINK/LABEL. A sink that cannot be made on this machine is told in unknown, and those
// of all others are listed.
func (c *Config) Targets(options Options) (declared []anycert.Certificate, targets map[string][]string, unknown []string) {
	declared, targets = c.declared(), map[string][]string{}
	for _, sink := range c.Sinks {
		opened, err := sink.config.Open(anycert.SinkEnv{Name: sink.Name, Owner: c.Owner, UserAgent: options.userAgent(), Credential: credentials(nil)})
		if err != nil {
			unknown = append(unknown, fmt.Sprintf("the targets of sink %s: %v", sink.Name, err))
			continue
		}
		for _, certificate := range sink.of(declared) {
			found, err := opened.Targets(certificate.Name, certificate.Domains)
			if err != nil {
				unknown = append(unknown, fmt.Sprintf("the targets of certificate %s at sink %s: %v", certificate.Name, sink.Name, err))
			}
			for _, target := range found {
				targets[certificate.Name] = append(targets[certificate.Name], sink.Name+"/"+target.Label)
			}
		}
	}
	for _, list := range targets {
		slices.Sort(list)
	}
	return declared, targets, unknown
}

package config

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/issuer"
	"github.com/anycert/anycert/store"
)

// Probe tries one part of a graph, and changes nothing.
type Probe struct {
	Part string // "store", "issuer letsencrypt", "sink prod"
	Try  func(context.Context) error
}

// Probes lists what can be tried, in the order in which a certificate passes it.
func (g *Graph) Probes() []Probe {
	probes := []Probe{{"store", g.probeStore}}
	if made, ok := g.Issuer.(*issuer.Issuer); ok {
		for _, name := range g.issuers {
			probes = append(probes, Probe{"issuer " + name, func(ctx context.Context) error { return made.Probe(ctx, name) }})
		}
	}
	for _, agent := range g.Agents {
		if prober, ok := agent.Sink.(anycert.Prober); ok && !agent.Suspended {
			probes = append(probes, Probe{"sink " + agent.Name, prober.Probe})
		}
	}
	return probes
}

// probeStore tells which rights are missing for what this configuration does.
func (g *Graph) probeStore(ctx context.Context) error {
	names := make([]string, len(g.Certificates))
	for i, c := range g.Certificates {
		names[i] = c.Name
	}
	vault, ok := g.Store.(*store.Store)
	if !ok {
		_, err := g.Store.Names(ctx)
		return err
	}
	access, err := vault.Probe(ctx, names...)
	if err != nil {
		return err
	}
	return missingRights(access, g.Certificates, g.Issuer != nil)
}

// missingRights compares what a token may do with what the hub has to do: read every
// certificate, and write those that it obtains.
func missingRights(access store.Access, certificates []anycert.Certificate, issues bool) error {
	var missing []string
	for _, c := range certificates {
		rights := access.Certificates[c.Name]
		switch {
		case !rights.Stat:
			missing = append(missing, c.Name+": read its metadata")
		case !rights.Get:
			missing = append(missing, c.Name+": read its data")
		case issues && c.Issuer != "" && !rights.Put:
			missing = append(missing, c.Name+": write it")
		}
	}
	if issues && !access.Records {
		missing = append(missing, "orders and accounts: read, write and delete them")
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return fmt.Errorf("%w: the token's policies do not let it: %s", anycert.ErrForbidden, strings.Join(missing, "; "))
}

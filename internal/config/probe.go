package config

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/issuer"
	"github.com/anycert/anycert/store"
)

// Probe tries one part of a graph, and changes nothing but what Probes says.
type Probe struct {
	Part    string                      // "store", "issuer letsencrypt", "sink prod"
	Try     func(context.Context) error // a Warning where the part can be used all the same
	AtLeast time.Duration               // that Try is to be given; 0: as all others
}

// Warning is about a part that can be used, for now.
type Warning string

func (w Warning) Error() string { return string(w) }

// Probes lists what can be tried, in the order in which a certificate passes it. With
// trial, those of issuers write a TXT record at each challenge name, and remove it.
func (g *Graph) Probes(trial bool) []Probe {
	probes := []Probe{{Part: "store", Try: g.probeStore}}
	if made, ok := g.Issuer.(*issuers); ok {
		for _, name := range g.issuers {
			try := func(ctx context.Context) error { return made.probe(ctx, name, trial) }
			probes = append(probes, Probe{"issuer " + name, try, issuer.ProbeTime(len(g.Certificates))})
		}
	}
	for _, agent := range g.Agents {
		if prober, ok := agent.Sink.(anycert.Prober); ok && !agent.Suspended {
			probes = append(probes, Probe{Part: "sink " + agent.Name, Try: func(ctx context.Context) error { return probeSink(ctx, prober) }})
		}
	}
	return append(probes, g.probeReceivers()...)
}

// probeSink is a Warning where a sink can be used, and something is missing all the same.
func probeSink(ctx context.Context, prober anycert.Prober) error {
	err := prober.Probe(ctx)
	adviser, ok := prober.(anycert.Adviser)
	if err != nil || !ok {
		return err
	}
	advice, err := adviser.Advise(ctx)
	if err == nil && advice != "" {
		return Warning(advice)
	}
	return err
}

// probeStore tells which rights are missing for what this configuration does.
func (g *Graph) probeStore(ctx context.Context) error {
	vault, ok := g.Store.(*store.Store)
	if !ok {
		_, err := g.Store.Names(ctx)
		return err
	}
	access, err := vault.Probe(ctx, g.rights)
	if err != nil {
		return err
	}
	if len(access.Missing) > 0 {
		var lines []string
		for _, right := range access.Missing {
			lines = append(lines, strings.Join(right.Capabilities, ", ")+" on "+right.Path)
		}
		return fmt.Errorf("%w: the token's policies lack %s: `anycert policy --only vault` prints them", anycert.ErrForbidden, strings.Join(lines, "; "))
	}
	return g.circle(ctx, access.Serving)
}

// circle warns when Vault serves a certificate that is kept in it, or one that this
// hub had before: when that has expired, neither can be helped by the other.
func (g *Graph) circle(ctx context.Context, serving *x509.Certificate) error {
	if serving == nil {
		return nil
	}
	for _, c := range g.Certificates {
		if len(anycert.Uncovered(serving.DNSNames, c.Domains)) > 0 {
			continue
		}
		entry, err := g.Store.Stat(ctx, c.Name)
		if err != nil { // there is none yet; else a pass will tell
			continue
		}
		if entry.Leaf.Equal(serving) || bytes.Equal(entry.Leaf.RawIssuer, serving.RawIssuer) {
			return Warning(fmt.Sprintf("Vault serves the certificate %s, which is kept in it, until %s: once it has expired, neither can be helped by the other; let Vault read each new one by itself, or have it served one of another CA (docs/runbook.md)",
				c.Name, serving.NotAfter.UTC().Format(time.RFC3339)))
		}
	}
	return nil
}

package issuer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/issuer/dns01"
)

const (
	// probesAtOnce bounds the certificates that are looked at together, and probeTime
	// what is spent on one of them: most DNS providers show a record within it.
	probesAtOnce = 4
	probeTime    = 2 * time.Minute
)

// ProbeTime is an upper bound on what Probe takes for a number of certificates.
func ProbeTime(certificates int) time.Duration {
	rounds := (certificates + probesAtOnce - 1) / probesAtOnce
	return time.Minute + time.Duration(rounds)*probeTime
}

// Probe tries whether an issuer can be used: its secrets can be read, its DNS
// providers can be made, its CA answers and has the profile, and nothing stands in
// the way of those of certificates that may come from it, by [dns01.Solver.Preflight].
// The error tells everything that does, and warnings what could not be looked up or
// only may. With trial a TXT record is written at each challenge name, looked for and
// removed; nothing else is changed, and no account is made.
func (i *Issuer) Probe(ctx context.Context, name string, certificates []anycert.Certificate, trial bool) (warnings []string, err error) {
	c, ok := i.cas[name]
	if !ok {
		return nil, fmt.Errorf("no issuer is named %s", name)
	}
	if warnings, err = i.probe(ctx, c, certificates, trial); err != nil {
		return warnings, fmt.Errorf("issuer %s: %w", name, err)
	}
	return warnings, nil
}

func (i *Issuer) probe(ctx context.Context, c *ca, certificates []anycert.Certificate, trial bool) (warnings []string, err error) {
	prover, err := i.prover(ctx, c.Config)
	if err != nil {
		return nil, err
	}
	if _, _, err := c.bindingKey(ctx); err != nil {
		return nil, err
	}
	about, err := c.about(ctx)
	if err != nil {
		return nil, err
	}
	if about.Account, err = c.known(ctx); err != nil {
		warnings = append(warnings, fmt.Sprintf("which account CAA records are to permit is not known: %v", err))
	}
	about.Trial = trial
	asked := slices.DeleteFunc(slices.Clone(certificates), func(certificate anycert.Certificate) bool {
		return certificate.Suspended || !slices.Contains(certificate.Issuers(), c.Name)
	})
	found := make([][]dns01.Finding, len(asked))
	var group errgroup.Group
	group.SetLimit(probesAtOnce)
	for n, certificate := range asked {
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, probeTime)
			defer cancel()
			about := about
			about.Domains = certificate.Domains
			found[n] = prover.Preflight(ctx, about)
			return nil
		})
	}
	_ = group.Wait()
	more, err := sentences(asked, found)
	return append(warnings, more...), err
}

// about is what a Preflight is to know of the CA.
func (c *ca) about(ctx context.Context) (dns01.About, error) {
	key, err := newKeyPEM(anycert.EC256) // that the CA never sees: its directory is open to all
	if err != nil {
		return dns01.About{}, err
	}
	s, err := c.open(ctx, account{Key: key})
	if err != nil {
		return dns01.About{}, err
	}
	return dns01.About{CAs: s.core.GetDirectory().Meta.CaaIdentities}, s.checkProfile()
}

// known is the URL of the issuer's account, or empty: none is made.
func (c *ca) known(ctx context.Context) (url string, err error) {
	known, _, err := c.loadAccounts(ctx)
	return known.Accounts[c.directory].URL, err
}

// sentences are what was found, each with the certificates that it is about.
func sentences(certificates []anycert.Certificate, found [][]dns01.Finding) (warnings []string, err error) {
	var all []dns01.Finding // each once
	about := map[dns01.Finding][]string{}
	for n, findings := range found {
		for _, finding := range findings {
			if about[finding] == nil {
				all = append(all, finding)
			}
			about[finding] = append(about[finding], certificates[n].Name)
		}
	}
	var refusals []string
	for _, finding := range all {
		what := "certificate "
		if len(about[finding]) > 1 {
			what = "certificates "
		}
		text := what + strings.Join(about[finding], ", ") + ": " + finding.String()
		if finding.Blocks {
			refusals = append(refusals, text)
		} else {
			warnings = append(warnings, text)
		}
	}
	if len(refusals) > 0 {
		return warnings, errors.New(strings.Join(refusals, "; "))
	}
	return warnings, nil
}

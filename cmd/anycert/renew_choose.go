package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/config"
)

// choose are the certificates that are meant, each of which can be renewed. Of --all
// those are left out that cannot.
func (r *renewal) choose(ctx context.Context, graph *config.Graph, names []string) (chosen []anycert.Certificate, err error) {
	if r.issuer != "" && !slices.Contains(graph.IssuerNames(), r.issuer) {
		return nil, fmt.Errorf("--issuer: there is no issuer %q in the configuration%s", r.issuer, instead(r.issuer, graph.IssuerNames()))
	}
	var known, wrong []string
	for _, c := range graph.Certificates {
		known = append(known, c.Name)
		if !slices.Contains(names, c.Name) && !r.all {
			continue
		}
		if err := graph.CheckRenewable(c); err != nil {
			if !r.all {
				wrong = append(wrong, err.Error())
			}
			continue
		}
		meant, err := r.concerns(ctx, graph.Store, c)
		if err != nil {
			return nil, err
		}
		if meant {
			chosen = append(chosen, c)
		}
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			wrong = append(wrong, fmt.Sprintf("there is no certificate %q in the configuration%s", name, instead(name, known)))
		}
	}
	switch {
	case len(wrong) > 0:
		return nil, errors.New(strings.Join(wrong, "; "))
	case len(chosen) == 0:
		if r.issuer != "" {
			return nil, fmt.Errorf("issuer %s has issued no certificate that could be renewed: what is suspended, or taken from a cluster, is left out", r.issuer)
		}
		return nil, errors.New("no certificate is obtained here that is not suspended")
	}
	return chosen, nil
}

// concerns reports whether --issuer, if it is used, means a certificate. A CA that has
// to be left in a hurry is left by what it has issued, whoever is asked next.
func (r *renewal) concerns(ctx context.Context, store anycert.EntryReader, c anycert.Certificate) (bool, error) {
	issuers := c.Issuers()
	if r.issuer == "" || len(issuers) == 1 || !slices.Contains(issuers, r.issuer) {
		return r.issuer == "" || slices.Contains(issuers, r.issuer), nil
	}
	entry, err := store.Stat(ctx, c.Name)
	switch {
	case errors.Is(err, anycert.ErrNotFound), errors.Is(err, anycert.ErrUnindexed):
	case err != nil:
		return false, fmt.Errorf("--issuer %s: which issuer has issued certificate %s could not be read: %w", r.issuer, c.Name, err)
	case slices.Contains(issuers, entry.Origin.Issuer):
		return entry.Origin.Issuer == r.issuer, nil
	}
	return c.Issuer == r.issuer, nil
}

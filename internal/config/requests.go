package config

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"

	"github.com/anycert/anycert"
)

var _ anycert.Requester = (*issuers)(nil)

// IssuerNames are those of all issuers, in the order of the file.
func (g *Graph) IssuerNames() []string { return slices.Clone(g.issuers) }

// CheckRenewable tells why nobody can ask for another certificate in the place of one,
// or nil.
func (g *Graph) CheckRenewable(certificate anycert.Certificate) error {
	made, ok := g.Issuer.(*issuers)
	switch {
	case certificate.Suspended:
		return fmt.Errorf("certificate %s is suspended: take `suspend: true` from it in the configuration first", certificate.Name)
	case certificate.Issuer == "":
		return fmt.Errorf("certificate %s has no issuer: someone else keeps it, so renew it there, and put it into the store by `anycert import`", certificate.Name)
	case !ok:
		return fmt.Errorf("certificate %s: this configuration has no issuers", certificate.Name)
	}
	return made.orderable(certificate)
}

// orderable refuses what is not ordered but looked for elsewhere.
func (i *issuers) orderable(certificate anycert.Certificate) error {
	if i.of(certificate.Issuer) != i.acme {
		return fmt.Errorf("certificate %s comes from issuer %s, which orders nothing: renew it where that takes it from", certificate.Name, certificate.Issuer)
	}
	return nil
}

// Request implements [anycert.Requester].
func (i *issuers) Request(ctx context.Context, certificate anycert.Certificate, request anycert.Request) (anycert.Request, error) {
	if err := i.orderable(certificate); err != nil {
		return anycert.Request{}, err
	}
	return i.acme.Request(ctx, certificate, request)
}

// Suppose implements [anycert.Requester].
func (i *issuers) Suppose(certificate anycert.Certificate, request anycert.Request) {
	i.acme.Suppose(certificate, request)
}

// Requests implements [anycert.Requester].
func (i *issuers) Requests() map[string]anycert.Request { return i.acme.Requests() }

// Settle implements [anycert.Requester].
func (i *issuers) Settle(ctx context.Context, certificate anycert.Certificate, served bool) (bool, error) {
	return i.acme.Settle(ctx, certificate, served)
}

// Revoke implements [anycert.Requester].
func (i *issuers) Revoke(ctx context.Context, certificate anycert.Certificate, leaf *x509.Certificate, origin anycert.Origin, reason string) error {
	return i.acme.Revoke(ctx, certificate, leaf, origin, reason)
}

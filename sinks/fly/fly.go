// Package fly keeps the certificates of a Fly.io app.
//
// A target is one hostname of one app. Fly.io takes one import for each hostname and
// serves what was imported before anything it issued itself. The sink imports,
// reads, and does nothing else: it removes nothing, asks for no certificate of
// Fly.io's own, and touches no hostname that is not declared.
//
// What can be read back is weak: the end of validity and a name of the issuer, no
// serial number and no fingerprint (Evidence is [anycert.Dates]), and there is no
// place for a mark. Another certificate of the same issuer that ends in the same
// second is not seen; only a TLS handshake with the hostname would tell.
//
// There is no survey in one listing either: the listing of an app does not carry
// the end of validity (fly.CertificateSummary), so a pass is one GET for each
// hostname, paced to the second that Fly.io asks for.
//
// API: https://fly.io/docs/machines/api/certificates-resource/
package fly

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/anycert/anycert"
	fly "github.com/superfly/fly-go"
	"github.com/superfly/fly-go/flaps"
)

// Sink is one Fly.io app. It is safe for concurrent use.
type Sink struct {
	app       string
	host      string // of the API, for the targets' keys
	hostnames []string
	token     anycert.Credential
	reference anycert.Reference // of the token, for errors
	api       *flaps.Client
}

var (
	_ anycert.SinkConfig = (*Config)(nil)
	_ anycert.Sink       = (*Sink)(nil)
	_ anycert.Prober     = (*Sink)(nil)
)

// Targets are the declared hostnames. Each must be covered by the certificate.
func (s *Sink) Targets(certificate string, names []string) ([]anycert.Target, error) {
	if missing := anycert.Uncovered(names, s.hostnames); len(missing) > 0 {
		return nil, fmt.Errorf("fly app %s: certificate %s (%s) does not cover %s: add the names to its domains, or give the hostnames to a sink with a certificate that does",
			s.app, certificate, strings.Join(names, ", "), strings.Join(missing, ", "))
	}
	targets := make([]anycert.Target, 0, len(s.hostnames))
	for _, hostname := range s.hostnames {
		targets = append(targets, anycert.Target{
			Key:         fmt.Sprintf("fly://%s/%s/%s", s.host, s.app, hostname),
			Label:       hostname,
			Certificate: certificate,
		})
	}
	return targets, nil
}

// Observe reads what is imported for one hostname. Fly.io's own certificate does
// not count: a hostname that has no other is not found.
func (s *Sink) Observe(ctx context.Context, target anycert.Target) (anycert.Observed, error) {
	doing := "reading its certificate"
	if err := s.declared(target); err != nil {
		return anycert.Observed{}, s.failed(ctx, target, doing, err)
	}
	answer, err := s.api.GetCertificate(ctx, s.app, target.Label)
	if errors.Is(err, flaps.ErrFlapsNotFound) {
		return s.absent(ctx, target)
	}
	if err != nil {
		return anycert.Observed{}, s.failed(ctx, target, doing, err)
	}
	observed, err := read(target.Label, answer)
	if err != nil {
		return anycert.Observed{}, s.failed(ctx, target, doing, err)
	}
	return observed, nil
}

// absent tells a hostname that the app does not have from an app that is not there:
// both are answered with 404.
func (s *Sink) absent(ctx context.Context, target anycert.Target) (anycert.Observed, error) {
	if err := s.probe(ctx); err != nil {
		return anycert.Observed{}, s.failed(ctx, target, "reading its certificate", err)
	}
	return anycert.Observed{Unmarkable: true}, nil
}

// Push imports the certificate for one hostname. An import replaces the one before
// in one step, so nothing is ever removed first. entry is not left there: Fly.io
// has no place for a mark.
func (s *Sink) Push(ctx context.Context, target anycert.Target, entry anycert.Entry, bundle *anycert.Bundle) error {
	doing := "importing certificate " + entry.Name
	if err := s.declared(target); err != nil {
		return s.failed(ctx, target, doing, err)
	}
	_, err := s.api.CreateCustomCertificate(ctx, s.app, fly.ImportCertificateRequest{
		Hostname:   target.Label,
		Fullchain:  string(bundle.FullChainPEM()),
		PrivateKey: bundle.KeyPEM().Reveal(),
	})
	if err != nil {
		return s.failed(ctx, target, doing, err)
	}
	return nil
}

// Probe tries the token on the app by listing one of its hostnames.
func (s *Sink) Probe(ctx context.Context) error {
	if err := s.probe(ctx); err != nil {
		return s.failed(ctx, anycert.Target{}, "listing its certificates", err)
	}
	return nil
}

func (s *Sink) probe(ctx context.Context) error {
	_, err := s.api.ListCertificates(ctx, s.app, &flaps.ListCertificatesOpts{Limit: 1})
	return err
}

// declared refuses hostnames that the configuration does not name (law 6).
func (s *Sink) declared(target anycert.Target) error {
	if slices.Contains(s.hostnames, target.Label) {
		return nil
	}
	return refused{"the hostname is not declared in the sink's hostnames"}
}

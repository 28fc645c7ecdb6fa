// Package fastly is the sink for custom TLS certificates at Fastly
// (https://www.fastly.com/documentation/reference/api/tls/custom-certs/).
//
// A sink is an account. A target is a domain in a TLS configuration. For each
// declared certificate there is one certificate object in the account, which the
// activations of all its targets point at: one upload serves them all.
//
// What is served is told from serial number, end and names, since Fastly shows no
// more of a certificate: a drift in the chain alone is not seen.
package fastly

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/anycert/anycert"
)

// Sink is one account. It talks to it one call after the other.
type Sink struct {
	api            *api
	owner          string
	host           string
	configurations []string
	domains        []string // empty: the certificate's names
	adopt          []string
}

var (
	_ anycert.SinkConfig    = (*Config)(nil)
	_ anycert.Surveyor      = (*Sink)(nil)
	_ anycert.OrphanLister  = (*Sink)(nil)
	_ anycert.OrphanRemover = (*Sink)(nil)
	_ anycert.Prober        = (*Sink)(nil)
)

// The kinds of deviations.
const (
	DeviationActivation = "activation" // the target's activation is missing, or points elsewhere
	DeviationKey        = "key"        // the certificate's key is gone from the account
)

// place is a domain in a TLS configuration: what a target is.
type place struct{ configuration, domain string }

func (p place) String() string { return p.configuration + "/" + p.domain }

// parsePlace reads what String wrote.
func parsePlace(text string) (place, bool) {
	configuration, domain, ok := strings.Cut(text, "/")
	return place{configuration, domain}, ok && configuration != "" && domain != ""
}

// Targets are the certificate's names, or those of them that the configuration
// lists, in each TLS configuration.
func (s *Sink) Targets(certificate string, names []string) ([]anycert.Target, error) {
	places := s.places(names)
	if len(places) == 0 {
		return nil, fmt.Errorf("none of the domains of this sink (%s) is a name of certificate %s (%s): Fastly activates the names of a certificate as they stand there",
			strings.Join(s.domains, ", "), certificate, strings.Join(names, ", "))
	}
	var targets []anycert.Target
	for _, p := range places {
		targets = append(targets, anycert.Target{
			Key:         "fastly://" + s.host + "/" + p.String(),
			Label:       p.String(),
			Certificate: certificate,
		})
	}
	return targets, nil
}

// places are where a certificate for names belongs.
func (s *Sink) places(names []string) []place {
	var places []place
	for _, configuration := range s.configurations {
		for _, name := range names {
			if len(s.domains) == 0 || slices.Contains(s.domains, name) {
				places = append(places, place{configuration, name})
			}
		}
	}
	return places
}

// placeOf is the place of one of this sink's targets.
func (s *Sink) placeOf(target anycert.Target) (place, error) {
	p, ok := parsePlace(target.Label)
	if !ok || !slices.Contains(s.configurations, p.configuration) {
		return place{}, errors.New("it is no target of this sink: expected CONFIGURATION/DOMAIN")
	}
	return p, nil
}

// Observe reads one target, from a listing of the whole account: Fastly can be
// asked neither for a name of ours nor for what is in the way.
func (s *Sink) Observe(ctx context.Context, target anycert.Target) (anycert.Observed, error) {
	survey, err := s.Survey(ctx)
	if err != nil {
		return anycert.Observed{}, fmt.Errorf("observing %s for certificate %s: %w", target.Label, target.Certificate, err)
	}
	return survey.Observe(ctx, target)
}

// Survey lists the account once. Each of its four listings is read to the end.
func (s *Sink) Survey(ctx context.Context) (anycert.Observer, error) {
	session, err := s.api.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer session.end()
	account, err := session.account()
	if err != nil {
		return nil, err
	}
	return &survey{sink: s, account: account}, nil
}

// survey answers from what the account was.
type survey struct {
	sink    *Sink
	account *account
}

func (s *survey) Observe(ctx context.Context, target anycert.Target) (anycert.Observed, error) {
	p, err := s.sink.placeOf(target)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return anycert.Observed{}, fmt.Errorf("observing %s for certificate %s: %w", target.Label, target.Certificate, err)
	}
	return s.sink.look(s.account, p, target.Certificate).observed(), nil
}

// Probe reads all that a pass reads, and each TLS configuration. Whether the token
// may write only a write can tell.
func (s *Sink) Probe(ctx context.Context) error {
	session, err := s.api.begin(ctx)
	if err != nil {
		return err
	}
	defer session.end()
	for _, id := range s.configurations {
		if err := session.checkConfiguration(id); err != nil {
			return err
		}
	}
	_, err = session.account()
	return err
}

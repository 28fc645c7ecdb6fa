package kubernetes

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/anycert/anycert"
)

// Source reads certificates out of Secrets that somebody else keeps. It is safe for
// concurrent use, and knows no way to write.
type Source struct {
	owner   string // whose copies are not taken
	cluster *cluster
	called  string // the cluster, for people
	place   placeTemplate
}

var _ anycert.Source = (*Source)(nil)

// Place implements [anycert.Source].
func (s *Source) Place(certificate string) (anycert.Target, error) {
	at, err := s.place.address(certificate)
	if err != nil {
		return anycert.Target{}, fmt.Errorf("where certificate %s lies: %w", certificate, err)
	}
	return anycert.Target{
		Key:         s.cluster.key(at),
		Label:       fmt.Sprintf("Secret %s of cluster %s", at, s.called),
		Certificate: certificate,
	}, nil
}

// temporary is the issuer of the certificates that cert-manager makes for the time
// until the real one comes, by a CA that it throws away at once
// (cert-manager.io/issue-temporary-certificate in
// https://cert-manager.io/docs/reference/annotations/).
const temporary = "cert-manager.local"

// Fetch implements [anycert.Source]. Any type of Secret will do: older tools keep
// theirs as Opaque.
func (s *Source) Fetch(ctx context.Context, certificate string) (*anycert.Bundle, error) {
	at, err := s.place.address(certificate)
	if err != nil {
		return nil, fmt.Errorf("where certificate %s lies: %w", certificate, err)
	}
	secret, err := s.cluster.get(ctx, at)
	var gone *missingError
	switch {
	case errors.As(err, &gone), err == nil && secret == nil:
		return nil, &absentError{at, s.called}
	case err != nil:
		return nil, err
	}
	bundle, err := s.bundle(secret)
	if err != nil {
		return nil, fmt.Errorf("reading Secret %s of cluster %s: %w", at, s.called, err)
	}
	return bundle, nil
}

func (s *Source) bundle(secret *corev1.Secret) (*anycert.Bundle, error) {
	if owner := secret.Annotations[annotationOwner]; owner != "" && owner == s.owner {
		return nil, fmt.Errorf("%w: it is a copy that this hub (owner %s) made, so nothing new comes from there: give the certificate an issuer of type acme, or name the Secret that somebody else renews", anycert.ErrRefused, owner)
	}
	for _, field := range []string{certificateKey, privateKey} {
		if len(secret.Data[field]) == 0 {
			return nil, fmt.Errorf("%w: it has no %s: whoever keeps it has not put a certificate there yet, or not with its key", anycert.ErrMalformed, field)
		}
	}
	bundle, err := anycert.ParseBundle(secret.Data[certificateKey], secret.Data[privateKey])
	if err != nil {
		return nil, err
	}
	if bundle.Leaf().Issuer.CommonName == temporary {
		return nil, fmt.Errorf("%w: it is the temporary certificate that cert-manager puts there until the real one is issued: see what it waits for (kubectl -n %s describe certificate)", anycert.ErrRefused, secret.Namespace)
	}
	return bundle, nil
}

// absentError says that nothing is there.
type absentError struct {
	at      address
	cluster string
}

func (e *absentError) Error() string {
	return fmt.Sprintf("cluster %s has no Secret %s: check the name, the namespace and the cluster", e.cluster, e.at)
}

// Is makes it the state that others know, without its words, which speak of the store.
func (e *absentError) Is(target error) bool { return target == anycert.ErrNotFound }

package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/anycert/anycert"
)

// tries bounds how often a look at the store is repeated when somebody else wrote
// there meanwhile.
const tries = 3

func (i *Issuer) obtain(ctx context.Context, certificate anycert.Certificate) (anycert.Entry, error) {
	source, ok := i.sources[certificate.Issuer]
	if !ok {
		return anycert.Entry{}, errors.New("no issuer of this name is configured")
	}
	place, err := source.Place(certificate.Name)
	if err != nil {
		return anycert.Entry{}, err
	}
	bundle, err := i.fetch(ctx, source, certificate)
	if err != nil {
		return anycert.Entry{}, err
	}
	var conflict error
	for range tries {
		current, err := i.current(ctx, certificate.Name)
		if err != nil {
			return anycert.Entry{}, err
		}
		if !newer(bundle, current, certificate.Domains, i.now()) {
			return anycert.Entry{}, i.unchanged(place, current)
		}
		if err := anycert.Check(bundle.Leaf(), certificate.Domains, i.now()); err != nil {
			return anycert.Entry{}, fmt.Errorf("%s has another certificate, which is not taken: %w", place.Label, err)
		}
		expected := 0
		if current != nil {
			expected = current.Version
		}
		entry, err := i.store.Put(ctx, certificate.Name, expected, bundle, anycert.Origin{Issuer: certificate.Issuer})
		if err == nil {
			return entry, nil
		}
		if conflict = err; !errors.Is(err, anycert.ErrConflict) {
			break
		}
	}
	return anycert.Entry{}, fmt.Errorf("storing the certificate: %w", conflict)
}

// current is what the store has; nil when it never had anything.
func (i *Issuer) current(ctx context.Context, name string) (*anycert.Entry, error) {
	entry, err := i.store.Stat(ctx, name)
	if errors.Is(err, anycert.ErrUnindexed) {
		entry, err = i.store.Index(ctx, name)
	}
	switch {
	case errors.Is(err, anycert.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("looking at what the store has: %w", err)
	}
	return &entry, nil
}

// newer reports whether the bundle of a source is to take the place of what the store
// has: another leaf whose validity begins later, or any other one when what the store
// has must not be served. So what was put into the store since, by a person or by
// another issuer, is not undone by an older certificate that still lies at the source.
func newer(bundle *anycert.Bundle, current *anycert.Entry, domains []string, now time.Time) bool {
	if current == nil {
		return true
	}
	leaf := bundle.Leaf()
	if leaf.Equal(current.Leaf) {
		return false
	}
	return leaf.NotBefore.After(current.Leaf.NotBefore) ||
		anycert.Check(current.Leaf, domains, now) != nil && anycert.Check(leaf, domains, now) == nil
}

// unchanged is ErrUnchanged, or what is wrong with there being nothing newer.
func (i *Issuer) unchanged(place anycert.Target, current *anycert.Entry) error {
	if !late(current, i.now()) {
		return anycert.ErrUnchanged
	}
	return fmt.Errorf("version %d in the store ends at %s, and %s has nothing newer: whoever renews it there has not, so look there; or give the certificate an issuer of type acme",
		current.Version, current.Leaf.NotAfter.UTC().Format(time.RFC3339), place.Label)
}

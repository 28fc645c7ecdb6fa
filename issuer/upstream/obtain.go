package upstream

import (
	"context"
	"crypto/x509"
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
// has. So what was put into the store since, by a person or by another issuer, is not
// undone by an older certificate that still lies at the source; but nothing is kept that
// must not be served, unless it only must not be served yet.
func newer(bundle *anycert.Bundle, current *anycert.Entry, domains []string, now time.Time) bool {
	if current == nil {
		return true
	}
	leaf := bundle.Leaf()
	if leaf.Equal(current.Leaf) {
		return false
	}
	if !now.Before(current.Leaf.NotBefore) && anycert.Check(current.Leaf, domains, now) != nil && anycert.Check(leaf, domains, now) == nil {
		return true
	}
	return after(leaf, current.Leaf, now)
}

// after orders certificates: one that is late comes before one that is not; of two that
// are not, the one comes later that begins later; of two that are, the one that ends
// later. It is an order, so that a source that goes back and forth between certificates
// does not make the store do so.
func after(a, b *x509.Certificate, now time.Time) bool {
	lateA, lateB := late(a, now), late(b, now)
	switch {
	case lateA != lateB:
		return lateB
	case lateA:
		return a.NotAfter.After(b.NotAfter)
	}
	return a.NotBefore.After(b.NotBefore)
}

// unchanged is ErrUnchanged, or what is wrong with there being nothing newer.
func (i *Issuer) unchanged(place anycert.Target, current *anycert.Entry) error {
	if !late(current.Leaf, i.now()) {
		return anycert.ErrUnchanged
	}
	return fmt.Errorf("version %d in the store ends at %s, and %s has nothing newer: whoever renews it there has not, so look there; or give the certificate an issuer of type acme",
		current.Version, current.Leaf.NotAfter.UTC().Format(time.RFC3339), place.Label)
}

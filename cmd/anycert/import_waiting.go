package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/issuer"
)

// completes reports whether a certificate comes alone, for the key that waits in the
// store since `csr`.
func (o origin) completes() bool { return o.url == "" && o.certificate != "" && o.key == "" }

// errNothingWaits says that there is no key for a certificate that came alone.
var errNothingWaits = errors.New("no request waits for its certificate")

// complete reads a certificate and the key that waits for it.
func complete(ctx context.Context, store anycert.Store, declared anycert.Certificate, path string) (*anycert.Bundle, issuer.Waiting, error) {
	if declared.Issuer != "" {
		return nil, issuer.Waiting{}, fmt.Errorf("issuer %s obtains it, so no request waits for its certificate: --cert and --key belong together: give both", declared.Issuer)
	}
	records, err := recordsOf(store)
	if err != nil {
		return nil, issuer.Waiting{}, err
	}
	chain, err := readBounded(path, anycert.MaxCertificatePEM)
	if err != nil {
		return nil, issuer.Waiting{}, err
	}
	waiting, err := issuer.LoadWaiting(ctx, records, declared.Name)
	switch {
	case errors.Is(err, anycert.ErrNotFound):
		return nil, issuer.Waiting{}, fmt.Errorf("%w: --cert and --key belong together: give both, or make a request first (anycert csr %s)", errNothingWaits, declared.Name)
	case err != nil:
		return nil, issuer.Waiting{}, err
	}
	certificates, err := anycert.ParseChain(chain)
	if err != nil {
		return nil, issuer.Waiting{}, fmt.Errorf("%s: %w", path, err)
	}
	ours, err := anycert.SPKIOfKey([]byte(waiting.Key.Reveal()))
	if err != nil {
		return nil, issuer.Waiting{}, fmt.Errorf("the key that waits for its certificate: %w", err)
	}
	if anycert.SPKIOf(certificates[0]) != ours {
		return nil, issuer.Waiting{}, fmt.Errorf("%s is for another key than the request that waits since %s (anycert csr %s prints it): give the certificate that came for it, or the other key with --key",
			path, stamp(waiting.Since), declared.Name)
	}
	bundle, err := anycert.ParseBundle(chain, []byte(waiting.Key.Reveal()))
	return bundle, waiting, err
}

// completed is the version that the store has of the certificate in a file; 0 for none: it
// may be another one.
func completed(ctx context.Context, store anycert.Store, name, path string) int {
	chain, err := readBounded(path, anycert.MaxCertificatePEM)
	if err != nil {
		return 0
	}
	certificates, err := anycert.ParseChain(chain)
	if err != nil {
		return 0
	}
	current, err := store.Stat(ctx, name)
	if err != nil || !current.Leaf.Equal(certificates[0]) {
		return 0
	}
	return current.Version
}

// ended destroys what waited, after its certificate is in the store.
func ended(ctx context.Context, store anycert.Store, waiting issuer.Waiting, name string) error {
	records, err := recordsOf(store)
	if err == nil {
		err = waiting.End(ctx, records, name)
	}
	switch {
	case errors.Is(err, anycert.ErrConflict):
		return errors.New("it is in the store, but another request was made meanwhile, and waits there for its own certificate")
	case err != nil:
		return fmt.Errorf("it is in the store, but the request that waited for it is there still: run it again: %w", err)
	}
	return nil
}

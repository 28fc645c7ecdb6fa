// Package store keeps certificates in HashiCorp Vault, the only truth there is:
// in a KV version 2 secrets engine, under MOUNT/PREFIX/.
//
//	certs/<name>       tls.crt (leaf and chain) and tls.key (PKCS#8), and beside
//	                   them, as custom metadata, what Stat tells without reading
//	                   a key: see index.go, and history.go for older versions
//	orders/<name>      the journal of an order; destroyed when it is done
//	accounts/<issuer>  the ACME account
//	KIND/<key>         what else is kept beside the certificates: see the kinds of
//	                   package anycert
//
// Certificate and key are one version, written under check-and-set. Custom
// metadata has no check-and-set and no versions of its own, so it is a copy for
// cheap reading and never believed about any version but the one it names.
//
// Sources: the API pages of the KV version 2 secrets engine
// (https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2) and of the auth
// methods (https://developer.hashicorp.com/vault/api-docs/auth).
package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/anycert/anycert"
)

const (
	certsKind = "certs"
	certField = "tls.crt"
	keyField  = "tls.key"
)

// Store is a Store and Records in Vault. It logs in when it is first used, and
// once for the life of a token. It is safe for concurrent use.
type Store struct {
	vault  *vault
	mount  string
	prefix string
}

var (
	_ anycert.Store     = (*Store)(nil)
	_ anycert.Records   = (*Store)(nil)
	_ anycert.Historian = (*Store)(nil)
)

// Close revokes the token that was obtained by logging in; one that was given is
// left alone. The store must not be used after it.
func (s *Store) Close(ctx context.Context) error { return s.vault.logout(ctx) }

func (s *Store) path(kind, key string) kvPath {
	return kvPath{mount: s.mount, path: s.prefix + "/" + kind + "/" + key}
}

// Names implements anycert.Store.
func (s *Store) Names(ctx context.Context) ([]string, error) {
	names, err := s.vault.list(ctx, kvPath{mount: s.mount, path: s.prefix + "/" + certsKind})
	return names, s.wrap(err, "listing certificates")
}

// Stat implements anycert.Store. It costs one read of metadata.
func (s *Store) Stat(ctx context.Context, name string) (anycert.Entry, error) {
	if err := anycert.CheckName(name); err != nil {
		return anycert.Entry{}, s.wrap(fmt.Errorf("%w: %w", anycert.ErrMalformed, err), "certificate")
	}
	_, entry, err := s.stat(ctx, name)
	return entry, s.wrap(err, "certificate "+name)
}

// stat returns what metadata there is, also beside an error.
func (s *Store) stat(ctx context.Context, name string) (metadata, anycert.Entry, error) {
	found, err := s.vault.readMetadata(ctx, s.path(certsKind, name))
	if err != nil {
		return metadata{}, anycert.Entry{}, err
	}
	state := found.current()
	entry := anycert.Entry{Name: name, Version: found.version, Time: state.time}
	if state.deleted || state.destroyed {
		return found, entry, anycert.ErrDeleted
	}
	known, err := decodeIndex(found.custom, found.version)
	switch {
	case isNewer(err):
		return found, entry, err
	case err != nil:
		at := s.path(certsKind, name)
		return found, entry, fmt.Errorf("%w, with a token that has read on %s and patch on %s", err, at.data(), at.metadata())
	}
	entry.Digest, entry.Leaf, entry.Origin = known.digest, known.leaf, known.origin
	return found, entry, nil
}

// Get implements anycert.Store.
func (s *Store) Get(ctx context.Context, name string, version int) (*anycert.Bundle, error) {
	doing := fmt.Sprintf("certificate %s, version %d", name, version)
	if err := anycert.CheckName(name); err != nil {
		return nil, s.wrap(fmt.Errorf("%w: %w", anycert.ErrMalformed, err), doing)
	}
	if version < 1 {
		return nil, s.wrap(anycert.ErrNotFound, doing)
	}
	bundle, err := s.bundle(ctx, name, version)
	return bundle, s.wrap(err, doing)
}

// bundle reads and verifies one version.
func (s *Store) bundle(ctx context.Context, name string, version int) (*anycert.Bundle, error) {
	found, err := s.vault.readData(ctx, s.path(certsKind, name), version)
	if err != nil {
		return nil, err
	}
	certificate, err := found.field(certField)
	if err != nil {
		return nil, err
	}
	key, err := found.field(keyField)
	if err != nil {
		return nil, err
	}
	return anycert.ParseBundle([]byte(certificate), []byte(key))
}

// Put implements anycert.Store. The metadata is written after the version itself;
// when that fails Put has succeeded nevertheless, for the certificate is in the
// store: Stat then answers ErrUnindexed, and Index mends it, without the origin.
func (s *Store) Put(ctx context.Context, name string, expected int, bundle *anycert.Bundle, origin anycert.Origin) (anycert.Entry, error) {
	doing := fmt.Sprintf("certificate %s, writing version %d", name, expected+1)
	if err := anycert.CheckName(name); err != nil {
		return anycert.Entry{}, s.wrap(fmt.Errorf("%w: %w", anycert.ErrMalformed, err), doing)
	}
	entry, err := s.put(ctx, name, expected, bundle, origin)
	return entry, s.wrap(err, doing)
}

func (s *Store) put(ctx context.Context, name string, expected int, bundle *anycert.Bundle, origin anycert.Origin) (anycert.Entry, error) {
	// Encoded before anything is written, so that what does not fit is refused.
	custom, err := encodeIndex(index{version: expected + 1, digest: bundle.Digest(), leaf: bundle.Leaf(), origin: origin})
	if err != nil {
		return anycert.Entry{}, err
	}
	old, current, err := s.stat(ctx, name)
	switch {
	case isNewer(err):
		return anycert.Entry{}, err
	case errors.Is(err, anycert.ErrUnindexed), errors.Is(err, anycert.ErrNotFound), errors.Is(err, anycert.ErrDeleted):
	case err != nil:
		return anycert.Entry{}, err
	}
	if current.Version != expected {
		return s.repeated(ctx, name, expected, bundle)
	}
	written, err := s.vault.writeData(ctx, s.path(certsKind, name), expected, map[string]string{
		certField: string(bundle.FullChainPEM()),
		keyField:  bundle.KeyPEM().Reveal(),
	})
	if errors.Is(err, anycert.ErrConflict) {
		return s.repeated(ctx, name, expected, bundle)
	}
	if err != nil {
		return anycert.Entry{}, err
	}
	remember(custom, written.version, old)
	_ = s.vault.patchCustom(ctx, s.path(certsKind, name), replacing(old.custom, custom)) // see Put
	return anycert.Entry{
		Name: name, Version: written.version, Time: written.time,
		Digest: bundle.Digest(), Leaf: bundle.Leaf(), Origin: origin,
	}, nil
}

// repeated finds out whether a Put that came too late had come before: its answer
// was lost, or the process ended, and it is made again. What is there then is what
// was to be put.
func (s *Store) repeated(ctx context.Context, name string, expected int, bundle *anycert.Bundle) (anycert.Entry, error) {
	_, current, err := s.stat(ctx, name)
	if err == nil && current.Version == expected+1 && current.Digest == bundle.Digest() {
		return current, nil
	}
	if errors.Is(err, anycert.ErrUnindexed) && current.Version == expected+1 {
		there, err := s.bundle(ctx, name, current.Version)
		if err == nil && there.Digest() == bundle.Digest() {
			current.Digest, current.Leaf = there.Digest(), there.Leaf()
			return current, nil
		}
	}
	if err != nil && !errors.Is(err, anycert.ErrUnindexed) && !errors.Is(err, anycert.ErrDeleted) && !errors.Is(err, anycert.ErrNotFound) {
		return anycert.Entry{}, err
	}
	return anycert.Entry{}, anycert.ErrConflict
}

// Index implements anycert.Store. When the token may read the entry and not write
// its metadata, or a later anycert wrote that, the Entry that comes with
// ErrForbidden is whole and verified.
func (s *Store) Index(ctx context.Context, name string) (anycert.Entry, error) {
	doing := "certificate " + name + ", indexing"
	if err := anycert.CheckName(name); err != nil {
		return anycert.Entry{}, s.wrap(fmt.Errorf("%w: %w", anycert.ErrMalformed, err), doing)
	}
	entry, err := s.index(ctx, name)
	return entry, s.wrap(err, doing)
}

func (s *Store) index(ctx context.Context, name string) (anycert.Entry, error) {
	old, entry, err := s.stat(ctx, name)
	if err != nil && !errors.Is(err, anycert.ErrUnindexed) {
		return entry, err
	}
	unindexed := err
	bundle, err := s.bundle(ctx, name, entry.Version)
	if err != nil {
		return entry, err
	}
	if entry.Digest == bundle.Digest() && bundle.Leaf().Equal(entry.Leaf) {
		return entry, nil
	}
	entry.Digest, entry.Leaf, entry.Origin = bundle.Digest(), bundle.Leaf(), anycert.Origin{}
	if isNewer(unindexed) {
		return entry, leftAlone{unindexed}
	}
	custom, err := encodeIndex(index{version: entry.Version, digest: entry.Digest, leaf: entry.Leaf})
	if err != nil {
		return entry, err
	}
	remember(custom, entry.Version, old)
	return entry, s.vault.patchCustom(ctx, s.path(certsKind, name), replacing(old.custom, custom))
}

// wrap says what was being done, and where.
func (s *Store) wrap(err error, doing string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("vault %s: %s: %w", s.vault.address, doing, err)
}

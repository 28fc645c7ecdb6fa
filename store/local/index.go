package local

import (
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/anycert/anycert"
)

// schema is the form of an index. A later one is left alone.
const schema = 1

// index is what Stat tells of one version.
type index struct {
	Schema  int            `json:"schema"`
	Version int            `json:"version"`
	Digest  anycert.Digest `json:"digest"`
	Leaf    []byte         `json:"leaf"` // DER
	Origin  anycert.Origin `json:"origin"`
}

// stat tells about the current version and touches no page with a key.
func (t tables) stat(name string) (anycert.Entry, error) {
	entry, err := t.current(name)
	if err != nil {
		return entry, err
	}
	if err := t.mayIndex(name); err != nil {
		return entry, err
	}
	var found index
	if get(t.bucket(indexTable), []byte(name), &found) != nil || found.Version != entry.Version {
		return entry, anycert.ErrUnindexed
	}
	leaf, err := x509.ParseCertificate(found.Leaf)
	if err != nil || found.Digest.IsZero() {
		return entry, anycert.ErrUnindexed
	}
	entry.Digest, entry.Leaf, entry.Origin = found.Digest, leaf, found.Origin
	return entry, nil
}

// mayIndex refuses to go over what a later anycert wrote.
func (t tables) mayIndex(name string) error {
	var found struct {
		Schema int `json:"schema"`
	}
	if get(t.bucket(indexTable), []byte(name), &found) == nil && found.Schema > schema {
		return &newerError{found.Schema}
	}
	return nil
}

// newerError says that a later anycert wrote an index.
type newerError struct{ schema int }

func (e *newerError) Error() string {
	return fmt.Sprintf("its index has schema %d and was written by a later anycert, this one knows schema %d and leaves it alone: upgrade this anycert", e.schema, schema)
}

func (e *newerError) Unwrap() error { return anycert.ErrUnindexed }

// leftAlone comes with an entry that is whole, and whose index is not to be written.
type leftAlone struct{ error }

func (e leftAlone) Unwrap() []error { return []error{e.error, anycert.ErrForbidden} }

// reindex reads the current version and makes stat tell of it, unless a later anycert
// did: then the entry comes with leftAlone.
func (t tables) reindex(name string) (anycert.Entry, error) {
	entry, err := t.current(name)
	if err != nil {
		return entry, err
	}
	bundle, err := t.bundle(name, entry.Version)
	if err != nil {
		return entry, err
	}
	if err := t.mayIndex(name); err != nil {
		entry.Digest, entry.Leaf = bundle.Digest(), bundle.Leaf()
		return entry, leftAlone{err}
	}
	if known, err := t.stat(name); err == nil && known.Digest == bundle.Digest() && known.Leaf.Equal(bundle.Leaf()) {
		return known, errUnchanged
	}
	entry.Digest, entry.Leaf = bundle.Digest(), bundle.Leaf()
	var known head
	heads := t.bucket(certsTable, name)
	if err := get(heads, versionKey(entry.Version), &known); err != nil {
		return entry, err
	}
	known.About = aboutOf(entry)
	return entry, errors.Join(t.index(entry), set(heads, versionKey(entry.Version), known))
}

func (t tables) index(entry anycert.Entry) error {
	bucket, err := t.make(indexTable)
	if err != nil {
		return err
	}
	return set(bucket, []byte(entry.Name), index{
		Schema: schema, Version: entry.Version, Digest: entry.Digest, Leaf: entry.Leaf.Raw, Origin: entry.Origin,
	})
}

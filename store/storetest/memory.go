package storetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/anycert/anycert"
)

// Op names a method of a store.
type Op string

// The operations that a Memory counts and that its Fail hook can let fail.
const (
	OpNames  Op = "names"
	OpStat   Op = "stat"
	OpGet    Op = "get"
	OpPut    Op = "put"
	OpIndex  Op = "index"
	OpKeys   Op = "keys"
	OpLoad   Op = "load"
	OpSave   Op = "save"
	OpDelete Op = "delete"

	OpHistory Op = "history"
	OpDestroy Op = "destroy"
	OpNote    Op = "note"
)

// Memory is a store that passes the suite and forgets everything at the end of
// the process. The zero value is empty and ready. It is safe for concurrent use
// when its two fields are set before the first use and not changed after.
type Memory struct {
	// Fail, when it returns an error, lets an operation fail with it before
	// anything was read or written. name is that of the certificate, KIND/KEY of
	// the record, or empty. It may be called by several goroutines at once.
	Fail func(op Op, name string) error
	// Now is the store's clock; time.Now when nil.
	Now func() time.Time

	mu     sync.Mutex
	state  State
	counts Counts
}

var (
	_ anycert.Store     = (*Memory)(nil)
	_ anycert.Records   = (*Memory)(nil)
	_ anycert.Historian = (*Memory)(nil)
)

// Counts says what a Memory was asked to do, failed operations left out.
type Counts struct {
	Stats    int // by Stat
	KeysRead int // private keys of certificates read, by Get or Index
	Writes   int // of certificates and of what Stat needs beside them
	Records  int // writes of records: Save and Delete
}

// State is what a Memory holds: see Snapshot.
type State struct {
	entries map[string]memoryEntry
	records map[string]memoryRecord
}

// memoryEntry and what it holds are never changed in place, so that a State may
// share them.
type memoryEntry struct {
	versions []memoryVersion
	index    memoryIndex
}

type memoryVersion struct {
	certificatePEM string
	keyPEM         anycert.Secret
	time           time.Time
	deleted        bool
	destroyed      bool
	known          anycert.Past // as it was indexed; zero when it never was
	revoked        *anycert.Revocation
}

// memoryIndex is what Stat reads; foreign means that a newer anycert wrote it.
type memoryIndex struct {
	version int
	foreign bool
	entry   anycert.Entry
}

type memoryRecord struct {
	version int
	value   anycert.Secret
}

// Names implements anycert.Store.
func (m *Memory) Names(ctx context.Context) ([]string, error) {
	defer m.mu.Unlock()
	if err := m.begin(ctx, OpNames, "", nil); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(m.state.entries)), nil
}

// Stat implements anycert.Store.
func (m *Memory) Stat(ctx context.Context, name string) (anycert.Entry, error) {
	defer m.mu.Unlock()
	if err := m.begin(ctx, OpStat, name, anycert.CheckName(name)); err != nil {
		return anycert.Entry{}, err
	}
	m.counts.Stats++
	found, entry, err := m.current(name)
	switch {
	case err != nil:
		return entry, err
	case found.index.foreign:
		return entry, fmt.Errorf("certificate %s: a newer anycert wrote its index: upgrade this one: %w", name, anycert.ErrUnindexed)
	case found.index.version != entry.Version:
		return entry, fmt.Errorf("certificate %s: %w", name, anycert.ErrUnindexed)
	}
	return found.index.at(entry), nil
}

// Get implements anycert.Store.
func (m *Memory) Get(ctx context.Context, name string, version int) (*anycert.Bundle, error) {
	defer m.mu.Unlock()
	if err := m.begin(ctx, OpGet, name, anycert.CheckName(name)); err != nil {
		return nil, err
	}
	found := m.state.entries[name]
	switch {
	case version < 1 || version > len(found.versions):
		return nil, fmt.Errorf("certificate %s, version %d: %w", name, version, anycert.ErrNotFound)
	case found.versions[version-1].deleted, found.versions[version-1].destroyed:
		return nil, fmt.Errorf("certificate %s, version %d: %w", name, version, anycert.ErrDeleted)
	}
	return m.read(name, found.versions[version-1])
}

// Put implements anycert.Store.
func (m *Memory) Put(ctx context.Context, name string, expected int, bundle *anycert.Bundle, origin anycert.Origin) (anycert.Entry, error) {
	defer m.mu.Unlock()
	if err := m.begin(ctx, OpPut, name, anycert.CheckName(name)); err != nil {
		return anycert.Entry{}, err
	}
	found := m.state.entries[name]
	if found.index.foreign {
		return anycert.Entry{}, fmt.Errorf("certificate %s: a newer anycert wrote its index: upgrade this one: %w", name, anycert.ErrUnindexed)
	}
	if len(found.versions) != expected {
		return m.repeated(name, expected, bundle)
	}
	written := m.append(name, string(bundle.FullChainPEM()), bundle.KeyPEM())
	entry := entryOf(name, len(written.versions), written, bundle)
	entry.Origin = origin
	m.setIndex(name, memoryIndex{version: entry.Version, entry: entry})
	m.counts.Writes++
	return entry, nil
}

// repeated tells the success of a Put that had succeeded before.
func (m *Memory) repeated(name string, expected int, bundle *anycert.Bundle) (anycert.Entry, error) {
	found, entry, err := m.current(name)
	if err == nil && entry.Version == expected+1 && found.index.version == entry.Version && found.index.entry.Digest == bundle.Digest() {
		return found.index.at(entry), nil
	}
	return anycert.Entry{}, fmt.Errorf("certificate %s: writing version %d: %w", name, expected+1, anycert.ErrConflict)
}

// Index implements anycert.Store.
func (m *Memory) Index(ctx context.Context, name string) (anycert.Entry, error) {
	defer m.mu.Unlock()
	if err := m.begin(ctx, OpIndex, name, anycert.CheckName(name)); err != nil {
		return anycert.Entry{}, err
	}
	found, entry, err := m.current(name)
	if err != nil {
		return entry, err
	}
	bundle, err := m.read(name, found.versions[entry.Version-1])
	if err != nil {
		return entry, err
	}
	entry = entryOf(name, entry.Version, found, bundle)
	if found.index.foreign {
		return entry, fmt.Errorf("certificate %s: a newer anycert wrote its index: upgrade this one: %w, %w", name, anycert.ErrUnindexed, anycert.ErrForbidden)
	}
	if index := found.index; index.version == entry.Version && index.entry.Digest == entry.Digest && entry.Leaf.Equal(index.entry.Leaf) {
		return index.at(entry), nil
	}
	m.setIndex(name, memoryIndex{version: entry.Version, entry: entry})
	m.counts.Writes++
	return entry, nil
}

// begin asks the hook, then locks. invalid is what is wrong with the name.
// The caller unlocks, also after an error.
func (m *Memory) begin(ctx context.Context, op Op, name string, invalid error) error {
	var err error
	if m.Fail != nil {
		err = m.Fail(op, name)
	}
	m.mu.Lock()
	if err == nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", anycert.ErrUnavailable, context.Cause(ctx))
	}
	if err == nil && invalid != nil {
		err = fmt.Errorf("%w: %w", anycert.ErrMalformed, invalid)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", op, name, err)
	}
	return nil
}

// current finds an entry and the part of its description that needs no index.
func (m *Memory) current(name string) (memoryEntry, anycert.Entry, error) {
	found, ok := m.state.entries[name]
	if !ok {
		return found, anycert.Entry{}, fmt.Errorf("certificate %s: %w", name, anycert.ErrNotFound)
	}
	last := found.versions[len(found.versions)-1]
	entry := anycert.Entry{Name: name, Version: len(found.versions), Time: last.time}
	if last.deleted {
		return found, entry, fmt.Errorf("certificate %s, version %d: %w", name, entry.Version, anycert.ErrDeleted)
	}
	return found, entry, nil
}

func (m *Memory) read(name string, version memoryVersion) (*anycert.Bundle, error) {
	m.counts.KeysRead++
	bundle, err := anycert.ParseBundle([]byte(version.certificatePEM), []byte(version.keyPEM.Reveal()))
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", name, err)
	}
	return bundle, nil
}

func (m *Memory) append(name, certificatePEM string, keyPEM anycert.Secret) memoryEntry {
	now := time.Now
	if m.Now != nil {
		now = m.Now
	}
	if m.state.entries == nil {
		m.state.entries = make(map[string]memoryEntry)
	}
	found := m.state.entries[name]
	written := memoryEntry{index: found.index, versions: append(slices.Clone(found.versions),
		memoryVersion{certificatePEM: certificatePEM, keyPEM: keyPEM, time: now().UTC()})}
	m.state.entries[name] = written
	return written
}

func (m *Memory) setIndex(name string, index memoryIndex) {
	versions := slices.Clone(m.state.entries[name].versions)
	if leaf := index.entry.Leaf; leaf != nil {
		versions[index.version-1].known = anycert.Past{Digest: index.entry.Digest,
			NotBefore: leaf.NotBefore.UTC(), NotAfter: leaf.NotAfter.UTC(), Origin: index.entry.Origin}
	}
	m.state.entries[name] = memoryEntry{versions: versions, index: index}
}

// at is what the index says, with what the store itself says of the version.
func (i memoryIndex) at(entry anycert.Entry) anycert.Entry {
	entry.Digest, entry.Leaf, entry.Origin = i.entry.Digest, i.entry.Leaf, i.entry.Origin
	return entry
}

func entryOf(name string, version int, found memoryEntry, bundle *anycert.Bundle) anycert.Entry {
	return anycert.Entry{
		Name:    name,
		Version: version,
		Time:    found.versions[version-1].time,
		Digest:  bundle.Digest(),
		Leaf:    bundle.Leaf(),
	}
}

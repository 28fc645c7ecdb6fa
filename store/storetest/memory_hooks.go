package storetest

import (
	"maps"
	"slices"

	"github.com/anycert/anycert"
)

// Counts tells what was done so far.
func (m *Memory) Counts() Counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts
}

// Snapshot keeps what the store holds now.
func (m *Memory) Snapshot() State {
	m.mu.Lock()
	defer m.mu.Unlock()
	return State{entries: maps.Clone(m.state.entries), records: maps.Clone(m.state.records)}
}

// Restore brings back what a snapshot kept, as an operator would who restores a
// backup: later versions are gone, and the next Put counts on from the old ones.
// The zero State empties the store.
func (m *Memory) Restore(state State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = State{entries: maps.Clone(state.entries), records: maps.Clone(state.records)}
}

// WriteByHand writes the next version of an entry without looking at it, and
// without what Stat needs.
func (m *Memory) WriteByHand(name, certificatePEM, keyPEM string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.append(name, certificatePEM, anycert.NewSecret(keyPEM))
}

// Rollback writes an older version again as the newest, as
// `vault kv rollback -version=N` does: a new version with a new time, and without
// what Stat needs. It panics when there is no such version.
func (m *Memory) Rollback(name string, version int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.state.entries[name].versions[version-1]
	m.append(name, old.certificatePEM, old.keyPEM)
}

// SoftDelete marks the current version as deleted. It panics when there is none.
func (m *Memory) SoftDelete(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := m.state.entries[name]
	versions := slices.Clone(found.versions)
	versions[len(versions)-1].deleted = true
	m.state.entries[name] = memoryEntry{versions: versions, index: found.index}
}

// ForgeIndex makes Stat tell what entry says of the current version.
func (m *Memory) ForgeIndex(name string, entry anycert.Entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := m.state.entries[name]
	m.setIndex(name, memoryIndex{version: len(found.versions), entry: entry})
}

// NewerIndex makes the current version look as if a newer anycert had indexed it.
func (m *Memory) NewerIndex(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.setIndex(name, memoryIndex{version: len(m.state.entries[name].versions), foreign: true})
}

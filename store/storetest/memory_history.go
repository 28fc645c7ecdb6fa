package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/anycert/anycert"
)

// History implements anycert.Historian.
func (m *Memory) History(ctx context.Context, name string) ([]anycert.Past, error) {
	defer m.mu.Unlock()
	if err := m.begin(ctx, OpHistory, name, anycert.CheckName(name)); err != nil {
		return nil, err
	}
	found, _, err := m.current(name)
	if errors.Is(err, anycert.ErrNotFound) {
		return nil, err
	}
	var all []anycert.Past
	for i, version := range found.versions {
		past := version.known
		past.Version, past.Time = i+1, version.time
		past.Deleted, past.Destroyed, past.Revoked = version.deleted && !version.destroyed, version.destroyed, version.revoked
		all = append(all, past)
	}
	slices.Reverse(all)
	return all, nil
}

// Destroy implements anycert.Historian.
func (m *Memory) Destroy(ctx context.Context, name string, versions []int) error {
	defer m.mu.Unlock()
	if err := m.begin(ctx, OpDestroy, name, anycert.CheckName(name)); err != nil {
		return err
	}
	found := m.state.entries[name]
	if len(found.versions) > 0 && slices.Contains(versions, len(found.versions)) {
		return fmt.Errorf("certificate %s: %w: version %d is the current one", name, anycert.ErrRefused, len(found.versions))
	}
	left, changed := slices.Clone(found.versions), false
	for _, version := range versions {
		if version < 1 || version > len(left) || left[version-1].destroyed {
			continue
		}
		old := &left[version-1]
		old.certificatePEM, old.keyPEM, old.destroyed, changed = "", anycert.Secret{}, true, true
	}
	if changed {
		m.state.entries[name] = memoryEntry{versions: left, index: found.index}
		m.counts.Writes++
	}
	return nil
}

// NoteRevoked implements anycert.Historian.
func (m *Memory) NoteRevoked(ctx context.Context, name string, versions []int, revocation anycert.Revocation) error {
	defer m.mu.Unlock()
	if err := m.begin(ctx, OpNote, name, anycert.CheckName(name)); err != nil {
		return err
	}
	found, _, err := m.current(name)
	if errors.Is(err, anycert.ErrNotFound) {
		return err
	}
	noted, changed := slices.Clone(found.versions), false
	for _, version := range versions {
		if version >= 1 && version <= len(noted) {
			noted[version-1].revoked, changed = &revocation, true
		}
	}
	if changed {
		m.state.entries[name] = memoryEntry{versions: noted, index: found.index}
		m.counts.Writes++
	}
	return nil
}

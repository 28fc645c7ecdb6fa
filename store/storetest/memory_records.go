package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/anycert/anycert"
)

// Keys implements anycert.Records.
func (m *Memory) Keys(ctx context.Context, kind string) ([]string, error) {
	defer m.mu.Unlock()
	if err := m.begin(ctx, OpKeys, kind, checkRecord(kind, "any")); err != nil {
		return nil, err
	}
	var keys []string
	for path := range m.state.records {
		if key, ok := strings.CutPrefix(path, kind+"/"); ok {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys, nil
}

// Load implements anycert.Records.
func (m *Memory) Load(ctx context.Context, kind, key string) (anycert.Secret, int, error) {
	defer m.mu.Unlock()
	if err := m.begin(ctx, OpLoad, kind+"/"+key, checkRecord(kind, key)); err != nil {
		return anycert.Secret{}, 0, err
	}
	found, ok := m.state.records[kind+"/"+key]
	if !ok {
		return anycert.Secret{}, 0, fmt.Errorf("record %s/%s: %w", kind, key, anycert.ErrNotFound)
	}
	return found.value, found.version, nil
}

// Save implements anycert.Records.
func (m *Memory) Save(ctx context.Context, kind, key string, expected int, value anycert.Secret) (int, error) {
	defer m.mu.Unlock()
	path := kind + "/" + key
	if err := m.begin(ctx, OpSave, path, checkRecord(kind, key)); err != nil {
		return 0, err
	}
	found := m.state.records[path]
	if found.version != expected {
		return 0, fmt.Errorf("record %s: writing version %d: %w", path, expected+1, anycert.ErrConflict)
	}
	if m.state.records == nil {
		m.state.records = make(map[string]memoryRecord)
	}
	m.state.records[path] = memoryRecord{version: expected + 1, value: value}
	m.counts.Records++
	return expected + 1, nil
}

// Delete implements anycert.Records.
func (m *Memory) Delete(ctx context.Context, kind, key string) error {
	defer m.mu.Unlock()
	if err := m.begin(ctx, OpDelete, kind+"/"+key, checkRecord(kind, key)); err != nil {
		return err
	}
	delete(m.state.records, kind+"/"+key)
	m.counts.Records++
	return nil
}

// checkRecord refuses what is no name, and the kind that is the certificates'.
func checkRecord(kind, key string) error {
	if kind == "certs" {
		return errors.New("certs is the place of certificates: a record is kept elsewhere")
	}
	return errors.Join(anycert.CheckName(kind), anycert.CheckName(key))
}

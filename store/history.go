package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/anycert/anycert"
)

// What is known of versions that were followed is kept beside the index of the current
// one: a line for each, the newest first, as many as find room; and so is what was
// revoked, of the current version as well. Vault itself keeps their numbers and times.
// An older anycert takes both away at its next write, and nothing but the knowledge is
// lost.
const (
	keyHistory = indexPrefix + "history-" // and the version: JSON of a line
	keyRevoked = indexPrefix + "revoked-" // and the version: JSON of an anycert.Revocation
	maxHistory = 20
	maxKeys    = 64 // that Vault allows, other people's included
)

// line is what was known of a version when it was followed.
type line struct {
	Digest    anycert.Digest `json:"digest"`
	NotBefore time.Time      `json:"not_before"`
	NotAfter  time.Time      `json:"not_after"`
	Origin    anycert.Origin `json:"origin,omitzero"`
}

// String is the line as it is kept. An origin that does not fit beside the rest is left
// out: the version then counts as one that a person wrote.
func (l line) String() string {
	text, err := json.Marshal(l)
	if err == nil && len(text) > maxValue {
		l.Origin = anycert.Origin{}
		text, err = json.Marshal(l)
	}
	if err != nil { // a year above 9999
		return ""
	}
	return string(text)
}

// lines reads what custom metadata says of versions, that of its index among them.
// What is not understood is left out.
func lines(custom map[string]string) map[int]line {
	known := map[int]line{}
	for version, text := range numbered(custom, keyHistory) {
		var found line
		if json.Unmarshal([]byte(text), &found) == nil && !found.Digest.IsZero() {
			known[version] = found
		}
	}
	version, err := strconv.Atoi(custom[keyVersion])
	if err != nil {
		return known
	}
	if i, err := decodeIndex(custom, version); err == nil {
		known[version] = line{Digest: i.digest, NotBefore: i.leaf.NotBefore.UTC(), NotAfter: i.leaf.NotAfter.UTC(), Origin: i.origin}
	}
	return known
}

// numbered are the values of the keys that begin with prefix, by the version after it.
func numbered(custom map[string]string, prefix string) map[int]string {
	values := map[int]string{}
	for key, text := range custom {
		number, ok := strings.CutPrefix(key, prefix)
		if version, err := strconv.Atoi(number); ok && err == nil {
			values[version] = text
		}
	}
	return values
}

// remember adds to custom, the index of a version, what is known of those before it
// that Vault still has. The leaf's pieces and other people's keys come first, then what
// was revoked.
func remember(custom map[string]string, version int, old metadata) {
	room := maxKeys - len(custom)
	for key := range old.custom {
		if !strings.HasPrefix(key, indexPrefix) {
			room--
		}
	}
	revoked := numbered(old.custom, keyRevoked)
	for _, number := range newestFirst(revoked) {
		if _, kept := old.versions[number]; kept && room > 0 {
			custom[keyRevoked+strconv.Itoa(number)] = revoked[number]
			room--
		}
	}
	known := lines(old.custom)
	for _, number := range newestFirst(known) {
		if _, kept := old.versions[number]; !kept || number >= version {
			delete(known, number)
		}
	}
	numbers := newestFirst(known)
	for _, number := range numbers[:max(0, min(room, maxHistory, len(numbers)))] {
		if text := known[number].String(); text != "" {
			custom[keyHistory+strconv.Itoa(number)] = text
		}
	}
}

func newestFirst[V any](versions map[int]V) []int {
	return slices.SortedFunc(maps.Keys(versions), func(a, b int) int { return cmp.Compare(b, a) })
}

// History implements anycert.Historian. It costs one read of metadata.
func (s *Store) History(ctx context.Context, name string) ([]anycert.Past, error) {
	doing := "certificate " + name + ", its history"
	if err := anycert.CheckName(name); err != nil {
		return nil, s.wrap(fmt.Errorf("%w: %w", anycert.ErrMalformed, err), doing)
	}
	found, err := s.vault.readMetadata(ctx, s.path(certsKind, name))
	if err != nil {
		return nil, s.wrap(err, doing)
	}
	known, revoked := lines(found.custom), numbered(found.custom, keyRevoked)
	var all []anycert.Past
	for _, number := range newestFirst(found.versions) {
		state, about := found.versions[number], known[number]
		all = append(all, anycert.Past{
			Version: number, Time: state.time, Deleted: state.deleted, Destroyed: state.destroyed,
			Digest: about.Digest, NotBefore: about.NotBefore, NotAfter: about.NotAfter, Origin: about.Origin,
			Revoked: decodeRevoked(revoked[number]),
		})
	}
	return all, nil
}

// Destroy implements anycert.Historian. It costs one read of metadata, and one write
// where something is left to destroy.
func (s *Store) Destroy(ctx context.Context, name string, versions []int) error {
	doing := "certificate " + name + ", destroying old versions"
	if err := anycert.CheckName(name); err != nil {
		return s.wrap(fmt.Errorf("%w: %w", anycert.ErrMalformed, err), doing)
	}
	return s.wrap(s.destroy(ctx, s.path(certsKind, name), versions), doing)
}

func (s *Store) destroy(ctx context.Context, path kvPath, versions []int) error {
	found, err := s.vault.readMetadata(ctx, path)
	if errors.Is(err, anycert.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if slices.Contains(versions, found.version) {
		return fmt.Errorf("%w: version %d is the current one: write its successor first", anycert.ErrRefused, found.version)
	}
	left := slices.DeleteFunc(slices.Clone(versions), func(number int) bool {
		state, known := found.versions[number]
		return !known || state.destroyed
	})
	if len(left) == 0 {
		return nil
	}
	return s.vault.destroyVersions(ctx, path, left)
}

// decodeRevoked is nil for what is none, and for what is not understood.
func decodeRevoked(text string) *anycert.Revocation {
	var found anycert.Revocation
	if json.Unmarshal([]byte(text), &found) != nil || found.Reason == "" {
		return nil
	}
	return &found
}

// NoteRevoked implements anycert.Historian. It costs one read of metadata and one write.
func (s *Store) NoteRevoked(ctx context.Context, name string, versions []int, revocation anycert.Revocation) error {
	doing := "certificate " + name + ", noting that it was revoked"
	if err := anycert.CheckName(name); err != nil {
		return s.wrap(fmt.Errorf("%w: %w", anycert.ErrMalformed, err), doing)
	}
	return s.wrap(s.note(ctx, s.path(certsKind, name), versions, revocation), doing)
}

func (s *Store) note(ctx context.Context, path kvPath, versions []int, revocation anycert.Revocation) error {
	found, err := s.vault.readMetadata(ctx, path)
	if err != nil {
		return err
	}
	if _, err := decodeIndex(found.custom, found.version); isNewer(err) {
		return err
	}
	text, err := json.Marshal(revocation)
	if err != nil || len(text) > maxValue {
		return fmt.Errorf("%w: it has more than the %d characters that fit into the metadata of a Vault entry", anycert.ErrMalformed, maxValue)
	}
	change := map[string]any{}
	room := maxKeys - len(found.custom)
	for _, version := range versions {
		key := keyRevoked + strconv.Itoa(version)
		if _, known := found.versions[version]; !known {
			continue
		}
		if _, there := found.custom[key]; !there {
			room--
		}
		change[key] = string(text)
	}
	if len(change) == 0 {
		return nil
	}
	past := newestFirst(numbered(found.custom, keyHistory))
	for ; room < 0 && len(past) > 0; room++ { // the oldest line makes room
		change[keyHistory+strconv.Itoa(past[len(past)-1])] = nil
		past = past[:len(past)-1]
	}
	return s.vault.patchCustom(ctx, path, change)
}

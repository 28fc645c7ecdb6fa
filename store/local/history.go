package local

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/anycert/anycert"
)

// about is what is known of a version without its pair. It is zero where a person
// wrote it and nobody looked.
type about struct {
	Digest    anycert.Digest `json:"digest,omitzero"`
	NotBefore time.Time      `json:"not_before,omitzero"`
	NotAfter  time.Time      `json:"not_after,omitzero"`
	Origin    anycert.Origin `json:"origin,omitzero"`
}

func aboutOf(entry anycert.Entry) about {
	if entry.Leaf == nil {
		return about{}
	}
	return about{Digest: entry.Digest, NotBefore: entry.Leaf.NotBefore.UTC(), NotAfter: entry.Leaf.NotAfter.UTC(), Origin: entry.Origin}
}

// History implements anycert.Historian. The last ten versions are known.
func (s *Store) History(ctx context.Context, name string) ([]anycert.Past, error) {
	var all []anycert.Past
	err := s.checked(anycert.CheckName(name), func() error {
		return s.view(ctx, func(t tables) (err error) {
			all, err = t.history(name)
			return err
		})
	})
	return all, s.wrap(err, "certificate "+name+", its history")
}

// Destroy implements anycert.Historian. What a version held stays in free pages of the
// file until they are used again.
func (s *Store) Destroy(ctx context.Context, name string, versions []int) error {
	err := s.checked(anycert.CheckName(name), func() error {
		return s.update(ctx, func(t tables) error { return t.destroy(name, versions) })
	})
	return s.wrap(err, "certificate "+name+", destroying old versions")
}

// NoteRevoked implements anycert.Historian.
func (s *Store) NoteRevoked(ctx context.Context, name string, versions []int, revocation anycert.Revocation) error {
	err := s.checked(anycert.CheckName(name), func() error {
		return s.update(ctx, func(t tables) error { return t.note(name, versions, revocation) })
	})
	return s.wrap(err, "certificate "+name+", noting that it was revoked")
}

// history touches no page with a key.
func (t tables) history(name string) ([]anycert.Past, error) {
	heads := t.bucket(certsTable, name)
	if heads == nil {
		return nil, anycert.ErrNotFound
	}
	var all []anycert.Past
	cursor := heads.Cursor()
	for key, _ := cursor.Last(); key != nil; key, _ = cursor.Prev() {
		var found head
		if err := get(heads, key, &found); err != nil {
			return nil, err
		}
		if len(key) != 8 {
			return nil, fmt.Errorf("%w: the file is damaged: restore it from a copy", anycert.ErrMalformed)
		}
		all = append(all, anycert.Past{
			Version: int(binary.BigEndian.Uint64(key)), Time: found.Time,
			Digest: found.About.Digest, NotBefore: found.About.NotBefore, NotAfter: found.About.NotAfter, Origin: found.About.Origin,
			Deleted: found.Deleted && !found.Destroyed, Destroyed: found.Destroyed, Revoked: found.Revoked,
		})
	}
	return all, nil
}

// destroy takes away what versions held, all or nothing.
func (t tables) destroy(name string, versions []int) error {
	heads, pairs := t.bucket(certsTable, name), t.bucket(pairsTable, name)
	if heads == nil {
		return errUnchanged
	}
	current, err := t.current(name)
	if err != nil && !errors.Is(err, anycert.ErrDeleted) {
		return err
	}
	if slices.Contains(versions, current.Version) {
		return fmt.Errorf("%w: version %d is the current one: write its successor first", anycert.ErrRefused, current.Version)
	}
	changed := false
	for _, version := range versions {
		var found head
		if get(heads, versionKey(version), &found) != nil || found.Destroyed {
			continue
		}
		changed, found.Destroyed = true, true
		if err := set(heads, versionKey(version), found); err != nil {
			return err
		}
		if pairs == nil {
			continue
		}
		if err := pairs.Delete(versionKey(version)); err != nil {
			return classify(err)
		}
	}
	if !changed {
		return errUnchanged
	}
	return nil
}

// note says of versions that they were revoked, all or nothing.
func (t tables) note(name string, versions []int, revocation anycert.Revocation) error {
	heads := t.bucket(certsTable, name)
	if heads == nil {
		return anycert.ErrNotFound
	}
	changed := false
	for _, version := range versions {
		var found head
		if get(heads, versionKey(version), &found) != nil {
			continue
		}
		changed, found.Revoked = true, &revocation
		if err := set(heads, versionKey(version), found); err != nil {
			return err
		}
	}
	if !changed {
		return errUnchanged
	}
	return nil
}

package store

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/vaultserver"
)

// What is kept of the past costs no further request.
func TestHistoryCostsNothing(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	store := open(t, server, server.RootToken)
	for version := range 3 {
		_, err := store.Put(ctx, "example", version, bundle(t), origin)
		check(t, err)
	}
	for name, test := range map[string]struct {
		do   func() error
		want map[string]int
	}{
		"Put": {func() error { _, err := store.Put(ctx, "example", 3, bundle(t), origin); return err },
			map[string]int{"read secret/metadata/anycert/certs/example": 1, "update secret/data/anycert/certs/example": 1, "patch secret/metadata/anycert/certs/example": 1}},
		"History": {func() error { _, err := store.History(ctx, "example"); return err },
			map[string]int{"read secret/metadata/anycert/certs/example": 1}},
		"Destroy": {func() error { return store.Destroy(ctx, "example", []int{1, 2}) },
			map[string]int{"read secret/metadata/anycert/certs/example": 1, "update secret/destroy/anycert/certs/example": 1}},
	} {
		got := vaultserver.Count(since(t, server, func() { check(t, test.do()) }))
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: what Vault was asked (-want +got):\n%s", name, diff)
		}
	}
}

// The past takes the room that leaf and other people leave, and no more than twenty keys.
func TestHistoryTakesWhatRoomIsLeft(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	store := open(t, server, server.RootToken)
	kv := hands{server, "anycert/certs/"}
	small := bundle(t)
	put := func(expected int, bundle *anycert.Bundle) {
		t.Helper()
		_, err := store.Put(ctx, "example", expected, bundle, origin)
		check(t, err)
	}
	put(0, small)
	_, err := server.Client().Logical().WriteWithContext(ctx, "secret/metadata/anycert/certs/example", map[string]any{"max_versions": 40})
	check(t, err)
	known := func(version int, custom map[string]any) (lines int) {
		t.Helper()
		all, err := store.History(ctx, "example")
		check(t, err)
		if len(all) != version {
			t.Fatalf("History tells %d versions of %d", len(all), version)
		}
		for i, past := range all[1:] {
			if past.Digest.IsZero() {
				break
			}
			lines = i + 1
		}
		keys := 0
		for key := range custom {
			if strings.HasPrefix(key, keyHistory) {
				keys++
			}
		}
		if keys != lines || len(custom) > maxKeys {
			t.Errorf("%d keys in all, %d of the past, and History tells of the last %d", len(custom), keys, lines)
		}
		return lines
	}
	metadata := func() map[string]any {
		t.Helper()
		found, err := kv.kv().GetMetadata(ctx, "anycert/certs/example")
		check(t, err)
		return found.CustomMetadata
	}
	for version := 1; version < 30; version++ {
		put(version, small)
	}
	if n := known(30, metadata()); n != maxHistory {
		t.Errorf("%d versions are known, want the last %d", n, maxHistory)
	}
	theirs := map[string]any{}
	for i := range 10 {
		theirs[fmt.Sprintf("team-%d", i)] = "theirs"
	}
	kv.patch(t, "example", theirs)
	big := leafOf(t, 47)
	put(30, big)
	if n := known(31, metadata()); n != maxKeys-10-47-4 {
		t.Errorf("beside 47 pieces and 10 keys of others %d versions are known", n)
	}
	put(31, leafOf(t, 50))
	if n := known(32, metadata()); n != 0 {
		t.Errorf("beside 50 pieces and 10 keys of others %d versions are known", n)
	}
	put(32, small)
	if n := known(33, metadata()); n != 1 {
		t.Errorf("%d versions are known, want the one that was followed", n)
	}
	if metadata()["team-9"] != "theirs" {
		t.Error("a key of other people is gone")
	}
}

// leafOf is a bundle whose leaf takes so many pieces.
func leafOf(t *testing.T, pieces int) *anycert.Bundle {
	t.Helper()
	var names []string
	for i := range pieces * 4 {
		names = append(names, fmt.Sprintf("%s%03d.%s.example.com", strings.Repeat("n", 50), i, strings.Repeat("d", 50)))
	}
	for len(names) > 0 {
		pair := testenv.Issue(t, certs.Options{Names: names})
		if got := (base64.StdEncoding.EncodedLen(len(pair.Leaf().Raw)) + maxValue - 1) / maxValue; got == pieces {
			made, err := anycert.ParseBundle(pair.ChainPEM, pair.KeyPEM)
			check(t, err)
			return made
		}
		names = names[1:]
	}
	t.Fatalf("there is no leaf of %d pieces", pieces)
	return nil
}

// What a later anycert wrote, and what is no line, is left out and harms nothing.
func TestHistoryReadsWhatItUnderstands(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	store, first := open(t, server, server.RootToken), bundle(t)
	for version := range 3 {
		_, err := store.Put(ctx, "example", version, first, origin)
		check(t, err)
	}
	kv := hands{server, "anycert/certs/"}
	kv.patch(t, "example", map[string]any{keyHistory + "1": "not JSON", keyHistory + "x": "{}", keyHistory + "9": `{"digest":"` + first.Digest().String() + `"}`})
	all, err := store.History(ctx, "example")
	check(t, err)
	if len(all) != 3 || all[0].Digest != first.Digest() || all[1].Digest != first.Digest() || !all[2].Digest.IsZero() || all[2].Time.IsZero() {
		t.Errorf("it tells %+v", all)
	}
	kv.newer(t, "example")
	all, err = store.History(ctx, "example")
	check(t, err)
	if len(all) != 3 || !all[0].Digest.IsZero() || all[1].Digest != first.Digest() {
		t.Errorf("beside a newer index it tells %+v", all)
	}
	if err := store.Destroy(ctx, "example", []int{1}); err != nil {
		t.Errorf("what is to be gone stays: %v", err)
	}
}

func TestALineWithoutRoomForItsOrigin(t *testing.T) {
	l := line{Digest: bundle(t).Digest(), NotBefore: time.Now().UTC(), NotAfter: time.Now().UTC(), Origin: origin}
	if text := l.String(); !strings.Contains(text, origin.Directory) {
		t.Errorf("the line is %s", text)
	}
	l.Origin.Directory = "https://ca.example.com/" + strings.Repeat("d", maxValue)
	if text := l.String(); len(text) > maxValue || strings.Contains(text, "origin") || !strings.Contains(text, l.Digest.String()) {
		t.Errorf("the line is %s", text)
	}
}

func TestDestroyNamesWhatIsMissing(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	root := open(t, server, server.RootToken)
	for version := range 2 {
		_, err := root.Put(ctx, "example", version, bundle(t), origin)
		check(t, err)
	}
	auditor := open(t, server, token(t, server, "auditor", auditorPolicy))
	isError(t, auditor.Destroy(ctx, "example", []int{1}), anycert.ErrForbidden, "certificate example", "update", "secret/destroy/anycert/certs/example")
	_, err := root.Get(ctx, "example", 1)
	check(t, err)
}

// Where the metadata is full the oldest line makes room for the note, which costs no
// more than a read and a write. Beside what a later anycert wrote nothing is noted, and
// what is no note is none.
func TestNoteRevoked(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	store := open(t, server, server.RootToken)
	kv := hands{server, "anycert/certs/"}
	for version := range 3 {
		_, err := store.Put(ctx, "example", version, leafOf(t, 56), origin)
		check(t, err)
	}
	kv.patch(t, "example", map[string]any{"team-1": "theirs", "team-2": "theirs"}) // and 56 pieces, 4 others, 2 lines: 64
	note := anycert.Revocation{Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), By: "ops@laptop", Reason: "superseded"}
	asked := vaultserver.Count(since(t, server, func() { check(t, store.NoteRevoked(ctx, "example", []int{2, 9}, note)) }))
	if diff := cmp.Diff(map[string]int{"read secret/metadata/anycert/certs/example": 1, "patch secret/metadata/anycert/certs/example": 1}, asked); diff != "" {
		t.Errorf("what Vault was asked (-want +got):\n%s", diff)
	}
	all, err := store.History(ctx, "example")
	check(t, err)
	if diff := cmp.Diff([]*anycert.Revocation{nil, &note, nil}, []*anycert.Revocation{all[0].Revoked, all[1].Revoked, all[2].Revoked}); diff != "" {
		t.Errorf("what was revoked (-want +got):\n%s", diff)
	}
	if all[1].Digest.IsZero() || !all[2].Digest.IsZero() {
		t.Errorf("it is not the oldest line that made room: %+v", all)
	}
	kv.patch(t, "example", map[string]any{keyRevoked + "3": "not JSON", keyRevoked + "x": "{}", keyRevoked + "2": `{"reason": ""}`})
	all, err = store.History(ctx, "example")
	check(t, err)
	for _, past := range all {
		if past.Revoked != nil {
			t.Errorf("version %d: %+v", past.Version, past.Revoked)
		}
	}
	kv.newer(t, "example")
	if err := store.NoteRevoked(ctx, "example", []int{1}, note); !isNewer(err) {
		t.Errorf("beside a newer index: %v", err)
	}
	auditor := open(t, server, token(t, server, "auditor", auditorPolicy))
	_, err = store.Put(ctx, "other", 0, bundle(t), origin)
	check(t, err)
	isError(t, auditor.NoteRevoked(ctx, "other", []int{1}, note), anycert.ErrForbidden, "certificate other", "patch", "secret/metadata/anycert/certs/other")
}

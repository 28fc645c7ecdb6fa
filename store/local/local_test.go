package local

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Subject {
		path := filepath.Join(t.TempDir(), "anycert.db")
		store, other := open(t, path), open(t, path)
		return storetest.Subject{
			Store: store, Records: store, History: store, Other: other, OtherRecords: other,
			WriteByHand: func(t testing.TB, name, certificatePEM, keyPEM string) {
				edit(t, store, func(tables tables) error {
					current, _ := tables.current(name)
					entry := anycert.Entry{Name: name, Version: current.Version + 1, Time: time.Now().UTC()}
					return tables.append(entry, pair{Certificate: certificatePEM, Key: keyPEM})
				})
			},
			SoftDelete: func(t testing.TB, name string) {
				edit(t, store, func(tables tables) error {
					current, err := tables.current(name)
					var known head
					err = errors.Join(err, get(tables.bucket(certsTable, name), versionKey(current.Version), &known))
					known.Deleted = true
					return errors.Join(err, set(tables.bucket(certsTable, name), versionKey(current.Version), known))
				})
			},
			ForgeIndex: func(t testing.TB, name string, entry anycert.Entry) {
				edit(t, store, func(tables tables) error {
					current, err := tables.current(name)
					entry.Name, entry.Version = name, current.Version
					return errors.Join(err, tables.index(entry))
				})
			},
			NewerIndex: func(t testing.TB, name string) {
				edit(t, store, func(tables tables) error {
					return set(tables.bucket(indexTable), []byte(name), index{Schema: schema + 1, Version: 1})
				})
			},
			WithoutKeys: func(t testing.TB) anycert.EntryReader { return withoutKeys(t, path) },
			Writes:      func(t testing.TB) int { return writes(t, store) },
		}
	})
}

func open(t testing.TB, path string) *Store {
	t.Helper()
	store, err := Config{Path: path}.Open()
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func edit(t testing.TB, store *Store, write func(tables) error) {
	t.Helper()
	if err := store.update(t.Context(), write); err != nil {
		t.Fatal(err)
	}
}

// withoutKeys is a copy of the store whose pairs were torn out.
func withoutKeys(t testing.TB, path string) *Store {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	blind := filepath.Join(t.TempDir(), "blind.db")
	if err := os.WriteFile(blind, text, 0o600); err != nil {
		t.Fatal(err)
	}
	store := open(t, blind)
	edit(t, store, func(tables tables) error { return tables.tx.DeleteBucket([]byte(pairsTable)) })
	return store
}

// writes is the number of the last transaction that wrote.
func writes(t testing.TB, store *Store) (n int) {
	t.Helper()
	err := store.view(t.Context(), func(tables tables) error {
		if tables.tx != nil {
			n = tables.tx.ID()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func bundle(t testing.TB) *anycert.Bundle {
	t.Helper()
	ca, err := certs.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(certs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := anycert.ParseBundle(pair.ChainPEM, pair.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return bundle
}

func TestOldVersionsAreDropped(t *testing.T) {
	store, bundle := open(t, filepath.Join(t.TempDir(), "anycert.db")), bundle(t)
	for version := range keep + 2 {
		// The same bundle again counts as a repetition only over its own version.
		edit(t, store, func(tables tables) error {
			_, err := tables.put("example", version, bundle, anycert.Origin{})
			return err
		})
	}
	for version := 1; version <= keep+2; version++ {
		_, err := store.Get(t.Context(), "example", version)
		if old := version <= 2; old != errors.Is(err, anycert.ErrNotFound) {
			t.Errorf("version %d of %d: %v", version, keep+2, err)
		}
	}
	err := store.view(t.Context(), func(tables tables) error {
		for _, table := range []string{certsTable, pairsTable} {
			if n := tables.bucket(table, "example").Stats().KeyN; n != keep {
				t.Errorf("%s holds %d versions, want %d", table, n, keep)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestWhatIsNoPrivateFileIsRefused(t *testing.T) {
	tests := map[string]struct {
		prepare func(t *testing.T, path string) error
		want    error
	}{
		"readable by others": {func(_ *testing.T, path string) error { return os.Chmod(path, 0o644) }, anycert.ErrForbidden},
		"writable by group":  {func(_ *testing.T, path string) error { return os.Chmod(path, 0o620) }, anycert.ErrForbidden},
		"symbolic link": {func(_ *testing.T, path string) error {
			return errors.Join(os.Rename(path, path+"~"), os.Symlink(path+"~", path))
		}, anycert.ErrForbidden},
		"dangling link": {func(_ *testing.T, path string) error {
			return errors.Join(os.Remove(path), os.Symlink(path+"~", path))
		}, anycert.ErrForbidden},
		"directory": {func(_ *testing.T, path string) error {
			return errors.Join(os.Remove(path), os.Mkdir(path, 0o700))
		}, anycert.ErrForbidden},
		"another format": {func(_ *testing.T, path string) error {
			return os.WriteFile(path, make([]byte, 1<<16), 0o600)
		}, anycert.ErrMalformed},
		"short": {func(_ *testing.T, path string) error { return os.WriteFile(path, []byte("x"), 0o600) }, anycert.ErrMalformed},
		"no directory": {func(_ *testing.T, path string) error {
			return os.RemoveAll(filepath.Dir(path))
		}, anycert.ErrUnavailable},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			directory := filepath.Join(t.TempDir(), "store")
			if err := os.Mkdir(directory, 0o700); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(directory, "anycert.db")
			store, bundle := open(t, path), bundle(t)
			if _, err := store.Put(t.Context(), "example", 0, bundle, anycert.Origin{}); err != nil {
				t.Fatal(err)
			}
			if err := test.prepare(t, path); err != nil {
				t.Fatal(err)
			}
			if _, err := store.Stat(t.Context(), "example"); !errors.Is(err, test.want) {
				t.Errorf("Stat: %v, want %v", err, test.want)
			}
			if _, err := store.Put(t.Context(), "example", 0, bundle, anycert.Origin{}); !errors.Is(err, test.want) {
				t.Errorf("Put: %v, want %v", err, test.want)
			}
		})
	}
}

func TestTheFileIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "anycert.db")
	if _, err := open(t, path).Save(t.Context(), "accounts", "ca", 0, anycert.NewSecret("x")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("the file has mode %v, want 0600", info.Mode())
	}
}

func TestReadingMakesNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "anycert.db")
	if _, err := open(t, path).Stat(t.Context(), "example"); !errors.Is(err, anycert.ErrNotFound) {
		t.Errorf("Stat: %v, want ErrNotFound", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after reading: %v, want no file", err)
	}
}

// TestDamage writes noise over each page of a file in turn: whatever comes back,
// it is an answer or an error, and the file is let go.
func TestDamage(t *testing.T) {
	directory := t.TempDir()
	path := filepath.Join(directory, "anycert.db")
	store, bundle := open(t, path), bundle(t)
	put, err := store.Put(t.Context(), "example", 0, bundle, anycert.Origin{})
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	for start := 0; start < len(whole); start += page {
		damaged := append([]byte(nil), whole...)
		for i := range page {
			damaged[start+i] = byte(i*7 + 13)
		}
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if entry, err := store.Stat(t.Context(), "example"); err == nil && entry.Digest != put.Digest {
			t.Errorf("page %d: Stat tells of another certificate", start/page)
		}
		if got, err := store.Get(t.Context(), "example", 1); err == nil && got.Digest() != put.Digest {
			t.Errorf("page %d: Get gives another certificate", start/page)
		}
		if _, err := store.Put(t.Context(), "another", 0, bundle, anycert.Origin{}); errors.Is(err, anycert.ErrUnavailable) {
			t.Fatalf("page %d: the file is still locked: %v", start/page, err)
		}
	}
}

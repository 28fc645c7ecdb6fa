// Package local keeps certificates in one file on this machine: a store for
// trying anycert out, and for tests. It obeys the same laws as Vault, and has no
// policies, no audit log and no second machine: production wants Vault.
//
// The file is opened for each operation and closed after it, so that several
// processes share it; each waits a few seconds for the others at most.
package local

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/anycert/anycert"
)

// keep is how many versions of a certificate stay readable, as in Vault.
const keep = 10

// Config is the part `store.local` of the configuration.
type Config struct {
	// Path of the file, which is made when something is first written; its
	// directory must be there.
	Path string `yaml:"path"`
}

// Check lists every mistake. It touches no file.
func (c Config) Check() []anycert.Problem {
	switch {
	case c.Path == "":
		return []anycert.Problem{{Field: "path", Text: "the path of the store's file is missing"}}
	case strings.HasSuffix(c.Path, "/"), strings.ContainsRune(c.Path, 0):
		return []anycert.Problem{{Field: "path", Text: fmt.Sprintf("%q is not the path of a file", c.Path)}}
	}
	return nil
}

// Open makes the store. It touches no file before the first operation.
func (c Config) Open() (*Store, error) {
	if problems := c.Check(); len(problems) > 0 {
		return nil, errors.New("store.local: " + problems[0].Text)
	}
	path, err := filepath.Abs(c.Path)
	if err != nil {
		return nil, fmt.Errorf("store.local: %w", err)
	}
	return &Store{path: path, turn: make(chan struct{}, 1)}, nil
}

// Store is a Store and Records in one file. It holds nothing open, and is safe for
// concurrent use, also by several processes.
type Store struct {
	path string
	turn chan struct{} // held by the goroutine whose operation is under way
}

var (
	_ anycert.Store     = (*Store)(nil)
	_ anycert.Records   = (*Store)(nil)
	_ anycert.Historian = (*Store)(nil)
)

// Names implements anycert.Store.
func (s *Store) Names(ctx context.Context) ([]string, error) {
	var names []string
	err := s.view(ctx, func(t tables) (err error) {
		names = t.names()
		return nil
	})
	return names, s.wrap(err, "listing certificates")
}

// Stat implements anycert.Store.
func (s *Store) Stat(ctx context.Context, name string) (anycert.Entry, error) {
	var entry anycert.Entry
	err := s.checked(anycert.CheckName(name), func() error {
		return s.view(ctx, func(t tables) (err error) {
			entry, err = t.stat(name)
			return err
		})
	})
	return entry, s.wrap(err, "certificate "+name)
}

// Get implements anycert.Store. The last ten versions can be read.
func (s *Store) Get(ctx context.Context, name string, version int) (*anycert.Bundle, error) {
	var bundle *anycert.Bundle
	err := s.checked(anycert.CheckName(name), func() error {
		return s.view(ctx, func(t tables) (err error) {
			bundle, err = t.bundle(name, version)
			return err
		})
	})
	return bundle, s.wrap(err, fmt.Sprintf("certificate %s, version %d", name, version))
}

// Put implements anycert.Store.
func (s *Store) Put(ctx context.Context, name string, expected int, bundle *anycert.Bundle, origin anycert.Origin) (anycert.Entry, error) {
	var entry anycert.Entry
	err := s.checked(anycert.CheckName(name), func() error {
		return s.update(ctx, func(t tables) (err error) {
			entry, err = t.put(name, expected, bundle, origin)
			return err
		})
	})
	return entry, s.wrap(err, fmt.Sprintf("certificate %s, writing version %d", name, expected+1))
}

// Index implements anycert.Store.
func (s *Store) Index(ctx context.Context, name string) (anycert.Entry, error) {
	var entry anycert.Entry
	err := s.checked(anycert.CheckName(name), func() error {
		return s.update(ctx, func(t tables) (err error) {
			entry, err = t.reindex(name)
			return err
		})
	})
	return entry, s.wrap(err, "certificate "+name)
}

// Keys implements anycert.Records.
func (s *Store) Keys(ctx context.Context, kind string) ([]string, error) {
	var keys []string
	err := s.checked(checkRecord(kind, "any"), func() error {
		return s.view(ctx, func(t tables) error {
			keys = t.keys(kind)
			return nil
		})
	})
	return keys, s.wrap(err, "listing "+kind)
}

// Load implements anycert.Records.
func (s *Store) Load(ctx context.Context, kind, key string) (anycert.Secret, int, error) {
	var found record
	err := s.checked(checkRecord(kind, key), func() error {
		return s.view(ctx, func(t tables) (err error) {
			found, err = t.load(kind, key)
			return err
		})
	})
	return anycert.NewSecret(found.Value), found.Version, s.wrap(err, kind+"/"+key)
}

// Save implements anycert.Records.
func (s *Store) Save(ctx context.Context, kind, key string, expected int, value anycert.Secret) (int, error) {
	err := s.checked(checkRecord(kind, key), func() error {
		return s.update(ctx, func(t tables) error { return t.save(kind, key, expected, value) })
	})
	if err != nil {
		return 0, s.wrap(err, fmt.Sprintf("%s/%s, writing version %d", kind, key, expected+1))
	}
	return expected + 1, nil
}

// Delete implements anycert.Records. What the record held stays in free pages of
// the file until they are used again.
func (s *Store) Delete(ctx context.Context, kind, key string) error {
	err := s.checked(checkRecord(kind, key), func() error {
		return s.update(ctx, func(t tables) error { return t.delete(kind, key) })
	})
	return s.wrap(err, kind+"/"+key)
}

// checkRecord refuses what is no name, and the kind that is the certificates'.
func checkRecord(kind, key string) error {
	if kind == "certs" {
		return errors.New("certs is the place of certificates: a record is kept elsewhere")
	}
	return errors.Join(anycert.CheckName(kind), anycert.CheckName(key))
}

// checked does the work if nothing is wrong with the names.
func (s *Store) checked(invalid error, work func() error) error {
	if invalid != nil {
		return fmt.Errorf("%w: %w", anycert.ErrMalformed, invalid)
	}
	return work()
}

// wrap says what was being done, and in which file.
func (s *Store) wrap(err error, doing string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("store %s: %s: %w", s.path, doing, err)
}

package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/anycert/anycert"
)

const (
	patience = 5 * time.Second       // for a file that another process holds
	pause    = 10 * time.Millisecond // between two tries, at most
)

// view reads. A file that was not made yet is an empty store.
func (s *Store) view(ctx context.Context, read func(tables) error) error {
	release, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	info, err := os.Lstat(s.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().IsRegular() && info.Size() == 0 {
		if _, err := os.Stat(filepath.Dir(s.path)); err != nil {
			return classify(err)
		}
		return read(tables{})
	}
	return s.open(ctx, true, func(db *bbolt.DB) error {
		return db.View(func(tx *bbolt.Tx) error { return read(tables{tx}) })
	})
}

// errUnchanged ends an update that has nothing to write.
var errUnchanged = errors.New("nothing to write")

// update reads and writes, all or nothing.
func (s *Store) update(ctx context.Context, write func(tables) error) error {
	release, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	err = s.open(ctx, false, func(db *bbolt.DB) error {
		return db.Update(func(tx *bbolt.Tx) error { return write(tables{tx}) })
	})
	if errors.Is(err, errUnchanged) {
		return nil
	}
	return err
}

// acquire waits for this process's turn: a lock on a file does not tell
// goroutines apart.
func (s *Store) acquire(ctx context.Context) (release func(), err error) {
	if ctx.Err() == nil {
		select {
		case s.turn <- struct{}{}:
			return func() { <-s.turn }, nil
		case <-ctx.Done():
		}
	}
	return nil, ended(ctx)
}

// open waits for the file, does the work and closes it.
func (s *Store) open(ctx context.Context, readOnly bool, work func(*bbolt.DB) error) (err error) {
	var file *os.File
	defer func() {
		// bbolt panics over pages that make no sense. What it says is left out: it
		// may quote them.
		if recover() != nil {
			err = fmt.Errorf("%w: the file is damaged: restore it from a copy", anycert.ErrMalformed)
			letGo(file)
		}
	}()
	options := &bbolt.Options{
		ReadOnly: readOnly,
		Timeout:  1, // one try: bbolt's own waiting heeds no context
		OpenFile: func(path string, flag int, mode os.FileMode) (_ *os.File, err error) {
			file, err = openFile(path, flag, mode)
			return file, err
		},
	}
	for deadline := time.Now().Add(patience); ; {
		db, err := bbolt.Open(s.path, 0o600, options)
		if err == nil {
			return errors.Join(work(db), classify(db.Close()))
		}
		if !errors.Is(err, bolterrors.ErrTimeout) {
			return classify(err)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w: the file has been held for %v by %s: end it, or try again", anycert.ErrUnavailable, patience, holder(s.path))
		}
		select {
		case <-time.After(rand.N(pause)):
		case <-ctx.Done():
			return ended(ctx)
		}
	}
}

// openFile opens the store's file if it is one that only its owner can read.
func openFile(path string, flag int, mode os.FileMode) (*os.File, error) {
	before, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && flag&os.O_CREATE != 0:
		file, err := os.OpenFile(path, flag|os.O_EXCL, mode)
		if !errors.Is(err, fs.ErrExist) {
			return file, err
		}
		if before, err = os.Lstat(path); err != nil { // another process made it meanwhile
			return nil, err
		}
	case err != nil:
		return nil, err
	}
	if err := private(before); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, flag&^os.O_CREATE, mode)
	if err != nil {
		return nil, err
	}
	// What was opened must be what was looked at: a name can change hands.
	if after, err := file.Stat(); err != nil || !os.SameFile(before, after) {
		return nil, errors.Join(fmt.Errorf("%w: the file was replaced while it was opened", anycert.ErrUnavailable), err, file.Close())
	}
	return file, nil
}

// private tells why a file must not hold keys.
func private(info fs.FileInfo) error {
	switch mode := info.Mode(); {
	case mode&fs.ModeSymlink != 0:
		return fmt.Errorf("%w: it is a symbolic link: name the file itself", anycert.ErrForbidden)
	case !mode.IsRegular():
		return fmt.Errorf("%w: it is not a regular file", anycert.ErrForbidden)
	case runtime.GOOS != "windows" && mode.Perm()&0o077 != 0:
		return fmt.Errorf("%w: its mode %#o lets others at the keys: chmod 600", anycert.ErrForbidden, mode.Perm())
	}
	return nil
}

// classify gives the errors of the file system and of bbolt their meaning.
func classify(err error) error {
	switch {
	case err == nil, errors.Is(err, anycert.ErrForbidden), errors.Is(err, anycert.ErrUnavailable):
		return err
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %w", anycert.ErrForbidden, err)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrVersionMismatch), errors.Is(err, bolterrors.ErrChecksum):
		return fmt.Errorf("%w: it is not a store's file, or damaged (%w)", anycert.ErrMalformed, err)
	}
	return fmt.Errorf("%w: %w", anycert.ErrUnavailable, err)
}

func ended(ctx context.Context) error {
	return fmt.Errorf("%w: %w", anycert.ErrUnavailable, context.Cause(ctx))
}

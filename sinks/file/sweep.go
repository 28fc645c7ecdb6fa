package file

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"strings"
	"syscall"

	"github.com/anycert/anycert"
)

// remember notes what a certificate's symlink led to before this pass: whoever
// opened that version may still be reading it.
func (s *Sink) remember(certificate, version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.previous == nil {
		s.previous = map[string]string{}
	}
	s.previous[certificate] = version
}

// remembered is a copy of what was remembered.
func (s *Sink) remembered() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.previous)
}

// forget drops what was remembered, unless it has changed since.
func (s *Sink) forget(previous map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.previous, func(certificate, version string) bool {
		known, ok := previous[certificate]
		return ok && known == version
	})
}

// sweep removes, for the certificates that were swapped in this pass, all versions
// but the one in use and the one before it, and whatever a killed writer left.
func (s *Sink) sweep(ctx context.Context) error {
	previous := s.remembered()
	if len(previous) == 0 {
		return nil
	}
	a, err := s.openToWrite(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	names, err := a.privateNames()
	if err != nil {
		return err
	}
	for _, name := range names {
		before, swapped := previous[certificateOf(name)]
		if strings.HasPrefix(name, staging) || (swapped && name != before) {
			if err := a.removeUnused(name); err != nil {
				return err
			}
		}
	}
	s.forget(previous)
	return nil
}

// removeUnused removes a version of ours unless the symlink leads to it.
func (a *area) removeUnused(name string) error {
	if certificate := certificateOf(name); certificate != "" {
		switch seen, err := a.link(certificate); {
		case err != nil:
			return err
		case seen.name == name:
			return nil
		}
		switch v, err := a.read(name); {
		case err != nil:
			return err
		case a.foreignMark(v.signature()) != "":
			return nil
		}
	}
	return a.discard(name)
}

// maxNames is how many names are read of a directory: 10,000 certificates have about
// 30,000.
const maxNames = 200_000

func (a *area) privateNames() ([]string, error) {
	dir, err := a.private.Open(".")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var names []string
	for {
		some, err := dir.Readdirnames(1024)
		switch names = append(names, some...); {
		case errors.Is(err, io.EOF):
			return names, nil
		case err != nil:
			return nil, err
		case len(names) > maxNames:
			return nil, fmt.Errorf("%w: %s holds more than %d files: look what writes there", anycert.ErrMalformed, a.path(private), maxNames)
		}
	}
}

// discard takes a version away: first out of sight, then our files in it, then the
// directory. What somebody else put there stays, and the directory with it.
func (a *area) discard(name string) error {
	info, err := a.private.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := a.step("remove " + name); err != nil {
		return err
	}
	if !info.IsDir() {
		return a.private.Remove(name)
	}
	if !strings.HasPrefix(name, staging) {
		gone := staging + rand.Text()
		if err := a.private.Rename(name, gone); err != nil {
			return err
		}
		name = gone
	}
	for _, file := range versionFiles() {
		if err := a.private.Remove(path.Join(name, file)); err != nil && !leftAlone(err) {
			return err
		}
	}
	if err := a.private.Remove(name); err != nil && !leftAlone(err) {
		return err
	}
	return nil
}

func leftAlone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, fs.ErrExist)
}

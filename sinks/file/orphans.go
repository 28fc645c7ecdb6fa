package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/anycert/anycert"
)

// Orphans lists certificates below the directory that carry our mark and are not
// declared, also those whose symlink is gone. What another sink of this hub left in
// the same directory is not listed.
func (s *Sink) Orphans(ctx context.Context, declared []anycert.Target) ([]anycert.Orphan, error) {
	found, err := s.orphans(ctx, declared)
	return found, s.wrap("looking for orphans in", s.dir, err)
}

func (s *Sink) orphans(ctx context.Context, declared []anycert.Target) ([]anycert.Orphan, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	a, err := s.open()
	if errors.Is(err, fs.ErrNotExist) || (err == nil && a.private == nil) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer a.close()
	certificates, err := a.certificates()
	if err != nil {
		return nil, err
	}
	var found []anycert.Orphan
	for _, certificate := range certificates {
		orphan := anycert.Orphan{Key: "file://" + s.path(certificate), Label: s.path(certificate)}
		if slices.ContainsFunc(declared, func(t anycert.Target) bool { return t.Key == orphan.Key }) {
			continue
		}
		mark, err := a.orphanMark(ctx, certificate)
		if err != nil {
			return nil, err
		}
		if mark != nil {
			orphan.Mark = *mark
			found = append(found, orphan)
		}
	}
	return found, nil
}

// certificates are the names of which there is a version.
func (a *area) certificates() ([]string, error) {
	names, err := a.privateNames()
	if err != nil {
		return nil, err
	}
	var certificates []string
	for _, name := range names {
		if certificate := certificateOf(name); certificate != "" {
			certificates = append(certificates, certificate)
		}
	}
	slices.Sort(certificates)
	return slices.Compact(certificates), nil
}

// versions are the names of the versions of a certificate.
func (a *area) versions(certificate string) ([]string, error) {
	names, err := a.privateNames()
	return slices.DeleteFunc(names, func(name string) bool { return certificateOf(name) != certificate }), err
}

// orphanMark is the mark of the version in use, or else of the youngest; nil when
// it is not ours to remove.
func (a *area) orphanMark(ctx context.Context, certificate string) (*anycert.Mark, error) {
	seen, err := a.look(ctx, certificate)
	if err != nil {
		return nil, err
	}
	if seen.foreign != "" {
		return nil, nil
	}
	if seen.version != nil {
		return a.ourMark(seen.version, certificate), nil
	}
	names, err := a.versions(certificate)
	if err != nil {
		return nil, err
	}
	var youngest *anycert.Mark
	for _, name := range names {
		v, err := a.read(name)
		if err != nil {
			return nil, err
		}
		if mark := a.ourMark(v, certificate); mark != nil && (youngest == nil || mark.Time.After(youngest.Time)) {
			youngest = mark
		}
	}
	return youngest, nil
}

// ourMark is the mark of a version that this very sink left; else nil.
func (a *area) ourMark(v *version, certificate string) *anycert.Mark {
	if found := v.signature(); found != nil && found.Owner == a.owner && found.Sink == a.name && found.Certificate == certificate {
		return &found.Mark
	}
	return nil
}

// Remove takes the symlink away, then every version of the certificate that carries
// our mark.
func (s *Sink) Remove(ctx context.Context, orphan anycert.Orphan) error {
	return s.wrap("removing", orphan.Label, s.remove(ctx, orphan))
}

func (s *Sink) remove(ctx context.Context, orphan anycert.Orphan) error {
	certificate, ok := strings.CutPrefix(orphan.Key, "file://"+s.path("")+"/")
	if !ok || anycert.CheckName(certificate) != nil {
		return fmt.Errorf("%w: %s is no certificate below %s", anycert.ErrRefused, orphan.Key, s.dir)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	a, err := s.openToWrite(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	mark, err := a.orphanMark(ctx, certificate)
	if err != nil {
		return err
	}
	if mark == nil || *mark != orphan.Mark {
		return fmt.Errorf("%w: it has changed since it was listed: look again with `anycert prune`", anycert.ErrRefused)
	}
	return a.removeAll(certificate)
}

func (a *area) removeAll(certificate string) error {
	if err := a.step("remove " + certificate); err != nil {
		return err
	}
	if err := a.top.Remove(certificate); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	names, err := a.versions(certificate)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := a.removeUnused(name); err != nil {
			return err
		}
	}
	if err := a.private.Remove(a.owedName(certificate)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.Join(syncDir(a.private), syncDir(a.top))
}

// Probe tells whether the directory can be written, the password read, each template
// rendered and the reload command found.
func (s *Sink) Probe(ctx context.Context) error {
	return s.wrap("trying", s.dir, s.probe(ctx))
}

func (s *Sink) probe(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := s.readPassword(ctx); err != nil {
		return err
	}
	if err := s.tryTemplates(ctx); err != nil {
		return err
	}
	if len(s.reload) > 0 {
		if _, err := find(s.reload[0]); err != nil {
			return fmt.Errorf("reload %q: %w: give the command's full path", s.reload, err)
		}
	}
	if uid := os.Geteuid(); s.uid >= 0 && uid != 0 && uid != s.uid {
		return fmt.Errorf("%w: only root can give files to another owner (%d)", anycert.ErrForbidden, s.uid)
	}
	a, err := s.open()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return writable(existing(s.dir))
	case err != nil:
		return err
	}
	defer a.close()
	if a.private != nil {
		if err := writable(s.path(private)); err != nil {
			return err
		}
	}
	return writable(s.dir)
}

// existing is the nearest directory above dir that is there.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// writable asks the kernel whether this process may make files there.
func writable(dir string) error {
	err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS)
	if err != nil {
		return &fs.PathError{Op: "write to", Path: dir, Err: err}
	}
	return nil
}

package file

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"

	"github.com/anycert/anycert"
)

// Push writes a version's directory and lets the symlink lead to it. Modes and
// owners alone are mended in place. Finish has to follow: it tells the server.
func (s *Sink) Push(ctx context.Context, target anycert.Target, entry anycert.Entry, bundle *anycert.Bundle) error {
	return s.wrap("pushing to", target.Label, s.push(ctx, target.Certificate, entry, bundle))
}

func (s *Sink) push(ctx context.Context, certificate string, entry anycert.Entry, bundle *anycert.Bundle) error {
	if err := errors.Join(ctx.Err(), anycert.CheckName(certificate)); err != nil {
		return err
	}
	if entry.Digest != bundle.Digest() {
		return fmt.Errorf("version %d is %s, not the %s that was handed over", entry.Version, entry.Digest, bundle)
	}
	files, err := contents(signature{Mark: anycert.MarkOf(s.owner, entry), Sink: s.name}, bundle)
	if err != nil {
		return err
	}
	password, err := s.readPassword(ctx)
	if err != nil {
		return err
	}
	if err := s.refuse(ctx, certificate); err != nil { // before anything is made
		return err
	}
	templates := s.render(ctx, certificate) // nobody waits for Vault with the lock held
	a, err := s.openToWrite(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	w := &writer{area: a, certificate: certificate, files: files, bundle: bundle, password: password}
	if err := w.push(ctx); err != nil {
		return err
	}
	return w.writeTemplates(templates)
}

// refuse is ErrRefused when the place is someone else's.
func (s *Sink) refuse(ctx context.Context, certificate string) error {
	a, err := s.open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer a.close()
	_, err = a.lookOurs(ctx, certificate)
	return err
}

// lookOurs is look, and ErrRefused when the place is someone else's.
func (a *area) lookOurs(ctx context.Context, certificate string) (sight, error) {
	seen, err := a.look(ctx, certificate)
	if err == nil && seen.foreign != "" {
		err = fmt.Errorf("%w: %s", anycert.ErrRefused, seen.foreign)
	}
	return seen, err
}

// writer is one push, with the lock held.
type writer struct {
	*area
	certificate string
	files       map[string][]byte // but for the keystore
	bundle      *anycert.Bundle
	password    anycert.Secret
}

func (w *writer) push(ctx context.Context) error {
	seen, err := w.lookOurs(ctx, w.certificate)
	if err != nil {
		return err
	}
	final := versionName(w.certificate, w.bundle.Digest())
	inUse := seen.name
	there, err := w.read(final)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = w.place(ctx, final)
	case err == nil:
		inUse, err = w.repair(ctx, final, there, inUse)
	}
	if err != nil || inUse == final {
		return err
	}
	return w.swap(final, inUse)
}

// repair makes a version that is there as it should be. It returns the version that
// the symlink leads to afterwards.
func (w *writer) repair(ctx context.Context, name string, there *version, inUse string) (string, error) {
	if err := w.checkOurs(name, there); err != nil {
		return inUse, err
	}
	if err := w.mend(name, there); err != nil {
		return inUse, err
	}
	differing := there.differing(w.files, w.keystoreCheck(w.bundle.Digest(), w.password))
	switch {
	case len(differing) == 0:
		return inUse, nil
	case slices.Equal(differing, []string{markFile}):
		return inUse, w.replaceMark(name)
	}
	// A directory that is in use cannot be replaced in one step, and its files one by
	// one would be a torn pair: readers are led over a second copy meanwhile.
	if inUse == name {
		if err := w.standIn(ctx, name); err != nil {
			return inUse, err
		}
		inUse = name + spare
	}
	if err := w.discard(name); err != nil {
		return inUse, err
	}
	return inUse, w.place(ctx, name)
}

// standIn leads the symlink to a second copy of the version that it leads to.
func (w *writer) standIn(ctx context.Context, name string) error {
	if err := w.discard(name + spare); err != nil { // a killed writer's
		return err
	}
	if err := w.place(ctx, name+spare); err != nil {
		return err
	}
	return w.swap(name+spare, name)
}

// checkOurs is ErrRefused for a version that we may not replace.
func (w *writer) checkOurs(name string, there *version) error {
	if !there.info.IsDir() {
		return fmt.Errorf("%w: %s is %s, not a directory: remove it", anycert.ErrRefused, linkTo(name), kindOf(there.info.Mode()))
	}
	if why := w.foreignMark(there.signature()); why != "" {
		return fmt.Errorf("%w: %s: %s", anycert.ErrRefused, linkTo(name), why)
	}
	return nil
}

// mend sets modes and owners in place: a file that shows too much must not wait.
func (w *writer) mend(name string, there *version) error {
	wrong, err := w.permissions(name, there)
	if err != nil {
		return err
	}
	for _, p := range wrong {
		if err := w.step("mend " + p.path); err != nil {
			return err
		}
		at := path.Join(private, p.path)
		if p.uid >= 0 {
			if err := w.top.Lchown(at, p.uid, p.gid); err != nil {
				return err
			}
		}
		if err := w.top.Chmod(at, p.mode); err != nil { // after chown, which clears bits
			return err
		}
	}
	return nil
}

// replaceMark is for a version of the store that holds the same certificate again.
func (w *writer) replaceMark(name string) error {
	temporary := staging + rand.Text()
	if err := w.step("replace " + markFile); err != nil {
		return err
	}
	if err := w.writeFile(w.private, temporary, w.files[markFile], w.mode); err != nil {
		return err
	}
	if err := w.private.Rename(temporary, path.Join(name, markFile)); err != nil {
		return errors.Join(err, w.private.Remove(temporary))
	}
	return syncDir(w.private)
}

// place writes a whole version under a name that is free: it is complete, and on
// the disk, from the moment it has that name.
func (w *writer) place(ctx context.Context, name string) error {
	stage := staging + rand.Text()
	if err := w.step("make a version"); err != nil {
		return err
	}
	if err := w.private.Mkdir(stage, 0o700); err != nil {
		return err
	}
	err := w.fill(ctx, stage)
	if err == nil {
		err = w.step("name the version")
	}
	if err == nil {
		err = w.private.Rename(stage, name)
	}
	if err != nil {
		return errors.Join(err, w.discard(stage))
	}
	return syncDir(w.private)
}

func (w *writer) fill(ctx context.Context, stage string) error {
	root, err := w.private.OpenRoot(stage)
	if err != nil {
		return err
	}
	defer root.Close()
	files := maps.Clone(w.files)
	if w.Sink.password != nil {
		if files[keystoreFile], err = makeKeystore(w.bundle, w.password); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := errors.Join(ctx.Err(), w.step("write "+name)); err != nil {
			return err
		}
		if err := w.writeFile(root, name, files[name], w.mode); err != nil {
			return err
		}
	}
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(w.seal(dir, dirMode(w.mode)), dir.Close())
}

// writeFile makes a new file that nobody else can read before it is whole.
func (a *area) writeFile(root *os.Root, name string, data []byte, mode fs.FileMode) error {
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = a.step("fill " + name)
	if err == nil {
		_, err = file.Write(data)
	}
	if err == nil {
		err = a.seal(file, mode)
	}
	return errors.Join(err, file.Close())
}

// seal gives a file or directory its owner and mode, and waits for the disk.
func (a *area) seal(file *os.File, mode fs.FileMode) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if uid, gid := ownerOf(info); uid != a.uid || gid != a.gid {
		if err := file.Chown(a.uid, a.gid); err != nil {
			return err
		}
	}
	if err := file.Chmod(mode); err != nil { // after chown, which clears bits
		return err
	}
	return file.Sync()
}

// swap leads the symlink to another version in one step. inUse is what it led to;
// empty when there was none.
func (w *writer) swap(to, inUse string) error {
	if err := w.owe(w.certificate); err != nil { // before: see owe
		return err
	}
	if err := w.step("swap"); err != nil {
		return err
	}
	if err := w.lead(to, inUse == ""); err != nil {
		return err
	}
	w.remember(w.certificate, inUse)
	return syncDir(w.top)
}

func (w *writer) lead(to string, first bool) error {
	if first { // fails should something have appeared there
		return w.top.Symlink(linkTo(to), w.certificate)
	}
	temporary := staging + rand.Text()
	if err := w.private.Symlink(linkTo(to), temporary); err != nil {
		return err
	}
	if err := w.top.Rename(path.Join(private, temporary), w.certificate); err != nil {
		return errors.Join(err, w.private.Remove(temporary))
	}
	return nil
}

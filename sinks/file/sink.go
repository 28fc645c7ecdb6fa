// Package file keeps certificates in a directory of this machine, for servers that
// read files: nginx, HAProxy, Postfix, Java.
//
//	DIR/example -> .anycert/example-<digest>      a symlink, replaced in one step
//	DIR/.anycert/example-<digest>/fullchain.pem   leaf and issuers
//	                              privkey.pem     PKCS#8
//	                              cert.pem chain.pem combined.pem [keystore.p12]
//	                              mark.json       whose it is
//
// A version's directory is complete before the symlink leads to it, and is never
// written to while it does: who opens DIR/example once sees one pair. The version
// before stays until the next change, for those that opened it. DIR itself is never
// replaced, and all symlinks are relative, so that a process which has DIR mounted
// elsewhere sees the new pair as well.
package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/anycert/anycert"
)

// Sink is one directory, and the server that reads it.
type Sink struct {
	dir       string // absolute
	name      string
	owner     string
	mode      fs.FileMode
	uid, gid  int // -1: those of DIR/.anycert
	password  anycert.Credential
	templates []template
	reload    []string
	timeout   time.Duration

	step func(name string) error // called before each write; tests make it fail

	mu       sync.Mutex
	previous map[string]string // version that a certificate had before this pass
}

var (
	_ anycert.Sink          = (*Sink)(nil)
	_ anycert.Finisher      = (*Sink)(nil)
	_ anycert.OrphanLister  = (*Sink)(nil)
	_ anycert.OrphanRemover = (*Sink)(nil)
	_ anycert.Prober        = (*Sink)(nil)
)

// Targets is one directory for each certificate.
func (s *Sink) Targets(certificate string, _ []string) ([]anycert.Target, error) {
	if err := anycert.CheckName(certificate); err != nil {
		return nil, err
	}
	path := s.path(certificate)
	return []anycert.Target{{Key: "file://" + path, Label: path, Certificate: certificate}}, nil
}

func (s *Sink) path(certificate string) string { return filepath.Join(s.dir, certificate) }

// area is the sink's directory, opened: everything below is reached from there, so
// that no symlink leads out of it.
type area struct {
	*Sink
	top      *os.Root // DIR
	private  *os.Root // DIR/.anycert; nil: there is none yet
	uid, gid int      // of the files
	lock     *os.File // held by a writer
}

// open opens what is there, for reading. fs.ErrNotExist: there is no DIR.
func (s *Sink) open() (*area, error) {
	if info, err := os.Stat(s.dir); err != nil {
		return nil, err
	} else if !info.IsDir() { // opening a pipe would wait for its other end
		return nil, fmt.Errorf("%w: %s is %s, not a directory", anycert.ErrRefused, s.dir, kindOf(info.Mode()))
	}
	if err := s.checkPlace(); err != nil {
		return nil, err
	}
	top, err := os.OpenRoot(s.dir)
	if err != nil {
		return nil, err
	}
	a := &area{Sink: s, top: top, uid: s.uid, gid: s.gid}
	if err := a.openPrivate(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.close()
		return nil, err
	}
	return a, nil
}

func (a *area) openPrivate() error {
	info, err := a.top.Lstat(private)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%w: %s is %s, not a directory: move it away", anycert.ErrRefused, a.path(private), kindOf(info.Mode()))
	}
	if a.private, err = a.top.OpenRoot(private); err != nil {
		return err
	}
	if info, err = a.private.Stat("."); err != nil { // what was opened
		return err
	}
	if err := a.checkPrivate(info); err != nil {
		return err
	}
	uid, gid := ownerOf(info)
	if a.uid < 0 {
		a.uid = uid
	}
	if a.gid < 0 {
		a.gid = gid
	}
	return nil
}

// openToWrite makes the directories where they are missing, and keeps other writers
// out until close.
func (s *Sink) openToWrite(ctx context.Context) (*area, error) {
	if err := s.makeDir(); err != nil {
		return nil, err
	}
	a, err := s.open()
	if err != nil {
		return nil, err
	}
	if a.private == nil {
		err = a.makePrivate()
	}
	if err == nil {
		a.lock, err = Lock(ctx, a.private)
	}
	if err == nil {
		err = a.mendPrivate()
	}
	if err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

func (s *Sink) makeDir() error {
	if _, err := os.Stat(s.dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s.step("make the directory"); err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return err
	}
	parent, err := os.Open(filepath.Dir(s.dir))
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}

// privateMode lets everybody through to the versions; each says for itself who may
// read it.
const privateMode = 0o755

func (a *area) makePrivate() error {
	if err := a.step("make " + private); err != nil {
		return err
	}
	if err := a.top.Mkdir(private, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := a.top.Chmod(private, privateMode); err != nil { // whatever the umask
		return err
	}
	return errors.Join(syncDir(a.top), a.openPrivate())
}

// mendPrivate takes back rights by which others could replace a version.
func (a *area) mendPrivate() error {
	info, err := a.private.Lstat(".")
	if err != nil || info.Mode().Perm() == privateMode {
		return err
	}
	if err := a.step("mend " + private); err != nil {
		return err
	}
	return a.top.Chmod(private, privateMode)
}

func (a *area) close() {
	if a.lock != nil {
		_ = a.lock.Close() // and with it the lock
	}
	if a.private != nil {
		_ = a.private.Close()
	}
	_ = a.top.Close()
}

// syncDir makes the names in a directory survive a power failure.
func syncDir(root *os.Root) error {
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func ownerOf(info fs.FileInfo) (uid, gid int) {
	stat := info.Sys().(*syscall.Stat_t)
	return int(stat.Uid), int(stat.Gid)
}

// wrap says what was being done, and what a person can do where that is known.
func (s *Sink) wrap(doing, label string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, anycert.ErrForbidden):
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s %s: %w: %w: run as root, or as the owner of %s", doing, label, anycert.ErrForbidden, err, s.dir)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%s %s: %w: %w: mount it writable, or use another dir", doing, label, anycert.ErrForbidden, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%s %s: %w: %w: make room", doing, label, anycert.ErrUnavailable, err)
	}
	return fmt.Errorf("%s %s: %w", doing, label, err)
}

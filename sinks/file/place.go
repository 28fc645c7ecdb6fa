package file

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/anycert/anycert"
)

// Files get the owner and group of DIR/.anycert where none are configured: whoever
// could make that, or DIR itself, before us would be given the keys. So neither may be
// a stranger's where a stranger could have put it.

// checkPlace refuses a DIR that a stranger could have put where everybody may write,
// such as below /tmp.
func (s *Sink) checkPlace() error {
	resolved, err := filepath.EvalSymlinks(s.dir)
	if err != nil {
		return err
	}
	for _, path := range []string{s.dir, resolved} {
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		parent, err := os.Stat(filepath.Dir(path))
		if err != nil {
			return err
		}
		if uid, _ := ownerOf(info); s.stranger(info) && parent.Mode().Perm()&0o002 != 0 {
			return fmt.Errorf("%w: %s belongs to another user (%d), who could put it there, since everybody may write into %s: use another dir, or name that user as owner",
				anycert.ErrRefused, path, uid, filepath.Dir(path))
		}
	}
	return nil
}

// checkPrivate refuses a stranger's DIR/.anycert where others may write into DIR.
// Elsewhere somebody gave it to him who could: see Config.Owner.
func (a *area) checkPrivate(info fs.FileInfo) error {
	dir, err := a.top.Stat(".")
	if err != nil {
		return err
	}
	if uid, _ := ownerOf(info); a.stranger(info) && dir.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%w: %s belongs to another user (%d), who could put it there, since others may write into %s (mode %04o): remove it, or name that user as owner",
			anycert.ErrRefused, a.path(private), uid, a.dir, dir.Mode().Perm())
	}
	return nil
}

// stranger reports whether something belongs neither to root, nor to the user of this
// process, nor to the configured owner.
func (s *Sink) stranger(info fs.FileInfo) bool {
	uid, _ := ownerOf(info)
	return uid != 0 && uid != os.Geteuid() && uid != s.uid
}

// Package trusted reads the files that decide where private keys go: the
// configuration, credentials, kubeconfigs and CAs. Who can change one of them can
// have our keys sent to himself, so a file that someone else may write is refused.
// The rules are those of OpenSSH's StrictModes
// (https://man.openbsd.org/sshd_config#StrictModes), loosened where a container
// platform would fail them without anybody being able to write:
//
//   - the file is a regular one, and neither its group nor others may write it;
//   - the file, the directory that holds it, and each symlink on the way to it
//     belong to root or to the user of this process;
//   - not everybody may write into such a directory, unless it has the sticky bit.
//
// What lies on a read-only mount can belong to anybody: it cannot be changed from
// here. Directories further up are not looked at.
package trusted

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/anycert/anycert"
)

// MaxCredential bounds a token or password, in bytes.
const MaxCredential = 64 << 10

// Read returns what is in the file: ErrMalformed when it has more than limit bytes
// or is no regular file, ErrRefused when someone else may write it. It never waits
// for the other end of a pipe. Every error is a *fs.PathError.
func Read(path string, limit int64) ([]byte, error) {
	if err := Check(path, limit); err != nil {
		return nil, err
	}
	// Should it have become a pipe since, opening it does not wait.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil {
		return nil, err
	} else if err := checkFile(path, info, limit); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > limit {
		return nil, tooLong(path, limit)
	}
	return text, nil
}

// Check judges a file as Read does, for those that must leave the reading to others.
// It opens nothing.
func Check(path string, limit int64) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if err := checkFile(path, info, limit); err != nil {
		return err
	}
	return checkWay(path)
}

func checkFile(path string, info fs.FileInfo, limit int64) error {
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return refuse(path, anycert.ErrMalformed, "it is not a regular file")
	case info.Size() > limit:
		return tooLong(path, limit)
	case mode.Perm()&0o022 == 0o020: // its owner may be alone in the group: nobody says so here
		return refuse(path, anycert.ErrRefused, "others may write it (mode %04o): chmod go-w %s, and umask 022 for those to come", mode.Perm(), path)
	case mode.Perm()&0o002 != 0:
		return refuse(path, anycert.ErrRefused, "others may write it (mode %04o): chmod go-w %s", mode.Perm(), path)
	case !ours(info) && !readOnly(path):
		return refuse(path, anycert.ErrRefused, "it belongs to another user (%d), who may write it: chown it to root or to the user that anycert runs as, or mount it read-only", uid(info))
	}
	return nil
}

// maxLinks is as many as Linux follows.
const maxLinks = 40

// checkWay judges the directories in which the file, and each symlink that leads to
// it, could be replaced.
func checkWay(path string) error {
	at := path
	for range maxLinks {
		dir, err := filepath.EvalSymlinks(filepath.Dir(at))
		if err != nil {
			return err
		}
		if err := checkDir(path, dir); err != nil {
			return err
		}
		info, err := os.Lstat(at)
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			return nil
		}
		if !ours(info) && !readOnly(dir) {
			return refuse(path, anycert.ErrRefused, "the symlink %s belongs to another user (%d), who may lead it elsewhere: name the file itself", at, uid(info))
		}
		to, err := os.Readlink(at)
		if err != nil {
			return err
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(dir, to)
		}
		at = to
	}
	return &fs.PathError{Op: "open", Path: path, Err: syscall.ELOOP}
}

func checkDir(path, dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	everybody := info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0
	switch {
	case !everybody && ours(info) || readOnly(dir):
		return nil
	case everybody:
		return refuse(path, anycert.ErrRefused, "everybody may replace it, for everybody may write into its directory (mode %04o): chmod o-w %s, or mount it read-only", info.Mode().Perm(), dir)
	}
	return refuse(path, anycert.ErrRefused, "its directory %s belongs to another user (%d), who may replace it: keep it in one of root or of the user that anycert runs as, or mount it read-only", dir, uid(info))
}

func tooLong(path string, limit int64) error {
	return refuse(path, anycert.ErrMalformed, "it has more than %d bytes", limit)
}

func refuse(path string, why error, format string, args ...any) error {
	return &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("%w: "+format, append([]any{why}, args...)...)}
}

// Shown warns of a credential that every user of this machine may read; it is empty
// where there is nothing to say, also when the file is not there. What container
// platforms mount is shown to the container alone, whatever its mode.
func Shown(path string) string {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o004 == 0 || mounted(path) {
		return ""
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	if real, err = filepath.Abs(real); err != nil {
		return ""
	}
	for dir := filepath.Dir(real); ; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm()&0o001 == 0 {
			return "" // nobody else gets this far
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	return fmt.Sprintf("every user of this machine may read it (mode %04o): chmod o-r %s", info.Mode().Perm(), path)
}

// mounted reports whether a container platform put a file where it is: on a
// read-only mount; in Kubernetes' layout, path -> ..data/…; or below /run/secrets.
func mounted(path string) bool {
	if readOnly(path) {
		return true
	}
	if to, err := os.Readlink(path); err == nil && strings.HasPrefix(to, "..data/") {
		return true
	}
	real, err := filepath.EvalSymlinks(filepath.Dir(path))
	return err == nil && (real == "/run/secrets" || strings.HasPrefix(real, "/run/secrets/"))
}

func uid(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

// ours reports whether something belongs to root or to the user of this process.
func ours(info fs.FileInfo) bool { return uid(info) == 0 || uid(info) == os.Geteuid() }

// readOnly reports whether path lies on a read-only mount: ST_RDONLY of Linux,
// MNT_RDONLY of the BSDs and macOS.
func readOnly(path string) bool {
	const flag = 1
	var found syscall.Statfs_t
	return syscall.Statfs(path, &found) == nil && uint64(found.Flags)&flag != 0
}

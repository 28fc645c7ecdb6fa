package file

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"syscall"

	"github.com/anycert/anycert"
)

// maxFile is how many bytes of a file are read. No file of ours comes near it.
const maxFile = 1 << 20

// version is what lies in the directory of a version.
type version struct {
	info  fs.FileInfo // of the directory
	files map[string]content
}

// content is a file of a version.
type content struct {
	info  fs.FileInfo
	data  []byte
	wrong string // why it was not read: it is no file, or too large
}

// read reads all files of a version that are ours. fs.ErrNotExist: there is no such
// version.
func (a *area) read(name string) (*version, error) {
	if a.private == nil {
		return nil, fs.ErrNotExist
	}
	info, err := a.private.Lstat(name)
	if err != nil {
		return nil, err
	}
	v := &version{info: info, files: map[string]content{}}
	if !info.IsDir() {
		return v, nil
	}
	root, err := a.private.OpenRoot(name)
	if shutOut(info, err) {
		return v, nil
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	for _, name := range versionFiles() {
		switch c, err := readFile(root, name); {
		case err == nil:
			v.files[name] = c
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
	}
	return v, nil
}

// readFile reads a regular file. Anything else in its place is told and not opened;
// should it get there after the look, opening it neither waits nor leads out.
func readFile(root *os.Root, name string) (content, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return content{}, err
	}
	if !info.Mode().IsRegular() {
		return content{info: info, wrong: "it is " + kindOf(info.Mode()) + ", not a file"}, nil
	}
	file, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if shutOut(info, err) {
		return content{info: info, wrong: "its mode keeps even its owner out"}, nil
	}
	if err != nil {
		return content{}, err
	}
	defer file.Close()
	opened, err := file.Stat()
	if err != nil {
		return content{}, err
	}
	if !os.SameFile(info, opened) {
		return content{info: info, wrong: "it changed while it was read"}, nil
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if len(data) > maxFile {
		return content{info: info, wrong: "it is too large"}, nil
	}
	return content{info: info, data: data}, err
}

// shutOut reports whether we may not open something of our own: its mode is wrong,
// which we can mend, and not our rights.
func shutOut(info fs.FileInfo, err error) bool {
	uid, _ := ownerOf(info)
	return errors.Is(err, fs.ErrPermission) && uid == os.Geteuid()
}

// signature says who left a version; nil when that cannot be read.
func (v *version) signature() *signature { return parseSignature(v.files[markFile].data) }

// differing lists the files that are not as wanted.
func (v *version) differing(want map[string][]byte, keystore func(data []byte) string) []string {
	if !v.info.IsDir() {
		return slices.Sorted(maps.Keys(want))
	}
	var names []string
	for name, data := range want {
		if c, ok := v.files[name]; !ok || c.wrong != "" || string(c.data) != string(data) {
			names = append(names, name)
		}
	}
	if keystore != nil {
		if c, ok := v.files[keystoreFile]; !ok || c.wrong != "" || keystore(c.data) != "" {
			names = append(names, keystoreFile)
		}
	}
	slices.Sort(names)
	return names
}

// permission is one right that is not as promised.
type permission struct {
	path      string // within DIR/.anycert; "." is that itself
	deviation anycert.Deviation
	mode      fs.FileMode
	uid, gid  int // -1: not to be changed
}

// permissions lists everything about a version whose mode or owner is not as
// promised.
func (a *area) permissions(name string, v *version) ([]permission, error) {
	top, err := a.private.Lstat(".")
	if err != nil {
		return nil, err
	}
	found := a.permissionsOf(".", top, privateMode, -1, -1)
	found = append(found, a.permissionsOf(name, v.info, dirMode(a.mode), a.uid, a.gid)...)
	for _, file := range slices.Sorted(maps.Keys(v.files)) {
		if c := v.files[file]; c.info.Mode().IsRegular() {
			found = append(found, a.permissionsOf(path.Join(name, file), c.info, a.mode, a.uid, a.gid)...)
		}
	}
	return found, nil
}

func (a *area) permissionsOf(name string, info fs.FileInfo, mode fs.FileMode, wantUID, wantGID int) []permission {
	p := permission{path: name, mode: mode, uid: wantUID, gid: wantGID}
	var found []permission
	if got := info.Mode().Perm(); got != mode {
		p.deviation = deviation("mode", "%s has mode %04o, want %04o", path.Base(name), got, mode)
		found = append(found, p)
	}
	if uid, gid := ownerOf(info); wantUID >= 0 && (uid != wantUID || gid != wantGID) {
		p.deviation = deviation("owner", "%s belongs to %d:%d, want %d:%d", path.Base(name), uid, gid, wantUID, wantGID)
		found = append(found, p)
	}
	return found
}

func deviation(kind, format string, args ...any) anycert.Deviation {
	return anycert.Deviation{Kind: kind, Detail: fmt.Sprintf(format, args...)}
}

package main

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

// files watches what the daemon does below its directory of certificates, by inotify(7).
// The kernel tells of it when it is done: these points are reached a moment later, or
// two, and have no before.
type files struct {
	gate   *gate
	events *os.File
	fd     int
	dirs   map[int32]string // by watch; of the reader alone
}

func startFiles(g *gate, dir string) (*files, error) {
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		return nil, err
	}
	f := &files{gate: g, events: os.NewFile(uintptr(fd), "inotify"), fd: fd, dirs: map[int32]string{}}
	if err := f.watch(dir); err != nil {
		f.close()
		return nil, err
	}
	go f.read()
	return f, nil
}

func (f *files) close() { _ = f.events.Close() }

func (f *files) watch(dir string) error {
	number, err := syscall.InotifyAddWatch(f.fd, dir, syscall.IN_CREATE|syscall.IN_MOVED_TO|syscall.IN_CLOSE_WRITE|syscall.IN_DELETE|syscall.IN_ONLYDIR)
	if err == nil {
		f.dirs[int32(number)] = dir
	}
	return err
}

// read ends with close.
func (f *files) read() {
	buffer := make([]byte, 1<<16)
	for {
		n, err := f.events.Read(buffer)
		if err != nil {
			return
		}
		life := f.gate.now.Load()
		for rest := buffer[:n]; len(rest) >= syscall.SizeofInotifyEvent; {
			watch := int32(binary.NativeEndian.Uint32(rest))
			mask := binary.NativeEndian.Uint32(rest[4:])
			end := syscall.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(rest[12:]))
			name := strings.TrimRight(string(rest[syscall.SizeofInotifyEvent:end]), "\x00")
			rest = rest[end:]
			if mask&syscall.IN_ISDIR != 0 && mask&syscall.IN_CREATE != 0 {
				_ = f.watch(filepath.Join(f.dirs[watch], name)) // it may be gone already
			}
			if did := deeds[mask&^syscall.IN_ISDIR]; did != "" {
				life.diesAt(point{call: nameFile(did, filepath.Base(f.dirs[watch]), name), after: true})
			}
		}
	}
}

// certificate is the name of one at the beginning of a file's, and of a version's.
var certificate = regexp.MustCompile(`^(host|shop)[0-9]+`)

// deeds are the words for what can be done to a file.
var deeds = map[uint32]string{
	syscall.IN_CREATE: "makes", syscall.IN_MOVED_TO: "renames to", syscall.IN_CLOSE_WRITE: "has written", syscall.IN_DELETE: "removes",
}

// nameFile names what was done to a file: the names of certificates and versions, and
// what the daemon makes up, do not matter.
func nameFile(did, dir, name string) string {
	return "file, " + did + " " + kindOfName(dir) + "/" + kindOfName(name)
}

func kindOfName(name string) string {
	switch {
	case strings.HasPrefix(name, "tmp-"):
		return "STAGED"
	case certificate.MatchString(name) && strings.Contains(name, "-"):
		return "VERSION"
	case certificate.MatchString(name):
		return "CERTIFICATE"
	}
	return name
}

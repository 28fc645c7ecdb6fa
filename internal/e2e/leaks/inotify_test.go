//go:build linux

package leaks

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"syscall"
)

// watchFiles notes each file that is made in the programs' folders from now on,
// however short its life, and keeps what can still be read of it (inotify(7)).
func (w *witness) watchFiles() error {
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		return err
	}
	dirs := map[int32]string{}
	for _, dir := range w.dirs() {
		watch, err := syscall.InotifyAddWatch(fd, dir, syscall.IN_CREATE|syscall.IN_MOVED_TO|syscall.IN_CLOSE_WRITE)
		if err != nil {
			return err
		}
		dirs[int32(watch)] = dir
	}
	events := os.NewFile(uintptr(fd), "inotify") // not blocking, so that Close ends a Read
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buffer := make([]byte, 1<<16)
		for {
			n, err := events.Read(buffer)
			if err != nil {
				return
			}
			for rest := buffer[:n]; len(rest) >= syscall.SizeofInotifyEvent; {
				watch := int32(binary.NativeEndian.Uint32(rest))
				end := syscall.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(rest[12:]))
				name := string(bytes.TrimRight(rest[syscall.SizeofInotifyEvent:end], "\x00"))
				w.sawFile(filepath.Join(dirs[watch], name))
				rest = rest[end:]
			}
		}
	}()
	w.t.Cleanup(func() {
		_ = events.Close()
		<-ended
	})
	return nil
}

func (w *witness) sawFile(path string) {
	text, err := os.ReadFile(path)
	if err == nil {
		w.keep("the file "+path, text)
	}
	w.keep("the name of a file", []byte(path))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.files = append(w.files, path)
}

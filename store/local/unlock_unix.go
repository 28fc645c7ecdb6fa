//go:build unix && !solaris && !aix

package local

import (
	"os"
	"syscall"
)

// letGo closes a file that bbolt still maps: the mapping keeps the lock, which
// therefore has to be given up first.
func letGo(file *os.File) {
	if file != nil {
		_ = syscall.Flock(int(file.Fd()), syscall.LOCK_UN)
		_ = file.Close()
	}
}

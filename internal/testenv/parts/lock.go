//go:build unix

package parts

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// lock waits until no other program holds the file's lock. The kernel frees it
// when the holder ends, however it ends.
func lock(name string) (unlock func(), err error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		file.Close()
		return nil, fmt.Errorf("locking %s: %w", name, err)
	}
	return func() { file.Close() }, nil
}

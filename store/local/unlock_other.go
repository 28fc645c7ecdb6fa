//go:build !unix || solaris || aix

package local

import "os"

// letGo closes a file, and with it the lock.
func letGo(file *os.File) {
	if file != nil {
		_ = file.Close()
	}
}

//go:build unix

package issuer

import (
	"errors"
	"syscall"
)

// alive reports whether a process exists. When that cannot be told, it does.
func alive(pid int) bool {
	return pid <= 0 || !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

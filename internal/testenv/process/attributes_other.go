//go:build unix && !linux

package process

import "syscall"

// attributes keeps a Ctrl-C at the terminal from reaching the child before we
// have stopped it in order.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

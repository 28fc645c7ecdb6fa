package process

import "syscall"

// attributes makes the child die with us, however we end, and keeps a Ctrl-C
// at the terminal from reaching it before we have stopped it in order.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

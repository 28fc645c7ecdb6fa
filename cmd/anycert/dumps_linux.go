package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// forbidDumps keeps the memory of this process, keys among it, to itself: a crash
// writes no core file, also where core_pattern is a pipe, which heeds no limit; and
// no process without CAP_SYS_PTRACE looks into it or reads its environment, one of
// the same user included
// (https://man7.org/linux/man-pages/man2/PR_SET_DUMPABLE.2const.html). The commands
// that it starts can be looked into as ever.
func forbidDumps() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("forbidding core dumps: %w", err)
	}
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) // a second lock, which a sandbox may not let us put on
	return nil
}

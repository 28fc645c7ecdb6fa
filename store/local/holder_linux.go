package local

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// holder names the process that holds the lock of a file: proc(5), /proc/locks.
// Its arguments are left out, for they may hold anything.
func holder(path string) string {
	const unknown = "another process"
	info, err := os.Stat(path)
	if err != nil {
		return unknown
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return unknown
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return unknown
	}
	for line := range strings.Lines(string(locks)) {
		pid, inode, ok := parseLock(line)
		if !ok || inode != stat.Ino || pid <= 0 {
			continue
		}
		command, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
		if err != nil {
			return fmt.Sprintf("process %d", pid)
		}
		return fmt.Sprintf("process %d (%s)", pid, strings.TrimSpace(string(command)))
	}
	return unknown
}

// parseLock reads "1: FLOCK  ADVISORY  WRITE 4711 08:01:131090 0 EOF". The device
// is not compared: what a file system tells there differs from what stat tells.
func parseLock(line string) (pid int, inode uint64, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 6 || fields[1] != "FLOCK" {
		return 0, 0, false
	}
	pid, pidErr := strconv.Atoi(fields[4])
	place := strings.Split(fields[5], ":")
	inode, inodeErr := strconv.ParseUint(place[len(place)-1], 10, 64)
	return pid, inode, pidErr == nil && inodeErr == nil
}

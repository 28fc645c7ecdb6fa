//go:build !linux

package main

import (
	"fmt"
	"syscall"
)

// forbidDumps keeps a crash from writing the memory, keys among it, to a file.
func forbidDumps() error {
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("forbidding core dumps: %w", err)
	}
	return nil
}

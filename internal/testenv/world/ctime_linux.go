package world

import "syscall"

// changed is when an inode was changed last, in nanoseconds: also by a chmod to the
// mode that it has.
func changed(stat *syscall.Stat_t) int64 { return stat.Ctim.Nano() }

package local

import "testing"

func TestParseLock(t *testing.T) {
	tests := map[string]struct {
		line  string
		pid   int
		inode uint64
		ok    bool
	}{
		"flock":     {"1: FLOCK  ADVISORY  WRITE 4711 08:01:131090 0 EOF\n", 4711, 131090, true},
		"shared":    {"12: FLOCK  ADVISORY  READ 7 fd:00:9 0 EOF\n", 7, 9, true},
		"posix":     {"2: POSIX  ADVISORY  WRITE 4711 08:01:131090 0 EOF\n", 0, 0, false},
		"waiting":   {"1: -> FLOCK  ADVISORY  WRITE 4712 08:01:131090 0 EOF\n", 0, 0, false},
		"not there": {"", 0, 0, false},
		"nonsense":  {"1: FLOCK a b c d e f", 0, 0, false},
	}
	for name, test := range tests {
		pid, inode, ok := parseLock(test.line)
		if ok != test.ok || ok && (pid != test.pid || inode != test.inode) {
			t.Errorf("%s: process %d, inode %d, %t", name, pid, inode, ok)
		}
	}
}

package auditlog_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert/internal/testenv/auditlog"
)

// even parses numbers, of which the even ones count.
func even(line []byte) (n int, counts bool, err error) {
	n, err = strconv.Atoi(strings.TrimSpace(string(line)))
	return n, n%2 == 0, err
}

func TestSinceReadsWholeLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if _, err := auditlog.End(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the end of no log: %v", err)
	}
	write(t, path, "2\n3\n")
	end, err := auditlog.End(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, "4\n6\n8") // of which the last is still being written
	for since, want := range map[int64][]int{0: {2, 4, 6}, end: {4, 6}} {
		got, err := auditlog.Since(path, since, even)
		if err != nil || !cmp.Equal(got, want) {
			t.Errorf("since %d: %v (%v), want %v", since, got, err, want)
		}
	}
	write(t, path, "x\n")
	if got, err := auditlog.Since(path, 0, even); !errors.Is(err, strconv.ErrSyntax) {
		t.Errorf("a line that cannot be read: %v, %v", got, err)
	}
}

// A line that is being written at the end is one of those after it.
func TestEndIsThatOfAWholeLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	begun := strings.Repeat("0", 10_000) + "10"
	for _, whole := range []string{"", "2\n", "4\n" + begun + "6\n"} {
		write(t, path, whole+begun)
		end, err := auditlog.End(path)
		if err != nil {
			t.Fatal(err)
		}
		write(t, path, "8\n")
		if got, err := auditlog.Since(path, end, even); err != nil || !cmp.Equal(got, []int{108}) {
			t.Errorf("after %d bytes: %v (%v)", len(whole), got, err)
		}
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if end, err := auditlog.End(path); err != nil || end != before.Size() {
		t.Errorf("of %d bytes in whole lines the end is at %d (%v)", before.Size(), end, err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteString(text)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
}

// Package table holds a table of a page to what a test knows to be so.
package table

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const end = "<!-- end -->\n"

// Stands fails unless the page holds rows where it says that the test of a package writes
// them; with update they are written there.
func Stands(t *testing.T, page, folder, rows string, update bool) {
	t.Helper()
	command := "go test " + folder + " -run TestTable -update"
	begin := "<!-- written by: " + command + " -->\n"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, ended := strings.Cut(rest, end)
	if !ok || !ended {
		t.Fatalf("%s has no place for the table: %s%s", page, begin, end)
	}
	want := before + begin + rows + end + after
	switch {
	case want == string(text):
	case update:
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the table of %s is not that of the test: %s", filepath.Base(page), command)
	}
}

// Cell is text that may hold what ends a cell.
func Cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

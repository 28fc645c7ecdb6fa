package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/anycert/anycert/internal/breaks/overlay"
)

// Each of the eleven laws is broken by at least one patch, and each patch applies.
// Whether it is seen takes minutes: that is `make breaks`.
func TestEveryLawHasABreak(t *testing.T) {
	if err := os.Chdir("../.."); err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob("internal/breaks/*.patch")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("docs/design.md")
	if err != nil {
		t.Fatal(err)
	}
	var laws []string
	for _, path := range paths {
		p, err := read(path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		laws = append(laws, p.law)
		if _, err := overlay.Write(t.TempDir(), ".", path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if !bytes.Contains(page, []byte("| "+p.breaks+" | `"+p.test+"`")) {
			t.Errorf("%s: docs/design.md has no line for it: it breaks what %s sees", path, p.test)
		}
	}
	for law := 1; law <= 11; law++ {
		if !slices.Contains(laws, strconv.Itoa(law)) {
			t.Errorf("no patch breaks law %d", law)
		}
	}
}

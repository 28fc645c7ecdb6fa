package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// checkouts makes two copies of this checkout, with all that git does not ignore, in
// two folders. Nobody edits them while a test builds.
func checkouts(t *testing.T) (one, other string) {
	t.Helper()
	one, other = filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "somewhere", "else")
	git(t, ".", "clone", "--quiet", "--shared", "--no-checkout", top(t), one)
	if err := os.CopyFS(other, os.DirFS(one)); err != nil { // which has no file yet
		t.Fatal(err)
	}
	names := bytes.Split(git(t, top(t), "ls-files", "-z", "--cached", "--others", "--exclude-standard"), []byte{0})
	for _, to := range []string{one, other} {
		git(t, to, "read-tree", "HEAD")
	}
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(top(t), string(name)))
		if os.IsNotExist(err) || len(name) == 0 {
			continue // deleted, and not yet from the index
		}
		must(t, err)
		for _, to := range []string{one, other} {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(to, string(name))), 0o755))
			must(t, os.WriteFile(filepath.Join(to, string(name)), data, 0o644))
		}
	}
	return one, other
}

// top is the folder of the checkout that the test runs in.
func top(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	must(t, err)
	return dir
}

func git(t *testing.T, dir string, args ...string) []byte {
	t.Helper()
	return command(t, dir, "git", args...)
}

func command(t *testing.T, dir, program string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
	return out
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

//go:build linux

// Package leaks searches all that the shipped binary says and leaves behind for the
// secrets that it works with: private keys that were planted in Vault, those that
// it makes itself, and every token that it is given. It does so with every debug
// switch on that the libraries below know, and between servers that repeat what
// they were sent.
package leaks

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// anycert is the program as it is shipped, built once for all tests.
var anycert string

func TestMain(m *testing.M) {
	if how := os.Getenv(leakyEnv); how != "" {
		if err := leakBy(how); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "anycert-leaks")
	if err == nil {
		defer os.RemoveAll(dir)
		anycert = filepath.Join(dir, "anycert")
		build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", anycert, "../../../cmd/anycert")
		build.Stdout, build.Stderr = os.Stderr, os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "building anycert:", err)
		return 1
	}
	return m.Run()
}

// dependOnSources tells go test what the binary was built from, so that it does not
// take the result of an older one for this one's: it notes each folder that a test
// reads.
func dependOnSources(t *testing.T) {
	t.Helper()
	const root = "../../.."
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && path != root && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata") {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

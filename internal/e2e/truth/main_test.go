// Package truth shows what becomes of the places when something is wrong with the
// store, or with one of them: nothing is deleted, nothing is downgraded, nobody is
// restarted, and everything is mended when the trouble is over. The shipped binary
// stands between a real Vault and a real kube-apiserver.
package truth

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// binary is the program as it is shipped, built once for all tests.
var binary string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "anycert-truth")
	if err == nil {
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "anycert")
		build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", binary, "../../../cmd/anycert")
		build.Stdout, build.Stderr = os.Stderr, os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "building anycert:", err)
		return 1
	}
	// These tests wait more than they work: more may run at once than there are cores.
	if err := flag.Set("test.parallel", "4"); err != nil {
		fmt.Fprintln(os.Stderr, err)
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

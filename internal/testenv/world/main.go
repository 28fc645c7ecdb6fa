package world

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/anycert/anycert/internal/testenv/program"
)

// binary is the program as it is shipped, built once for all tests of a package.
var binary string

// Main is the TestMain of a package of end-to-end tests: it builds the binary,
// runs the tests and ends the process.
func Main(m *testing.M) { os.Exit(buildAndRun(m)) }

// Binary is the path of the binary that Main built.
func Binary() string { return binary }

func buildAndRun(m *testing.M) (code int) {
	dir, err := os.MkdirTemp("", "anycert-world")
	if err == nil {
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "anycert")
		err = program.Build(context.Background(), binary)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

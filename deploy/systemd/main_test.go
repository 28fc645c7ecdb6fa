// Package systemd holds the units to what they say: systemd itself judges them, and
// the follower runs with what its unit leaves it, between a real Vault and a real
// nginx, with a real polkitd in between.
package systemd

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/anycert/anycert/internal/testenv/program"
)

// binary is anycert as `make build` builds it.
var binary string

func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		switch os.Args[1] { // this binary is its own helper too
		case "systemctl":
			os.Exit(systemctl(os.Args[2], os.Args[3:]))
		case "refuse":
			os.Exit(refuse(os.Args[2], os.Args[3:]))
		}
	}
	dir, err := os.MkdirTemp("", "anycert-systemd")
	if err == nil {
		err = os.Chmod(dir, 0o755) // others run the binary
	}
	if err == nil {
		binary = filepath.Join(dir, "anycert")
		err = program.Build(context.Background(), binary)
	}
	code := 1
	if err == nil {
		code = m.Run()
	} else {
		fmt.Fprintln(os.Stderr, err)
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// unit is what a unit file sets: several values of one name are kept in their order.
type unit map[string][]string

func readUnit(t *testing.T, path string) unit {
	t.Helper()
	u := unit{}
	for line := range strings.Lines(read(t, path)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && !strings.HasPrefix(name, "#") {
			u[name] = append(u[name], value)
		}
	}
	return u
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	return string(text)
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// replace is strings.Replace for what must be there.
func replace(t *testing.T, text, old, with string) string {
	t.Helper()
	if !strings.Contains(text, old) {
		t.Fatalf("there is no %q in\n%s", old, text)
	}
	return strings.ReplaceAll(text, old, with)
}

func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Package e2e proves the main job from one end to the other: the shipped binary
// between a real Vault, a real kube-apiserver, Pebble, a DNS server, the stand-ins
// for Fastly and Fly.io, and nginx. What a target holds is never asked of a sink:
// it is read by other clients, and by handshakes.
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// binary is the program as it is shipped, built once for all tests.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "anycert-e2e")
	if err == nil {
		binary = filepath.Join(dir, "anycert")
		err = build(binary)
	}
	code := 1
	if err == nil {
		code = m.Run()
	} else {
		fmt.Fprintln(os.Stderr, "building anycert:", err)
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// build is what `make build` does.
func build(to string) error {
	cmd := exec.Command("go", "build", "-ldflags", "-s -w", "-o", to, "../../cmd/anycert")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
}

//go:build linux

// Package leaks searches all that the shipped binary says and leaves behind for the
// secrets that it works with: private keys that were planted in Vault, those that
// it makes itself, and every token that it is given. It does so with every debug
// switch on that the libraries below know, and between servers that repeat what
// they were sent.
package leaks

import (
	"fmt"
	"os"
	"testing"

	"github.com/anycert/anycert/internal/testenv/world"
)

func TestMain(m *testing.M) {
	if how := os.Getenv(leakyEnv); how != "" {
		if err := leakBy(how); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	world.Main(m)
}

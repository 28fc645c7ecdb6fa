// Package vaultpki has Vault's own PKI as the CA: set up by the commands of
// docs/vault-pki.md, asked by the shipped binary over ACME, alone and as the second CA
// beside Pebble.
package vaultpki

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/anycert/anycert/internal/testenv/world"
)

func TestMain(m *testing.M) {
	// These tests wait more than they work: more may run at once than there are cores.
	if err := flag.Set("test.parallel", "6"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	world.Main(m)
}

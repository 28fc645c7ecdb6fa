package testenv

import (
	"context"
	"errors"
	"testing"

	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/parts"
	"github.com/anycert/anycert/internal/testenv/vaultserver"
)

// fatal ends a test whose part could not be started. A missing part fails the
// test: a skipped one would pass for a tested one.
func fatal(t testing.TB, what string, err error) {
	t.Helper()
	if errors.Is(err, parts.ErrNotBuilt) {
		t.Fatalf("this test runs against the real %s: %v", what, err)
	}
	t.Fatalf("starting %s: %v", what, err)
}

// CA returns a new CA in memory.
func CA(t testing.TB) *certs.CA {
	t.Helper()
	ca, err := certs.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// Issue returns a certificate of a new CA.
func Issue(t testing.TB, o certs.Options) certs.Pair {
	t.Helper()
	return IssueFrom(t, CA(t), o)
}

// IssueFrom returns a certificate of ca.
func IssueFrom(t testing.TB, ca *certs.CA, o certs.Options) certs.Pair {
	t.Helper()
	pair, err := ca.Issue(o)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// Vault starts a Vault in dev mode for the length of the test.
func Vault(t testing.TB) *vaultserver.Server {
	t.Helper()
	server, err := vaultserver.StartDev(context.Background(), t.TempDir(), vaultserver.Options{})
	if err != nil {
		fatal(t, "Vault", err)
	}
	t.Cleanup(server.Close)
	return server
}

// RaftVault starts a Vault that can be sealed, restarted and restored, for the
// length of the test.
func RaftVault(t testing.TB) *vaultserver.Server {
	t.Helper()
	server, err := vaultserver.StartRaft(context.Background(), t.TempDir(), vaultserver.Options{})
	if err != nil {
		fatal(t, "Vault", err)
	}
	t.Cleanup(server.Close)
	return server
}

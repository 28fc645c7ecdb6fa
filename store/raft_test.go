package store

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv"
)

// TestSealedRestoredRestarted is one test, for its Vault takes seconds to start.
func TestSealedRestoredRestarted(t *testing.T) {
	t.Parallel()
	ctx, server := t.Context(), testenv.RaftVault(t)
	store := appRoleStore(t, server, "1h", issuerPolicy)
	first, err := store.Put(ctx, "example", 0, bundle(t), origin)
	check(t, err)
	snapshot, err := server.Snapshot(ctx)
	check(t, err)
	second, err := store.Put(ctx, "example", 1, bundle(t), origin)
	check(t, err)

	check(t, server.Seal(ctx))
	for range 10 {
		_, err = store.Stat(ctx, "example")
		isError(t, err, anycert.ErrUnavailable, "sealed", "unseal it")
		_, err = store.Put(ctx, "example", 2, bundle(t), origin)
		isError(t, err, anycert.ErrUnavailable, "sealed")
	}
	_, err = store.Probe(ctx, nil)
	isError(t, err, anycert.ErrUnavailable, "sealed")

	check(t, server.Unseal(ctx))
	entry, err := store.Stat(ctx, "example")
	check(t, err)
	if entry.Version != 2 || entry.Digest != second.Digest {
		t.Errorf("after unsealing Stat tells of version %d", entry.Version)
	}
	if n := count(requests(t, server), loginPath); n != 1 {
		t.Errorf("%d logins, want 1", n)
	}

	check(t, server.Restore(ctx, snapshot))
	entry, err = store.Stat(ctx, "example")
	check(t, err)
	if entry.Version != 1 || entry.Digest != first.Digest || !entry.Time.Equal(first.Time) {
		t.Errorf("after restoring the snapshot Stat tells of version %d of %v, want 1 of %v", entry.Version, entry.Time, first.Time)
	}

	server.Stop()
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err = store.Stat(short, "example")
	isError(t, err, anycert.ErrUnavailable)
	check(t, server.StartAgain(ctx))
	_, err = store.Stat(ctx, "example")
	isError(t, err, anycert.ErrUnavailable, "sealed")
	check(t, server.Unseal(ctx))
	_, err = store.Stat(ctx, "example")
	check(t, err)
}

func TestTLSIsVerified(t *testing.T) {
	t.Parallel()
	ctx, server := t.Context(), testenv.RaftVault(t)
	store := openConfig(t, Config{Address: server.Addr}, environment{"VAULT_TOKEN": server.RootToken})
	_, err := store.Names(ctx)
	isError(t, err, anycert.ErrUnavailable, "not trusted", "VAULT_CACERT")
	store = openConfig(t, Config{Address: server.Addr}, environment{"VAULT_TOKEN": server.RootToken, "VAULT_CACERT": server.CAFile})
	_, err = store.Names(ctx)
	check(t, err)

	plain := openConfig(t, Config{Address: "http" + server.Addr[len("https"):]}, environment{"VAULT_TOKEN": server.RootToken})
	_, err = plain.Names(ctx)
	if !errors.Is(err, anycert.ErrMalformed) && !errors.Is(err, anycert.ErrUnavailable) {
		t.Errorf("http to a server of https: %v", err)
	}
}

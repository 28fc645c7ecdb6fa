package vaultserver_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/vault/api"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/vaultserver"
)

const reader = `path "secret/data/*" { capabilities = ["read"] }`

func TestDevCheckAndSetAndAudit(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	mark := mark(t, server)
	kv := server.Client().KVv2("secret")
	put(t, server, "a", 0)
	if _, err := kv.Put(ctx, "a", map[string]any{"n": "2"}, api.WithCheckAndSet(0)); status(err) != http.StatusBadRequest {
		t.Fatalf("a second write with check-and-set 0 gave %v, want a refusal", err)
	}
	if _, err := kv.Get(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	requests := requestsSince(t, server, mark)
	want := map[string]int{"create secret/data/a": 1, "update secret/data/a": 1, "read secret/data/a": 1}
	if diff := cmp.Diff(want, vaultserver.Count(requests)); diff != "" {
		t.Errorf("the audit log (-want +got):\n%s", diff)
	}
	if n := len(vaultserver.KeyReads(requests)); n != 1 {
		t.Errorf("%d reads of data, want 1", n)
	}
	if n := len(vaultserver.Writes(requests)); n != 2 {
		t.Errorf("%d writes, want 2", n)
	}
	if requests[1].Error == "" {
		t.Error("the refused write shows no error in the audit log")
	}
}

func TestPoliciesAndAuthMethods(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	put(t, server, "a", 0)
	if err := server.WritePolicy(ctx, "reader", reader); err != nil {
		t.Fatal(err)
	}
	token, err := server.Token(ctx, "reader")
	if err != nil {
		t.Fatal(err)
	}
	role, err := server.EnableAppRole(ctx, "hub", "1h", "reader")
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := server.EnableJWT(ctx, "hub", "1h", "vault", "anycert", "reader")
	if err != nil {
		t.Fatal(err)
	}
	jwt, err := issuer.Token(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	tokens := map[string]string{
		"token":   token,
		"approle": login(t, server, "approle", map[string]any{"role_id": role.RoleID, "secret_id": role.SecretID}),
		"jwt":     login(t, server, "jwt", map[string]any{"role": "hub", "jwt": jwt}),
	}
	for method, token := range tokens {
		kv := server.ClientWith(token).KVv2("secret")
		if _, err := kv.Get(ctx, "a"); err != nil {
			t.Errorf("%s may not read: %v", method, err)
		}
		if _, err := kv.Put(ctx, "a", map[string]any{"n": "2"}); status(err) != http.StatusForbidden {
			t.Errorf("%s: a write gave %v, want 403", method, err)
		}
	}
	secret, err := server.ClientWith(role.WrappedSecretID).Logical().UnwrapWithContext(ctx, "")
	if err != nil || secret.Data["secret_id"] == "" {
		t.Errorf("unwrapping the secret id gave %v, %v", secret, err)
	}
}

func TestRaftSealRestartAndRestore(t *testing.T) {
	ctx, server := t.Context(), testenv.RaftVault(t)
	kv := server.Client().KVv2("secret")
	put(t, server, "a", 0)
	snapshot, err := server.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	put(t, server, "a", 1)

	if err := server.Seal(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Get(ctx, "a"); status(err) != http.StatusServiceUnavailable {
		t.Errorf("a read from a sealed Vault gave %v, want 503", err)
	}
	if err := server.Unseal(ctx); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	if err := server.StartAgain(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Get(ctx, "a"); status(err) != http.StatusServiceUnavailable {
		t.Errorf("a read after a restart gave %v, want 503", err)
	}
	if err := server.Unseal(ctx); err != nil {
		t.Fatal(err)
	}
	if version := version(t, server, "a"); version != 2 {
		t.Errorf("version %d after the restart, want 2", version)
	}

	if err := server.Restore(ctx, snapshot); err != nil {
		t.Fatal(err)
	}
	if version := version(t, server, "a"); version != 1 {
		t.Errorf("version %d after restoring the snapshot, want 1", version)
	}
}

func put(t *testing.T, server *vaultserver.Server, path string, version int) {
	t.Helper()
	_, err := server.Client().KVv2("secret").Put(t.Context(), path, map[string]any{"n": "1"}, api.WithCheckAndSet(version))
	if err != nil {
		t.Fatal(err)
	}
}

func version(t *testing.T, server *vaultserver.Server, path string) int {
	t.Helper()
	secret, err := server.Client().KVv2("secret").Get(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return secret.VersionMetadata.Version
}

func login(t *testing.T, server *vaultserver.Server, method string, data map[string]any) string {
	t.Helper()
	secret, err := server.ClientWith("").Logical().WriteWithContext(t.Context(), "auth/"+method+"/login", data)
	if err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	return secret.Auth.ClientToken
}

func mark(t *testing.T, server *vaultserver.Server) vaultserver.Mark {
	t.Helper()
	mark, err := server.Mark()
	if err != nil {
		t.Fatal(err)
	}
	return mark
}

func requestsSince(t *testing.T, server *vaultserver.Server, mark vaultserver.Mark) []vaultserver.Request {
	t.Helper()
	requests, err := server.Requests(mark)
	if err != nil {
		t.Fatal(err)
	}
	return requests
}

// status returns the HTTP status that err carries, or 0.
func status(err error) int {
	if response, ok := errors.AsType[*api.ResponseError](err); ok {
		return response.StatusCode
	}
	return 0
}

package store

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/vault/api"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/vaultserver"
)

// appRoleStore is a store that logs in by AppRole, for tokens that live for ttl.
func appRoleStore(t testing.TB, server *vaultserver.Server, ttl, policy string) *Store {
	t.Helper()
	check(t, server.WritePolicy(t.Context(), "hub", policy))
	role, err := server.EnableAppRole(t.Context(), "hub", ttl, "hub")
	check(t, err)
	return openConfig(t, Config{Address: server.Addr, CACert: server.CAFile, Auth: Auth{
		Method: "approle", RoleID: role.RoleID, SecretID: anycert.Reference{Env: "SECRET_ID"},
	}}, environment{"SECRET_ID": role.SecretID})
}

// count counts the requests to a path.
func count(requests []vaultserver.Request, path string) (n int) {
	for _, request := range requests {
		if request.Path == path {
			n++
		}
	}
	return n
}

const (
	loginPath  = "auth/approle/login"
	renewPath  = "auth/token/renew-self"
	lookupPath = "auth/token/lookup-self"
)

func TestOneLogin(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	store := appRoleStore(t, server, "1h", issuerPolicy)
	var all sync.WaitGroup
	errs := make([]error, 200)
	for i := range errs {
		all.Go(func() {
			switch name := fmt.Sprintf("example-%d", i%7); i % 4 {
			case 0:
				_, errs[i] = store.Names(ctx)
			case 1:
				_, _, errs[i] = store.Load(ctx, anycert.KindAccount, name)
			default:
				_, errs[i] = store.Stat(ctx, name)
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil && !errors.Is(err, anycert.ErrNotFound) {
			t.Error(err)
		}
	}
	got := requests(t, server)
	if n := count(got, loginPath); n != 1 {
		t.Errorf("%d logins for %d operations, want 1", n, len(errs))
	}
	if n := count(got, renewPath) + count(got, lookupPath); n != 0 {
		t.Errorf("%d requests about the token, want none", n)
	}

	check(t, store.Close(ctx))
	if n := count(requests(t, server), "auth/token/revoke-self"); n != 1 {
		t.Errorf("after Close: %d tokens revoked, want 1", n)
	}
	_, err := store.Stat(ctx, "example")
	isError(t, err, anycert.ErrNotFound) // a new login
}

func TestCloseLeavesAGivenTokenAlone(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	given := token(t, server, "syncer", syncerPolicy)
	store := open(t, server, given)
	_, err := store.Names(ctx)
	check(t, err)
	check(t, store.Close(ctx))
	_, err = open(t, server, given).Names(ctx)
	check(t, err)
}

func TestATokenRevokedUnderWay(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	store := appRoleStore(t, server, "1h", issuerPolicy)
	_, err := store.Put(ctx, "example", 0, bundle(t), origin)
	check(t, err)
	revoke(t, server, store)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := store.Stat(ctx, "example"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := count(requests(t, server), loginPath); n != 2 {
		t.Errorf("%d logins, want 2: one before and one after the token was revoked", n)
	}
}

func revoke(t testing.TB, server *vaultserver.Server, store *Store) {
	t.Helper()
	check(t, server.Client().Auth().Token().RevokeTreeWithContext(t.Context(), store.vault.current.token.Reveal()))
}

// A refusal by policy is no reason to log in again, however often it comes.
func TestRefusalsDoNotLogIn(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	store := appRoleStore(t, server, "1h", auditorPolicy)
	for range 50 {
		_, err := store.Get(ctx, "example", 1)
		isError(t, err, anycert.ErrForbidden)
	}
	got := requests(t, server)
	if n := count(got, loginPath); n != 1 {
		t.Errorf("%d logins, want 1", n)
	}
	if n := count(got, lookupPath); n != 1 {
		t.Errorf("%d looks at the token for 50 refusals at once, want 1", n)
	}
}

// A token without the policy default may not even look at itself.
func TestRefusalsOfATokenThatMayNotLookAtItself(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	store := appRoleStore(t, server, "1h", auditorPolicy)
	_, err := server.Client().Logical().WriteWithContext(ctx, "auth/approle/role/hub", map[string]any{"token_no_default_policy": true})
	check(t, err)
	for range 50 {
		_, err := store.Get(ctx, "example", 1)
		isError(t, err, anycert.ErrForbidden, "secret/data/anycert/certs/example")
	}
	if n := count(requests(t, server), loginPath); n > 2 {
		t.Errorf("%d logins for 50 refusals at once, want 2 at most", n)
	}
}

// clock is a store's clock that can be put forward.
func clock(store *Store) (forward func(time.Duration)) {
	offset := time.Duration(0)
	store.vault.now = func() time.Time { return time.Now().Add(offset) }
	return func(by time.Duration) { offset += by }
}

func TestRenewal(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	store := appRoleStore(t, server, "1h", auditorPolicy)
	forward := clock(store)
	use := func() {
		t.Helper()
		_, err := store.Names(ctx)
		check(t, err)
	}
	use()
	forward(39 * time.Minute)
	use()
	if n := count(requests(t, server), renewPath); n != 0 {
		t.Errorf("renewed %d times before two thirds of its life", n)
	}
	forward(2 * time.Minute)
	for range 5 {
		use()
	}
	got := requests(t, server)
	if renewals, logins := count(got, renewPath), count(got, loginPath); renewals != 1 || logins != 1 {
		t.Errorf("%d renewals and %d logins, want one of each", renewals, logins)
	}
	// What was not used for longer than it lives is not renewed.
	forward(2 * time.Hour)
	use()
	got = requests(t, server)
	if renewals, logins := count(got, renewPath), count(got, loginPath); renewals != 1 || logins != 2 {
		t.Errorf("after the token's end: %d renewals and %d logins, want 1 and 2", renewals, logins)
	}
}

// Vault renews up to token_max_ttl: then it takes a login.
func TestTheEndOfRenewal(t *testing.T) {
	t.Parallel()
	ctx, server := t.Context(), testenv.Vault(t)
	store := appRoleStore(t, server, "3s", auditorPolicy)
	_, err := server.Client().Logical().WriteWithContext(ctx, "auth/approle/role/hub", map[string]any{"token_max_ttl": "4s"})
	check(t, err)
	logins := func() int { return count(requests(t, server), loginPath) }
	for deadline := time.Now().Add(20 * time.Second); logins() < 3; {
		if _, err := store.Names(ctx); err != nil {
			t.Fatalf("after %d logins: %v", logins(), err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d logins within 20 s, want 3 for tokens of 4 s", logins())
		}
	}
}

// What Vault gives at the end of a token's longest life is not renewed again and
// again for ever shorter times.
func TestALastRenewalIsFollowedByALogin(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := strings.TrimPrefix(r.URL.Path, "/v1/"); path {
		case loginPath:
			asked = append(asked, "login")
			_, _ = io.WriteString(w, `{"auth":{"client_token":"hvs.token","lease_duration":3600,"renewable":true}}`)
		case renewPath:
			asked = append(asked, "renew")
			_, _ = io.WriteString(w, `{"auth":{"client_token":"hvs.token","lease_duration":600,"renewable":true}}`)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	store := openConfig(t, Config{Address: server.URL, Auth: Auth{
		Method: "approle", RoleID: "x", SecretID: anycert.Reference{Env: "SECRET_ID"},
	}}, environment{"SECRET_ID": "y"})
	forward := clock(store)
	for _, pause := range []time.Duration{0, 45 * time.Minute, 5 * time.Minute, 4*time.Minute + time.Second, time.Minute} {
		forward(pause)
		_, err := store.Names(t.Context())
		check(t, err)
	}
	if diff := cmp.Diff([]string{"login", "renew", "login"}, asked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestABatchTokenIsReplacedInTime(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	store := appRoleStore(t, server, "1h", auditorPolicy)
	_, err := server.Client().Logical().WriteWithContext(ctx, "auth/approle/role/hub", map[string]any{"token_type": "batch"})
	check(t, err)
	forward := clock(store)
	_, err = store.Names(ctx)
	check(t, err)
	forward(55 * time.Minute)
	_, err = store.Names(ctx)
	check(t, err)
	got := requests(t, server)
	if renewals, logins := count(got, renewPath), count(got, loginPath); renewals != 0 || logins != 2 {
		t.Errorf("%d renewals and %d logins, want 0 and 2", renewals, logins)
	}
}

// A refused login is not repeated for each object: Vault locks out who tries too
// often.
func TestARefusedLoginIsNotRepeated(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	e := environment{"SECRET_ID": "wrong"}
	check(t, server.WritePolicy(ctx, "hub", auditorPolicy))
	role, err := server.EnableAppRole(ctx, "hub", "1h", "hub")
	check(t, err)
	store := openConfig(t, Config{Address: server.Addr, Auth: Auth{
		Method: "approle", RoleID: role.RoleID, SecretID: anycert.Reference{Env: "SECRET_ID"},
	}}, e)
	forward := clock(store)
	for range 20 {
		_, err := store.Stat(ctx, "example")
		isError(t, err, anycert.ErrForbidden, loginPath, "invalid role or secret ID")
	}
	if n := count(requests(t, server), loginPath); n != 1 {
		t.Errorf("%d logins with a wrong secret id, want 1", n)
	}
	e["SECRET_ID"] = role.SecretID
	forward(loginPause + time.Second)
	_, err = store.Stat(ctx, "example")
	isError(t, err, anycert.ErrNotFound)
}

func TestAGivenTokenIsReadAgain(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		t.Helper()
		check(t, os.WriteFile(file, []byte(token+"\n"), 0o600))
	}
	write(token(t, server, "auditor", auditorPolicy))
	store := openConfig(t, Config{Address: server.Addr, Auth: Auth{Token: anycert.Reference{File: file}}}, nil)
	_, err := store.Stat(ctx, "example")
	isError(t, err, anycert.ErrNotFound)
	revoke(t, server, store)
	_, err = store.Stat(ctx, "example")
	isError(t, err, anycert.ErrForbidden, "does not know the token")

	clock(store)(loginPause + time.Second)
	write(token(t, server, "auditor", auditorPolicy))
	_, err = store.Stat(ctx, "example")
	isError(t, err, anycert.ErrNotFound)
}

func TestAGivenTokenIsRenewed(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	check(t, server.WritePolicy(ctx, "auditor", auditorPolicy))
	secret, err := server.Client().Auth().Token().CreateWithContext(ctx, &api.TokenCreateRequest{Policies: []string{"auditor"}, Period: "1h"})
	check(t, err)
	store := open(t, server, secret.Auth.ClientToken)
	forward := clock(store)
	for range 4 {
		_, err := store.Names(ctx)
		check(t, err)
		forward(45 * time.Minute)
	}
	if n := count(requests(t, server), renewPath); n != 3 {
		t.Errorf("%d renewals, want 3", n)
	}
}

func TestTokensWhereTheVaultCommandKeepsThem(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	e := environment{}
	env := e.env(t)
	store, err := Config{Address: server.Addr}.Open(env)
	check(t, err)
	_, err = store.Names(ctx)
	isError(t, err, anycert.ErrForbidden, "VAULT_TOKEN", ".vault-token")
	check(t, os.WriteFile(filepath.Join(env.Home, ".vault-token"), []byte(server.RootToken+"\n"), 0o600))
	clock(store)(loginPause + time.Second)
	_, err = store.Names(ctx)
	check(t, err)
	e["VAULT_TOKEN"], e["VAULT_ADDR"] = "hvs.of-the-environment", server.Addr
	store, err = Config{}.Open(env)
	check(t, err)
	_, err = store.Names(ctx)
	isError(t, err, anycert.ErrForbidden)
}

func TestNoErrorShowsTheToken(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	store := open(t, server, "hvs.CAESIJ-not-a-token-of-this-vault")
	_, err := store.Names(ctx)
	if err == nil || strings.Contains(err.Error(), "CAESIJ") {
		t.Errorf("got %v, want an error without the token", err)
	}
}

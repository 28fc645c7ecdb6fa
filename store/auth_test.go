package store

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/internal/testenv/vaultserver"
)

func TestAppRoleWithAWrappedSecretID(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	check(t, server.WritePolicy(ctx, "hub", auditorPolicy))
	role, err := server.EnableAppRole(ctx, "hub", "1h", "hub")
	check(t, err)
	e := environment{"WRAPPED": role.WrappedSecretID}
	config := Config{Address: server.Addr, Auth: Auth{
		Method: "approle", RoleID: role.RoleID, SecretID: anycert.Reference{Env: "WRAPPED"}, Wrapped: true,
	}}
	store := openConfig(t, config, e)
	_, err = store.Names(ctx)
	check(t, err)
	// The secret id is kept: what is wrapped can be opened once only.
	revoke(t, server, store)
	_, err = store.Names(ctx)
	check(t, err)
	if n := count(requests(t, server), "sys/wrapping/unwrap"); n != 1 {
		t.Errorf("unwrapped %d times, want once", n)
	}
	_, err = openConfig(t, config, e).Names(ctx)
	isError(t, err, anycert.ErrForbidden, "opened before")
}

func TestJWT(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	check(t, server.WritePolicy(ctx, "hub", auditorPolicy))
	issuer, err := server.EnableJWT(ctx, "hub", "1h", "vault", "anycert", "hub")
	check(t, err)
	jwt, err := issuer.Token(time.Minute)
	check(t, err)
	config := Config{Address: server.Addr, Auth: Auth{Method: "jwt", Role: "hub", JWT: anycert.Reference{Env: "JWT"}}}
	_, err = openConfig(t, config, environment{"JWT": jwt}).Names(ctx)
	check(t, err)

	config.Auth.Role = "nobody"
	_, err = openConfig(t, config, environment{"JWT": jwt}).Names(ctx)
	isError(t, err, anycert.ErrForbidden, "auth/jwt/login", `role "nobody" could not be found`)
	if strings.Contains(err.Error(), jwt) {
		t.Error("the error shows the JWT")
	}
	config.Auth.Mount = "elsewhere"
	_, err = openConfig(t, config, environment{"JWT": jwt}).Names(ctx)
	isError(t, err, anycert.ErrForbidden, "auth/elsewhere/login")
}

func TestKubernetes(t *testing.T) {
	t.Parallel()
	ctx, server, cluster := t.Context(), testenv.Vault(t), testenv.Kubernetes(t)
	check(t, cluster.CreateNamespaces(ctx, "hub", "vault"))
	reviewer, err := cluster.Login(ctx, kubeserver.Account{Namespace: "vault", Name: "reviewer", ClusterRules: []rbacv1.PolicyRule{
		{APIGroups: []string{"authentication.k8s.io"}, Resources: []string{"tokenreviews"}, Verbs: []string{"create"}},
	}})
	check(t, err)
	jwt, err := cluster.Login(ctx, kubeserver.Account{Namespace: "hub", Name: "anycert"})
	check(t, err)
	check(t, server.WritePolicy(ctx, "hub", auditorPolicy))
	check(t, server.EnableKubernetes(ctx, "anycert", "1h", vaultserver.Kubernetes{
		Host: cluster.Host, CAPEM: cluster.CAPEM, ReviewerJWT: reviewer, ServiceAccount: "anycert", Namespace: "hub",
	}, "hub"))

	file := filepath.Join(t.TempDir(), "token")
	config := Config{Address: server.Addr, Auth: Auth{Method: "kubernetes", Role: "anycert", TokenPath: file}}
	store := openConfig(t, config, nil)
	forward := clock(store)
	_, err = store.Names(ctx)
	isError(t, err, anycert.ErrForbidden, "auth/kubernetes", file)

	check(t, os.WriteFile(file, []byte(reviewer), 0o600)) // another service account
	forward(loginPause + time.Second)
	_, err = store.Names(ctx)
	isError(t, err, anycert.ErrForbidden, "auth/kubernetes/login")

	check(t, os.WriteFile(file, []byte(jwt+"\n"), 0o600)) // the kubelet writes a new one
	forward(loginPause + time.Second)
	_, err = store.Names(ctx)
	check(t, err)
}

// exchange is what a stand-in was asked.
type exchange struct {
	Request string
	Flavor  string
	Body    map[string]string
}

// TestGCP holds the requests against those that Google and Vault describe. The
// minimal build of Vault has no gcp method, so both ends are stand-ins here.
func TestGCP(t *testing.T) {
	const jwt = "aGVhZGVy.cGF5bG9hZA.c2lnbmF0dXJl"
	var got []exchange
	record := func(r *http.Request) {
		e := exchange{Request: r.Method + " " + r.URL.RequestURI(), Flavor: r.Header.Get("Metadata-Flavor")}
		if r.ContentLength > 0 {
			check(t, json.NewDecoder(r.Body).Decode(&e.Body))
		}
		got = append(got, e)
	}
	metadata := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		record(r)
		w.Header().Set("Metadata-Flavor", "Google")
		_, _ = w.Write([]byte(jwt))
	}))
	defer metadata.Close()
	vault := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/auth/gcp/login" {
			record(r)
			_, _ = w.Write([]byte(`{"auth":{"client_token":"hvs.token","lease_duration":3600,"renewable":true}}`))
			return
		}
		if r.Header.Get("X-Vault-Token") != "hvs.token" {
			t.Errorf("%s without the token of the login", r.URL)
		}
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"errors":[]}`))
	}))
	defer vault.Close()

	store := openConfig(t, Config{Address: vault.URL, Auth: Auth{Method: "gcp", Role: "anycert"}},
		environment{"GCE_METADATA_HOST": strings.TrimPrefix(metadata.URL, "http://")})
	_, err := store.Stat(t.Context(), "example")
	isError(t, err, anycert.ErrNotFound)
	want := []exchange{
		{Request: "GET /computeMetadata/v1/instance/service-accounts/default/identity?audience=vault%2Fanycert&format=full", Flavor: "Google"},
		{Request: "PUT /v1/auth/gcp/login", Body: map[string]string{"role": "anycert", "jwt": jwt}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestGCPWithoutAMetadataServer(t *testing.T) {
	answers := map[string]struct {
		handler http.HandlerFunc
		want    error
	}{
		"no account":   {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "none", http.StatusNotFound) }, anycert.ErrUnavailable},
		"not Google's": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("a.b.c")) }, anycert.ErrMalformed},
		"no token": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Metadata-Flavor", "Google")
			_, _ = w.Write([]byte("<html>"))
		}, anycert.ErrMalformed},
		"endless": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Metadata-Flavor", "Google")
			for block := make([]byte, 1<<16); ; {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		}, anycert.ErrMalformed},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://example.com/", http.StatusFound)
		}, anycert.ErrUnavailable},
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(answer.handler)
			defer server.Close()
			store := openConfig(t, Config{Address: "http://127.0.0.1:1", Auth: Auth{Method: "gcp", Role: "anycert"}},
				environment{"GCE_METADATA_HOST": strings.TrimPrefix(server.URL, "http://")})
			_, err := store.Stat(t.Context(), "example")
			isError(t, err, answer.want, "auth/gcp", "metadata server")
		})
	}
}

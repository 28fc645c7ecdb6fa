package store

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert"
)

func TestCheck(t *testing.T) {
	env, file, vault := anycert.Reference{Env: "X"}, anycert.Reference{File: "x"}, anycert.Reference{Vault: "secret/x#y"}
	tests := map[string]struct {
		config Config
		want   []string // fields
	}{
		"nothing":          {Config{}, nil},
		"https":            {Config{Address: "https://vault.example.com:8200"}, nil},
		"http to itself":   {Config{Address: "http://127.0.0.1:8200"}, nil},
		"http to [::1]":    {Config{Address: "http://[::1]:8200"}, nil},
		"http to another":  {Config{Address: "http://vault.example.com:8200"}, []string{"address"}},
		"no URL":           {Config{Address: "vault.example.com:8200"}, []string{"address"}},
		"socket":           {Config{Address: "unix:///run/vault.sock"}, []string{"address"}},
		"user":             {Config{Address: "https://user:pass@vault.example.com"}, []string{"address"}},
		"query":            {Config{Address: "https://vault.example.com/?x=y"}, []string{"address"}},
		"upwards":          {Config{Mount: "a/../b", Prefix: "../x", Namespace: "/a"}, []string{"mount", "prefix", "namespace"}},
		"slashes":          {Config{Mount: "/a", Prefix: "b/"}, []string{"mount", "prefix"}},
		"deep":             {Config{Mount: "team/kv", Prefix: "prod/anycert", Namespace: "admin/team/"}, nil},
		"method":           {Config{Auth: Auth{Method: "ldap"}}, []string{"auth.method"}},
		"token":            {Config{Auth: Auth{Token: env}}, nil},
		"token in Vault":   {Config{Auth: Auth{Token: vault}}, []string{"auth.token"}},
		"token, others'":   {Config{Auth: Auth{Role: "x", Mount: "y", RoleID: "z"}}, []string{"auth.mount", "auth.role", "auth.role_id"}},
		"approle":          {Config{Auth: Auth{Method: "approle", RoleID: "x", SecretID: file, Wrapped: true}}, nil},
		"approle, empty":   {Config{Auth: Auth{Method: "approle"}}, []string{"auth.role_id", "auth.secret_id"}},
		"approle, others'": {Config{Auth: Auth{Method: "approle", RoleID: "x", SecretID: file, Role: "y", Token: env}}, []string{"auth.role", "auth.token"}},
		"kubernetes":       {Config{Auth: Auth{Method: "kubernetes", Role: "x", TokenPath: "/y", Mount: "k8s/prod"}}, nil},
		"kubernetes empty": {Config{Auth: Auth{Method: "kubernetes"}}, []string{"auth.role"}},
		"jwt":              {Config{Auth: Auth{Method: "jwt", Role: "x", JWT: file}}, nil},
		"jwt, empty":       {Config{Auth: Auth{Method: "jwt", Mount: ".."}}, []string{"auth.mount", "auth.role", "auth.jwt"}},
		"gcp":              {Config{Auth: Auth{Method: "gcp", Role: "x"}}, nil},
		"gcp, others'":     {Config{Auth: Auth{Method: "gcp", JWT: env}}, []string{"auth.role", "auth.jwt"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, problem := range test.config.Check() {
				got = append(got, problem.Field)
				if problem.Text == "" {
					t.Errorf("%s: no text", problem.Field)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
			if _, err := test.config.Open(environment{"VAULT_ADDR": "https://vault.example.com"}.env(t)); (err != nil) != (len(test.want) > 0) {
				t.Errorf("Open: %v", err)
			}
		})
	}
}

func TestOpenAndTheEnvironment(t *testing.T) {
	ok := environment{"VAULT_ADDR": "https://vault.example.com"}
	with := func(name, value string) environment { return environment{"VAULT_ADDR": ok["VAULT_ADDR"], name: value} }
	tests := map[string]struct {
		environment environment
		fails       bool
	}{
		"address":           {ok, false},
		"no address":        {nil, true},
		"address in clear":  {environment{"VAULT_ADDR": "http://vault.example.com"}, true},
		"skip verify":       {with("VAULT_SKIP_VERIFY", "true"), true},
		"skip verify, 1":    {with("VAULT_SKIP_VERIFY", "1"), true},
		"skip verify, yes":  {with("VAULT_SKIP_VERIFY", "yes"), true},
		"skip verify, not":  {with("VAULT_SKIP_VERIFY", "false"), false},
		"CA that is absent": {with("VAULT_CACERT", "/nowhere/ca.pem"), true},
		"CA that is none":   {with("VAULT_CACERT", "config_test.go"), true},
	}
	for name, test := range tests {
		if _, err := (Config{}).Open(test.environment.env(t)); (err != nil) != test.fails {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNamespace(t *testing.T) {
	for name, want := range map[string]string{"": "of/the/environment", "mine": "mine"} {
		store := openConfig(t, Config{Address: "https://vault.example.com", Namespace: name}, environment{"VAULT_NAMESPACE": "of/the/environment"})
		client, err := store.vault.client("x")
		check(t, err)
		if got := client.Namespace(); got != want {
			t.Errorf("namespace %q, want %q", got, want)
		}
	}
}

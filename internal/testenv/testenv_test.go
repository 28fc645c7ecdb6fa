package testenv_test

import (
	"testing"

	"github.com/hashicorp/vault/api"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/internal/testenv/vaultserver"
)

// The two big parts together: a service account logs in to Vault.
func TestKubernetesAuth(t *testing.T) {
	ctx, vault, kube := t.Context(), testenv.Vault(t), testenv.Kubernetes(t)
	if err := kube.CreateNamespaces(ctx, "anycert", "vault"); err != nil {
		t.Fatal(err)
	}
	reviewer := login(t, kube, kubeserver.Account{Namespace: "vault", Name: "reviewer", ClusterRules: []rbacv1.PolicyRule{
		{APIGroups: []string{"authentication.k8s.io"}, Resources: []string{"tokenreviews"}, Verbs: []string{"create"}}}})
	err := vault.WritePolicy(ctx, "reader", `path "secret/data/*" { capabilities = ["read"] }`)
	if err != nil {
		t.Fatal(err)
	}
	err = vault.EnableKubernetes(ctx, "hub", "1h", vaultserver.Kubernetes{
		Host: kube.Host, CAPEM: kube.CAPEM, ReviewerJWT: reviewer,
		ServiceAccount: "anycert", Namespace: "anycert"}, "reader")
	if err != nil {
		t.Fatal(err)
	}
	right := login(t, kube, kubeserver.Account{Namespace: "anycert", Name: "anycert"})
	secret, err := vaultLogin(t, vault, right)
	if err != nil {
		t.Fatal(err)
	}
	if got := secret.Auth.TokenPolicies; len(got) != 2 || got[1] != "reader" {
		t.Errorf("the token's policies are %v, want default and reader", got)
	}
	wrong := login(t, kube, kubeserver.Account{Namespace: "vault", Name: "anycert"})
	if _, err := vaultLogin(t, vault, wrong); err == nil {
		t.Error("a service account of another namespace logged in")
	}
}

func login(t *testing.T, kube *kubeserver.Server, account kubeserver.Account) string {
	t.Helper()
	token, err := kube.Login(t.Context(), account)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func vaultLogin(t *testing.T, vault *vaultserver.Server, jwt string) (*api.Secret, error) {
	t.Helper()
	return vault.ClientWith("").Logical().WriteWithContext(t.Context(), "auth/kubernetes/login",
		map[string]any{"role": "hub", "jwt": jwt})
}

func TestVaultClientIgnoresTheEnvironment(t *testing.T) {
	vault := testenv.Vault(t)
	t.Setenv(api.EnvVaultToken, "wrong")
	t.Setenv(api.EnvVaultNamespace, "elsewhere")
	t.Setenv(api.EnvVaultAddress, "https://192.0.2.1")
	client := vault.Client()
	if _, err := client.Auth().Token().LookupSelfWithContext(t.Context()); err != nil {
		t.Error(err)
	}
	if namespace := client.Headers().Get(api.NamespaceHeaderName); namespace != "" {
		t.Errorf("the client asks for the namespace %q", namespace)
	}
}

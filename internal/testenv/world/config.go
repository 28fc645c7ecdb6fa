package world

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/template"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/internal/testenv/vaultserver"
)

// Config writes a configuration, or any file, from a text/template over data,
// which is the world itself or holds it, and returns its path. The function
// json writes a value in flow style.
func (w *World) Config(name, text string, data any) (path string) {
	w.T.Helper()
	page, err := template.New(name).Funcs(template.FuncMap{"json": toJSON}).Parse(text)
	w.Must(err)
	var filled strings.Builder
	w.Must(page.Execute(&filled, data))
	return w.File(name, filled.String())
}

func toJSON(value any) (string, error) {
	text, err := json.Marshal(value)
	return string(text), err
}

// Reference keeps a secret in a file of its own: {file: …}.
func (w *World) Reference(secret string) string {
	w.T.Helper()
	return "{file: " + w.keep(secret) + "}"
}

func (w *World) keep(text string) (path string) {
	w.T.Helper()
	file, err := os.CreateTemp(w.Dir, "kept-")
	w.Must(err)
	_, err = file.WriteString(text)
	w.Must(err)
	w.Must(file.Close())
	return file.Name()
}

// Store is the store of a configuration, with a login by Token, AppRole,
// ServiceAccount or Root.
func (w *World) Store(auth string) string {
	w.T.Helper()
	trust := ""
	if w.Vault.CAFile != "" {
		trust = "ca_cert: " + w.Vault.CAFile + ", "
	}
	return fmt.Sprintf("{vault: {address: %q, %sauth: %s}}", w.Vault.Addr, trust, auth)
}

// HubPolicy is what a hub may do in Vault.
func (w *World) HubPolicy() string {
	return `
path "secret/data/anycert/*"     { capabilities = ["create", "read", "update"] }
path "secret/metadata/anycert/*" { capabilities = ["read", "list", "patch", "delete"] }
path "secret/destroy/anycert/*"  { capabilities = ["update"] }
`
}

// FollowerPolicy is what a follower may do in Vault.
func (w *World) FollowerPolicy() string {
	return `
path "secret/data/anycert/certs/*"     { capabilities = ["read"] }
path "secret/metadata/anycert/certs/*" { capabilities = ["read"] }
`
}

// Root logs in to Vault with every right.
func (w *World) Root() string {
	w.T.Helper()
	return "{method: token, token: " + w.Reference(w.Vault.RootToken) + "}"
}

// Token writes a policy in HCL and makes a token that has it alone: how to log
// in with that.
func (w *World) Token(policy, hcl string) string {
	w.T.Helper()
	w.Must(w.Vault.WritePolicy(w.T.Context(), policy, hcl))
	token, err := w.Vault.Token(w.T.Context(), policy)
	w.Must(err)
	return "{method: token, token: " + w.Reference(token) + "}"
}

// AppRole writes a policy in HCL and makes a role that has it alone, both of the
// same name: how to log in with that.
func (w *World) AppRole(name, hcl string) string {
	w.T.Helper()
	w.Must(w.Vault.WritePolicy(w.T.Context(), name, hcl))
	role, err := w.Vault.EnableAppRole(w.T.Context(), name, "1h", name)
	w.Must(err)
	return fmt.Sprintf("{method: approle, role_id: %s, secret_id: %s}", role.RoleID, w.Reference(role.SecretID))
}

// ServiceAccount has Vault trust a service account of a cluster, with the policy hcl
// under the name of the role, and returns how to log in with a token of it. The
// account is made unless it is there; its namespace is. One cluster is asked
// about all tokens: that of the last call.
func (w *World) ServiceAccount(role, cluster, namespace, account, hcl string) string {
	w.T.Helper()
	kube := w.Clusters[cluster]
	reviewer := w.token(cluster, kubeserver.Account{Namespace: "kube-system", Name: "vault", ClusterRules: []rbacv1.PolicyRule{
		{APIGroups: []string{"authentication.k8s.io"}, Resources: []string{"tokenreviews"}, Verbs: []string{"create"}}}})
	w.Must(w.Vault.WritePolicy(w.T.Context(), role, hcl))
	w.Must(w.Vault.EnableKubernetes(w.T.Context(), role, "1h", vaultserver.Kubernetes{Host: kube.Host, CAPEM: kube.CAPEM,
		ReviewerJWT: reviewer, ServiceAccount: account, Namespace: namespace}, role))
	token := w.token(cluster, kubeserver.Account{Namespace: namespace, Name: account})
	return fmt.Sprintf("{method: kubernetes, role: %s, token_path: %s}", role, w.keep(token))
}

// token is one of an account, which is made unless it is there.
func (w *World) token(cluster string, account kubeserver.Account) string {
	w.T.Helper()
	token, err := w.Clusters[cluster].Token(w.T.Context(), account.Namespace, account.Name)
	if apierrors.IsNotFound(err) {
		token, err = w.Clusters[cluster].Login(w.T.Context(), account)
	}
	w.Must(err)
	return token
}

// Issuer is an issuer at Pebble by DNS-01, in the zones of the DNS server.
func (w *World) Issuer(name string) string {
	w.T.Helper()
	return fmt.Sprintf(`{name: %s, directory: %q, email: ops@example.com, profile: default, ca_bundle: %s, dns: %s}`,
		name, w.ACME.URL, w.keep(string(w.ACME.CAPEM)), w.Challenges())
}

// Challenges is the dns of an issuer.
func (w *World) Challenges() string {
	w.T.Helper()
	return fmt.Sprintf(`{provider: rfc2136, settings: {DNSUPDATE_POLLING_INTERVAL: 1s, DNSUPDATE_NAMESERVER: %q, `+
		`DNSUPDATE_TSIG_KEY: acme., DNSUPDATE_TSIG_ALGORITHM: hmac-sha256., DNSUPDATE_TSIG_SECRET: %s}, `+
		`resolvers: [%q], propagation: resolvers}`, w.DNS.Addr, w.Reference(w.DNS.Secret), w.DNS.Addr)
}

// Account makes a service account with just the rights that it names: the
// fields of a kubernetes sink's config that reach the cluster as that.
func (w *World) Account(cluster string, account kubeserver.Account) string {
	w.T.Helper()
	token, err := w.Clusters[cluster].Login(w.T.Context(), account)
	w.Must(err)
	return w.Reach(cluster, token)
}

// Admin is Account with every right.
func (w *World) Admin(cluster string) string {
	w.T.Helper()
	return w.Reach(cluster, w.Clusters[cluster].AdminToken)
}

// Reach is Account with any token.
func (w *World) Reach(cluster, token string) string {
	w.T.Helper()
	kube := w.Clusters[cluster]
	return fmt.Sprintf("server: %q, ca: %s, token: %s", kube.Host, w.keep(string(kube.CAPEM)), w.Reference(token))
}

// AtFastly is the fields of a fastly sink's config that reach the stand-in.
func (w *World) AtFastly() string {
	w.T.Helper()
	return fmt.Sprintf("token: %s, configurations: [%s], endpoint: %q", w.Reference(w.FastlyToken), TLSConfiguration, w.Fastly.URL)
}

// AtFly is the fields of a fly sink's config that reach an app at the stand-in.
func (w *World) AtFly(app string) string {
	w.T.Helper()
	return fmt.Sprintf("app: %s, token: %s, endpoint: %q", app, w.Reference(w.FlyToken), w.Fly.URL)
}

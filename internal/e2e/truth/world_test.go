package truth

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"text/template"
	"time"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/dnsserver"
	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/internal/testenv/vaultserver"
	"github.com/anycert/anycert/sinks/fastly/fastlytest"
	"github.com/anycert/anycert/sinks/fly/flytest"
)

const (
	tlsConfiguration = "tls-configuration-1"
	flyApp           = "example-web"
	fastlyToken      = "fastly-token-of-this-world"
	flyToken         = "fm2_fly-token-of-this-world"
)

// world is everything around anycert. The cluster may be shared: each world has a
// namespace of its own there.
type world struct {
	*testing.T

	dir       string
	namespace string
	puts      *atomic.Int64 // certificates put into Vault by hand
	strange   *certs.CA     // issues what is put into Vault by hand

	vault  *vaultserver.Server
	kube   *kubeserver.Server
	acme   *acmeserver.Server
	dns    *dnsserver.Server
	fastly *fastlytest.Server
	fly    *flytest.Server
	flyURL string
}

// newWorld starts what there is beside vault and kube, and writes the
// configuration.
func newWorld(t *testing.T, vault *vaultserver.Server, kube *kubeserver.Server) *world {
	t.Helper()
	w := &world{T: t, dir: t.TempDir(), strange: testenv.CA(t), vault: vault, kube: kube, puts: new(atomic.Int64)}
	w.namespace = "of-" + strings.ToLower(filepath.Base(t.Name()))
	w.must(kube.CreateNamespaces(t.Context(), w.namespace))
	w.dns = testenv.DNS(t, "example.com")
	w.acme = testenv.ACME(t, w.dns.Addr, acmeserver.Options{})
	var err error
	w.fastly, err = fastlytest.Start(fastlytest.Options{Token: fastlyToken, Configurations: []string{tlsConfiguration}})
	w.must(err)
	t.Cleanup(func() { _ = w.fastly.Close() })
	w.startFly()
	w.fly.ConfirmOwnership(flyApp, "example.com")
	w.write("acme-ca.pem", string(w.acme.CAPEM))
	w.write("vault-ca.pem", string(vault.CAPEM))
	w.write("tsig", w.dns.Secret)
	w.write("fastly-token", fastlyToken)
	w.write("fly-token", flyToken)
	w.allow(policy)
	w.newToken()
	w.configure(vault.Addr)
	return w
}

// startFly starts Fly.io, which answers after the others: it has no place for a mark,
// so a new process knows from the marks elsewhere alone that the store had more.
func (w *world) startFly() {
	w.fly = flytest.New(flytest.Options{Apps: map[string]string{flyApp: flyToken}})
	slow := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		time.Sleep(100 * time.Millisecond)
		w.fly.Handler().ServeHTTP(rw, r)
	}))
	w.Cleanup(slow.Close)
	w.flyURL = slow.URL
}

// policy is what anycert may do in Vault.
const policy = `
path "secret/data/anycert/*"     { capabilities = ["create", "read", "update"] }
path "secret/metadata/anycert/*" { capabilities = ["read", "list", "patch", "delete"] }
`

func (w *world) allow(hcl string) {
	w.Helper()
	w.must(w.vault.WritePolicy(w.Context(), "hub", hcl))
}

func (w *world) newToken() {
	w.Helper()
	token, err := w.vault.Token(w.Context(), "hub")
	w.must(err)
	w.write("vault-token", token)
}

// revokeToken takes away the one that newToken gave.
func (w *world) revokeToken() {
	w.Helper()
	w.must(w.vault.Client().Auth().Token().RevokeTreeWithContext(w.Context(), string(w.readIfThere(w.path("vault-token")))))
}

var configuration = template.Must(template.New("config.yaml").Parse(`version: 1
owner: truth
store:
  vault:
    address: {{.Vault}}
{{- if .CA}}
    ca_cert: {{.Dir}}/vault-ca.pem
{{- end}}
    auth: {method: token, token: {file: {{.Dir}}/vault-token}}
issuers:
  - name: pebble
    directory: {{.Directory}}
    email: ops@example.com
    profile: default
    ca_bundle: {{.Dir}}/acme-ca.pem
    dns:
      provider: rfc2136
      settings:
        DNSUPDATE_NAMESERVER: {{.DNS}}
        DNSUPDATE_TSIG_KEY: acme.
        DNSUPDATE_TSIG_ALGORITHM: hmac-sha256.
        DNSUPDATE_TSIG_SECRET: {file: {{.Dir}}/tsig}
      resolvers: ["{{.DNS}}"]
      propagation: resolvers
certificates:
  - name: bought
    domains: [example.com, "*.example.com"]
  - name: issued
    domains: [issued.example.com]
    issuer: pebble
sinks:
  - name: prod
    type: kubernetes
    certificates: ["*"]
    config: {kubeconfig: {{.Kubeconfig}}, context: admin, namespaces: [{{.Namespace}}]}
  - name: edge
    type: fastly
    certificates: ["*"]
    config: {token: {file: {{.Dir}}/fastly-token}, configurations: [` + tlsConfiguration + `], endpoint: {{.Fastly}}}
  - name: app
    type: fly
    certificates: [bought]
    config: {app: ` + flyApp + `, token: {file: {{.Dir}}/fly-token}, hostnames: [example.com], endpoint: {{.Fly}}}
  - name: nginx
    type: file
    certificates: ["*"]
    config: {dir: {{.Dir}}/files}
reconcile: {schedule: "@every 5s"}
http: {listen: "127.0.0.1:0"}
`))

// domains of the certificates.
var domains = map[string][]string{
	"bought": {"example.com", "*.example.com"},
	"issued": {"issued.example.com"},
}

// configure writes config.yaml with the store at an address.
func (w *world) configure(vault string) {
	w.Helper()
	var text strings.Builder
	w.must(configuration.Execute(&text, map[string]any{
		"Dir": w.dir, "Vault": vault, "CA": strings.HasPrefix(vault, "https:"), "Directory": w.acme.URL, "DNS": w.dns.Addr,
		"Kubeconfig": w.kube.Kubeconfig, "Namespace": w.namespace, "Fastly": w.fastly.URL, "Fly": w.flyURL,
	}))
	w.write("config.yaml", text.String())
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(name, text string) {
	w.Helper()
	w.must(os.WriteFile(w.path(name), []byte(text), 0o600))
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// put puts a new certificate of the kind into Vault as bought, by hand. Each ends
// at another time, since that is all that can be seen at Fly.io.
func (w *world) put(o certs.Options) certs.Pair {
	w.Helper()
	if o.Names == nil {
		o.Names = domains["bought"]
	}
	if o.NotAfter.IsZero() {
		o.NotAfter = time.Now().Add(90*24*time.Hour - time.Duration(w.puts.Add(1))*time.Hour)
	}
	pair := testenv.IssueFrom(w.T, w.strange, o)
	w.putPEM(pair.ChainPEM, pair.KeyPEM)
	return pair
}

func (w *world) putPEM(chain, key []byte) {
	w.Helper()
	_, err := w.vault.Client().KVv2("secret").Put(w.Context(), "anycert/certs/bought",
		map[string]any{"tls.crt": string(chain), "tls.key": string(key)})
	w.must(err)
}

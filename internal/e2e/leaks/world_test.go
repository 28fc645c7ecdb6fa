//go:build linux

package leaks

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/rest"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/dnsserver"
	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/internal/testenv/leak"
	"github.com/anycert/anycert/internal/testenv/vaultserver"
	"github.com/anycert/anycert/sinks/fastly/fastlytest"
	"github.com/anycert/anycert/sinks/fly/flytest"
)

const (
	tlsConfiguration = "tls-configuration-1"
	flyApp           = "example-web"
	fastlyToken      = "9f2TqLxZ0wVbN7rKcE4mYd1HsAuGjPoQ"
	dnsPassword      = "kV3nQ0yXw8LtR5uBzJ6s"
	flyToken         = "fm2_lJPECAAAAAAACGtQxBDw7Jm3Yc0RkVbX9sTnZ2"
	// The variable of the one token that anycert gets by its environment.
	fastlyEnv = "TOKEN_OF_THE_CDN"
)

// hostnames of the Fly.io app, by certificate.
var hostnames = map[string]string{"example": "example.com", "planted-ec": "ec.example.com", "planted-rsa": "rsa.example.com"}

// world is everything around anycert. All servers are met over TLS with HTTP/2 on
// offer.
type world struct {
	*witness

	dir     string // of what the world itself writes
	files   string // directory of the file sink
	secrets []leak.Secret
	strange *certs.CA // issues what is put into Vault by hand
	runs    int
	planted int // versions

	server *vaultserver.Server
	kube   *kubeserver.Server
	acme   *acmeserver.Server
	dns    *dnsserver.Server
	edge   *fastlytest.Server
	app    *flytest.Server

	vault, cluster, fastly, fly, api *front
	token                            string // for Vault
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{witness: newWitness(t), dir: t.TempDir(), strange: testenv.CA(t)}
	w.files = w.path("files")
	w.dns = testenv.DNS(t, "example.com")
	w.acme = testenv.ACME(t, w.dns.Addr, acmeserver.Options{})
	w.startVault()
	w.startKubernetes()
	w.edge = fastlytest.New(fastlytest.Options{Token: fastlyToken, Configurations: []string{tlsConfiguration}})
	w.edge.Echo(true)
	w.app = flytest.New(flytest.Options{Apps: map[string]string{flyApp: flyToken}})
	w.app.Echo(true)
	for _, hostname := range hostnames {
		w.app.ConfirmOwnership(flyApp, hostname)
	}
	w.fastly, w.fly = newFront(t, w.strange, w.edge), newFront(t, w.strange, w.app.Handler())
	w.api = newFront(t, w.strange, http.HandlerFunc(w.changeDNS))
	w.file("trust.pem", string(w.strange.PEM())+string(w.acme.CAPEM)+string(w.kube.CAPEM))
	w.file("fly-token", flyToken)
	w.file("tsig-secret", w.dns.Secret)
	w.file("dns-password", dnsPassword)
	tsig, err := base64.StdEncoding.DecodeString(w.dns.Secret)
	must(t, err)
	w.secrets = append(w.secrets,
		leak.Secret{Name: "Fastly's token", Token: fastlyToken},
		leak.Secret{Name: "Fly.io's token", Token: flyToken},
		leak.Secret{Name: "the DNS provider's password", Token: dnsPassword},
		leak.Secret{Name: "the TSIG secret", Token: w.dns.Secret},
		leak.Secret{Name: "the TSIG secret's bytes", Token: string(tsig)})
	w.writeReload()
	return w
}

// policy is what anycert may do in Vault.
const policy = `
path "secret/data/anycert/*"     { capabilities = ["create", "read", "update"] }
path "secret/metadata/anycert/*" { capabilities = ["read", "list", "patch", "delete"] }
`

func (w *world) startVault() {
	w.t.Helper()
	w.server = testenv.Vault(w.t)
	must(w.t, w.server.WritePolicy(w.t.Context(), "hub", policy))
	var err error
	w.token, err = w.server.Token(w.t.Context(), "hub")
	must(w.t, err)
	w.vault = newFront(w.t, w.strange, proxy(w.t, w.server.Addr, http.DefaultTransport))
	w.file("vault-token", w.token)
	w.secrets = append(w.secrets, leak.Secret{Name: "Vault's token", Token: w.token})
}

func (w *world) startKubernetes() {
	w.t.Helper()
	w.kube = testenv.Kubernetes(w.t)
	must(w.t, w.kube.CreateNamespaces(w.t.Context(), "web"))
	token, err := w.kube.Login(w.t.Context(), kubeserver.Account{Namespace: "web", Name: "anycert", Rules: map[string][]rbacv1.PolicyRule{
		"web": {{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get", "list", "create", "patch", "delete"}}}}})
	must(w.t, err)
	transport, err := rest.TransportFor(w.kube.Config("")) // the token comes with each request
	must(w.t, err)
	w.cluster = newFront(w.t, w.strange, proxy(w.t, w.kube.Host, transport))
	w.file("cluster-token", token)
	w.secrets = append(w.secrets, leak.Secret{Name: "the cluster's token", Token: token})
}

// changeDNS is the API of a DNS provider, in the form that lego calls httpreq.
func (w *world) changeDNS(rw http.ResponseWriter, r *http.Request) {
	var record struct{ FQDN, Value string }
	_, password, _ := r.BasicAuth()
	err := json.NewDecoder(r.Body).Decode(&record)
	switch {
	case password != dnsPassword || err != nil:
		rw.WriteHeader(http.StatusForbidden)
	case r.URL.Path == "/present":
		if err := w.dns.Add(fmt.Sprintf("%s 60 IN TXT %q", record.FQDN, record.Value)); err != nil {
			rw.WriteHeader(http.StatusInternalServerError)
		}
	case r.URL.Path == "/cleanup":
		w.dns.Remove(record.FQDN)
	}
}

// writeReload writes the command that the file sink runs. It writes down what it
// can see of itself.
func (w *world) writeReload() {
	w.t.Helper()
	must(w.t, os.Mkdir(w.path("reload"), 0o700))
	script := "#!/bin/sh\n" +
		"{ cat /proc/$$/environ /proc/$$/cmdline; echo; ls -l /proc/$$/fd; } > " + w.path("reload") + "/dump.$$\n" +
		"echo reloaded\n"
	must(w.t, os.WriteFile(w.path("reload.sh"), []byte(script), 0o700))
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) file(name, text string) {
	w.t.Helper()
	must(w.t, os.WriteFile(w.path(name), []byte(text), 0o600))
}

// plant puts new certificates with new keys into Vault, by hand. Each ends at
// another time, since that is all that can be seen at Fly.io.
func (w *world) plant() {
	w.t.Helper()
	w.planted++
	end := time.Now().Add(90*24*time.Hour + time.Duration(w.planted)*time.Hour)
	for name, o := range map[string]certs.Options{
		"planted-ec":  {Names: []string{"ec.example.com"}, KeyType: certs.EC256, NotAfter: end},
		"planted-rsa": {Names: []string{"rsa.example.com"}, KeyType: certs.RSA2048, KeyFormat: certs.PKCS1, NotAfter: end},
	} {
		pair := testenv.IssueFrom(w.t, w.strange, o)
		_, err := w.server.Client().KVv2("secret").Put(w.t.Context(), "anycert/certs/"+name,
			map[string]any{"tls.crt": string(pair.ChainPEM), "tls.key": string(pair.KeyPEM)})
		must(w.t, err)
		w.secrets = append(w.secrets, leak.Secret{Name: fmt.Sprintf("the key of %s, version %d", name, w.planted), PEM: pair.KeyPEM})
	}
}

// harvest learns the keys that anycert itself has made by now: of accounts, orders
// and certificates.
func (w *world) harvest() (found int) {
	w.t.Helper()
	client := w.server.Client()
	for _, kind := range []string{"accounts", "orders", "certs"} {
		list, err := client.Logical().ListWithContext(w.t.Context(), "secret/metadata/anycert/"+kind)
		must(w.t, err)
		if list == nil {
			continue
		}
		for _, name := range list.Data["keys"].([]any) {
			path := fmt.Sprintf("anycert/%s/%s", kind, name)
			entry, err := client.KVv2("secret").Get(w.t.Context(), path)
			must(w.t, err)
			for _, key := range keysIn(entry.Data) {
				found++
				w.secrets = append(w.secrets, leak.Secret{Name: fmt.Sprintf("the key in %s, version %d", path, entry.VersionMetadata.Version), PEM: []byte(key)})
			}
		}
	}
	return found
}

// keysIn finds private keys in whatever depth of JSON, and of JSON in its strings.
func keysIn(value any) (keys []string) {
	switch value := value.(type) {
	case map[string]any:
		for _, inner := range value {
			keys = append(keys, keysIn(inner)...)
		}
	case []any:
		for _, inner := range value {
			keys = append(keys, keysIn(inner)...)
		}
	case string:
		var inner any
		switch {
		case json.Unmarshal([]byte(value), &inner) == nil:
			keys = keysIn(inner)
		case strings.Contains(value, "PRIVATE KEY"):
			keys = []string{value}
		}
	}
	return keys
}

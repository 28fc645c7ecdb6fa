//go:build linux

package leaks

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/rest"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/hookserver"
	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/internal/testenv/leak"
	"github.com/anycert/anycert/internal/testenv/world"
)

const (
	dnsPassword = "kV3nQ0yXw8LtR5uBzJ6s"
	// The variable of the one token that anycert gets by its environment.
	fastlyEnv = "TOKEN_OF_THE_CDN"
)

// hostnames of the Fly.io app, by certificate.
var hostnames = map[string]string{"example": "example.com", "planted-ec": "ec.example.com", "planted-rsa": "rsa.example.com"}

// scene is a world in which all servers are met over TLS with HTTP/2 on offer.
type scene struct {
	*witness
	*world.World

	secrets []leak.Secret
	runs    int
	planted int // versions

	vault, cluster, fastly, fly, api *front
	hook                             *hookserver.Server
	shower                           string // address of a server that shows a key in its certificate
	token                            string // for Vault
}

func newScene(t *testing.T) *scene {
	t.Helper()
	w := &scene{witness: newWitness(t), World: world.New(t, world.Options{Clusters: []string{"prod"}})}
	w.openVault()
	w.openCluster()
	w.Fastly.Echo(true)
	w.Fly.Echo(true)
	for _, hostname := range hostnames {
		w.Fly.ConfirmOwnership(world.FlyApp, hostname)
	}
	w.fastly, w.fly = newFront(t, w.Strangers, w.Fastly), newFront(t, w.Strangers, w.Fly.Handler())
	w.api = newFront(t, w.Strangers, http.HandlerFunc(w.changeDNS))
	w.File("trust.pem", string(w.Strangers.PEM())+string(w.ACME.CAPEM)+string(w.Clusters["prod"].CAPEM))
	w.File("fly-token", w.FlyToken)
	w.File("dns-password", dnsPassword)
	tsig, err := base64.StdEncoding.DecodeString(w.DNS.Secret)
	w.Must(err)
	w.secrets = append(w.secrets,
		leak.Secret{Name: "Fastly's token", Token: w.FastlyToken},
		leak.Secret{Name: "Fly.io's token", Token: w.FlyToken},
		leak.Secret{Name: "the DNS provider's password", Token: dnsPassword},
		leak.Secret{Name: "the TSIG secret", Token: w.DNS.Secret},
		leak.Secret{Name: "the TSIG secret's bytes", Token: string(tsig)})
	w.writeReload()
	w.openPlaces()
	return w
}

func (w *scene) openVault() {
	w.T.Helper()
	w.Must(w.Vault.WritePolicy(w.T.Context(), "hub", w.HubPolicy()+`path "secret/data/site/*" { capabilities = ["read"] }`))
	var err error
	w.token, err = w.Vault.Token(w.T.Context(), "hub")
	w.Must(err)
	w.vault = newFront(w.T, w.Strangers, proxy(w.T, w.Vault.Addr, http.DefaultTransport))
	w.File("vault-token", w.token)
	w.secrets = append(w.secrets, leak.Secret{Name: "Vault's token", Token: w.token})
}

func (w *scene) openCluster() {
	w.T.Helper()
	kube := w.Clusters["prod"]
	w.Must(kube.CreateNamespaces(w.T.Context(), "web"))
	token, err := kube.Login(w.T.Context(), kubeserver.Account{Namespace: "web", Name: "anycert", Rules: map[string][]rbacv1.PolicyRule{
		"web": {
			{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get", "list", "create", "patch", "delete"}},
			{APIGroups: []string{"events.k8s.io"}, Resources: []string{"events"}, Verbs: []string{"create", "patch"}},
		}}})
	w.Must(err)
	transport, err := rest.TransportFor(kube.Config("")) // the token comes with each request
	w.Must(err)
	w.cluster = newFront(w.T, w.Strangers, proxy(w.T, kube.Host, transport))
	w.File("cluster-token", token)
	w.secrets = append(w.secrets, leak.Secret{Name: "the cluster's token", Token: token})
}

// changeDNS is the API of a DNS provider, in the form that lego calls httpreq.
func (w *scene) changeDNS(rw http.ResponseWriter, r *http.Request) {
	var record struct{ FQDN, Value string }
	_, password, _ := r.BasicAuth()
	err := json.NewDecoder(r.Body).Decode(&record)
	switch {
	case password != dnsPassword || err != nil:
		rw.WriteHeader(http.StatusForbidden)
	case r.URL.Path == "/present":
		if err := w.DNS.Add(fmt.Sprintf("%s 60 IN TXT %q", record.FQDN, record.Value)); err != nil {
			rw.WriteHeader(http.StatusInternalServerError)
		}
	case r.URL.Path == "/cleanup":
		w.DNS.Remove(record.FQDN)
	}
}

// writeReload writes the command that the file sink runs. It writes down what it
// can see of itself.
func (w *scene) writeReload() {
	w.T.Helper()
	w.Must(os.Mkdir(w.Path("reload"), 0o700))
	script := "#!/bin/sh\n" +
		"{ cat /proc/$$/environ /proc/$$/cmdline; echo; ls -l /proc/$$/fd; } > " + w.Path("reload") + "/dump.$$\n" +
		"echo reloaded\n"
	w.Must(os.WriteFile(w.Path("reload.sh"), []byte(script), 0o700))
}

// plant puts new certificates with new keys into Vault, by hand. Each ends at
// another time, since that is all that can be seen at Fly.io.
func (w *scene) plant() {
	w.T.Helper()
	w.planted++
	end := time.Now().Add(90*24*time.Hour + time.Duration(w.planted)*time.Hour)
	for name, o := range map[string]certs.Options{
		"planted-ec":  {Names: []string{"ec.example.com"}, KeyType: certs.EC256, NotAfter: end},
		"planted-rsa": {Names: []string{"rsa.example.com"}, KeyType: certs.RSA2048, KeyFormat: certs.PKCS1, NotAfter: end},
	} {
		pair := testenv.IssueFrom(w.T, w.Strangers, o)
		w.Put(name, pair)
		w.secrets = append(w.secrets, leak.Secret{Name: fmt.Sprintf("the key of %s, version %d", name, w.planted), PEM: pair.KeyPEM})
	}
}

// harvest learns the keys that anycert itself has made by now: of accounts, orders
// and certificates.
func (w *scene) harvest() (found int) {
	w.T.Helper()
	client := w.Vault.Client()
	for _, kind := range []string{"accounts", "orders", "certs"} {
		list, err := client.Logical().ListWithContext(w.T.Context(), "secret/metadata/anycert/"+kind)
		w.Must(err)
		if list == nil {
			continue
		}
		for _, name := range list.Data["keys"].([]any) {
			path := fmt.Sprintf("anycert/%s/%s", kind, name)
			entry, err := client.KVv2("secret").Get(w.T.Context(), path)
			w.Must(err)
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

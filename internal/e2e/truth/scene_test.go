package truth

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/internal/testenv/world"
)

// scene is a world with the configuration of these tests. The cluster is shared:
// each scene has a namespace of its own there.
type scene struct {
	*world.World

	config    string // path
	namespace string
	puts      *int // certificates put into Vault by hand
}

// newScene starts what there is beside kube, and writes the configuration.
func newScene(t *testing.T, kube *kubeserver.Server, o world.Options) *scene {
	t.Helper()
	w := &scene{World: world.New(t, o), puts: new(int)}
	w.Clusters["prod"] = kube
	w.namespace = "of-" + strings.ToLower(filepath.Base(t.Name()))
	w.Must(kube.CreateNamespaces(t.Context(), w.namespace))
	w.slowDownFly()
	w.allow(w.HubPolicy())
	w.newToken()
	w.configure(w.Store(w.auth()))
	return w
}

// slowDownFly makes Fly.io answer after the others: it has no place for a mark, so a
// new process knows from the marks elsewhere alone that the store had more.
func (w *scene) slowDownFly() {
	handler := w.Fly.Handler()
	slow := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		time.Sleep(100 * time.Millisecond)
		handler.ServeHTTP(rw, r)
	}))
	w.T.Cleanup(slow.Close)
	w.Fly.URL = slow.URL
}

// auth is by a token in a file, which newToken writes.
func (w *scene) auth() string {
	return fmt.Sprintf("{method: token, token: {file: %s}}", w.Path("vault-token"))
}

// allow says what anycert may do in Vault.
func (w *scene) allow(hcl string) {
	w.T.Helper()
	w.Must(w.Vault.WritePolicy(w.T.Context(), "hub", hcl))
}

func (w *scene) newToken() {
	w.T.Helper()
	token, err := w.Vault.Token(w.T.Context(), "hub")
	w.Must(err)
	w.File("vault-token", token)
}

// revokeToken takes away the one that newToken gave.
func (w *scene) revokeToken() {
	w.T.Helper()
	token, err := os.ReadFile(w.Path("vault-token"))
	w.Must(err)
	w.Must(w.Vault.Client().Auth().Token().RevokeTreeWithContext(w.T.Context(), string(token)))
}

const configuration = `version: 1
owner: truth
store: {{.At}}
issuers: [{{.Issuer "pebble"}}]
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
    config: { {{- .Admin "prod"}}, namespaces: [{{.Namespace}}]}
  - name: edge
    type: fastly
    certificates: ["*"]
    config: { {{- .AtFastly}}}
  - name: app
    type: fly
    certificates: [bought]
    config: { {{- .AtFly "example-web"}}, hostnames: [example.com]}
  - name: nginx
    type: file
    certificates: ["*"]
    config: {dir: {{.Files}}}
reconcile: {schedule: "@every 5s"}
http: {listen: "127.0.0.1:0"}
`

// domains of the certificates.
var domains = map[string][]string{
	"bought": {"example.com", "*.example.com"},
	"issued": {"issued.example.com"},
}

// configure writes config.yaml with a store.
func (w *scene) configure(store string) {
	w.T.Helper()
	w.config = w.Config("config.yaml", configuration, struct {
		*world.World
		At, Namespace string
	}{w.World, store, w.namespace})
}

// put puts a new certificate of the kind into Vault as bought, by hand. Each ends
// at another time, since that is all that can be seen at Fly.io.
func (w *scene) put(o certs.Options) certs.Pair {
	w.T.Helper()
	if o.Names == nil {
		o.Names = domains["bought"]
	}
	if o.NotAfter.IsZero() {
		*w.puts++
		o.NotAfter = time.Now().Add(90*24*time.Hour - time.Duration(*w.puts)*time.Hour)
	}
	pair := testenv.IssueFrom(w.T, w.Strangers, o)
	w.Put("bought", pair)
	return pair
}

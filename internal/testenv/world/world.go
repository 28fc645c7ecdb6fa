// Package world is everything around anycert for an end-to-end test: the real
// Vault, real kube-apiservers, Pebble, a DNS server, the stand-ins for Fastly
// and Fly.io, and the shipped binary between them. Each package of such tests
// has a TestMain, which builds the binary:
//
//	func TestMain(m *testing.M) { world.Main(m) }
//
// A test asks for a world, writes a configuration as a person would, with what
// the world fills in, and runs verbs or the daemon:
//
//	w := world.New(t, world.Options{Clusters: []string{"blue", "green"}})
//	w.Must(w.Clusters["blue"].CreateNamespaces(t.Context(), "web"))
//	config := w.Config("hub.yaml", `version: 1
//	owner: hub
//	store: {{.Store (.Token "hub" .HubPolicy)}}
//	issuers: [{{.Issuer "pebble"}}]
//	certificates:
//	  - {name: example, domains: [example.com, "*.example.com"], issuer: pebble}
//	sinks:
//	  - {name: blue, type: kubernetes, certificates: ["*"], config: { {{.Admin "blue"}}, namespaces: [web]}}
//	  - {name: nginx, type: file, certificates: ["*"], config: {dir: {{.Files}}}}
//	http: {listen: "127.0.0.1:0"}
//	`, w)
//	w.Kept(w.Report(0, config, "sync"))
//	d := w.Daemon(config)
//	d.AwaitReady()
//
// Who logs in to Vault, and with which rights: Token, AppRole, ServiceAccount
// (the Kubernetes auth method, against one of the clusters), each with a policy
// of the test's own, or Root. Who reaches a cluster: Account makes a service
// account with just the rights that one names and returns what a sink's config
// says of it, Admin does so of the administrator. A world may have any number of
// configurations, accounts and daemons over its one Vault; two Vaults are two
// worlds.
//
// What became of it is never asked of anycert alone: Stored reads Vault,
// InCluster and InFiles what is served; Now and WroteNothing watch the logs and
// counters of every server and the folder Files.
//
// Methods end the test when something of the world itself fails, and report
// with Errorf what anycert did wrong. A World is copied by In for subtests, and
// may be copied to change a field, such as Binary.
package world

import (
	"crypto/rand"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/dnsserver"
	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/internal/testenv/parts"
	"github.com/anycert/anycert/internal/testenv/vaultserver"
	"github.com/anycert/anycert/sinks/fastly/fastlytest"
	"github.com/anycert/anycert/sinks/fly/flytest"
)

// What the stand-ins for Fastly and Fly.io have.
const (
	TLSConfiguration = "tls-configuration-1"
	FlyApp           = "example-web" // owns example.com, and so *.example.com
	FlyAPIApp        = "example-api" // owns api.example.com
)

// World is everything around anycert.
type World struct {
	T *testing.T

	Checkout string // folder of the sources: docs, charts, …
	Dir      string // of all files below; HOME and TMPDIR of what is run
	Files    string // folder below Dir for file sinks, which Now and WroteNothing watch
	Binary   string // the shipped program; another one may be put in its place

	Vault    *vaultserver.Server
	ACME     *acmeserver.Server
	DNS      *dnsserver.Server // with the zone example.com, or Options.Zones
	Fastly   *fastlytest.Server
	Fly      *flytest.Server
	Clusters map[string]*kubeserver.Server // by name

	FastlyToken, FlyToken string // that open the stand-ins

	Strangers *certs.CA // issues what does not come from us
}

// Options vary a world. The zero value has everything but clusters, and takes
// half a second to start.
type Options struct {
	Raft     bool               // a Vault that can be sealed, restarted and restored, which takes seconds
	Clusters []string           // names of kube-apiservers to start, four seconds each
	Zones    []string           // of the DNS server; default: example.com
	ACME     acmeserver.Options // the resolver is the DNS server
}

// New starts a world for the length of the test.
func New(t *testing.T, o Options) *World {
	t.Helper()
	if binary == "" {
		t.Fatal("the package needs a TestMain: func TestMain(m *testing.M) { world.Main(m) }")
	}
	w := &World{T: t, Dir: t.TempDir(), Binary: binary, Clusters: map[string]*kubeserver.Server{}, Strangers: testenv.CA(t),
		FastlyToken: strings.ToLower(rand.Text()), FlyToken: "fm2_" + rand.Text()}
	w.Files = filepath.Join(w.Dir, "files")
	w.Checkout = DependOnSources(t)
	if o.Zones == nil {
		o.Zones = []string{"example.com"}
	}
	w.DNS = testenv.DNS(t, o.Zones...)
	w.ACME = testenv.ACME(t, w.DNS.Addr, o.ACME)
	if o.Raft {
		w.Vault = testenv.RaftVault(t)
	} else {
		w.Vault = testenv.Vault(t)
	}
	w.startProviders()
	for _, name := range o.Clusters {
		w.Clusters[name] = testenv.Kubernetes(t)
	}
	return w
}

// In returns the world for a test within the test, which speaks for itself.
func (w *World) In(t *testing.T) *World {
	within := *w
	within.T = t
	return &within
}

func (w *World) startProviders() {
	w.T.Helper()
	var err error
	w.Fastly, err = fastlytest.Start(fastlytest.Options{Token: w.FastlyToken, Configurations: []string{TLSConfiguration}})
	w.Must(err)
	w.T.Cleanup(func() { _ = w.Fastly.Close() })
	w.Fly, err = flytest.Start(flytest.Options{
		Apps:      map[string]string{FlyApp: w.FlyToken, FlyAPIApp: w.FlyToken},
		Forbidden: func(call string) { w.T.Errorf("Fly.io was asked for what is never to be asked for: %s", call) },
	})
	w.Must(err)
	w.T.Cleanup(func() { _ = w.Fly.Close() })
	w.Fly.ConfirmOwnership(FlyApp, "example.com")
	w.Fly.ConfirmOwnership(FlyAPIApp, "api.example.com")
}

// Must ends the test unless err is nil.
func (w *World) Must(err error) {
	w.T.Helper()
	if err != nil {
		w.T.Fatal(err)
	}
}

// Path is that of a file in the world's folder.
func (w *World) Path(name string) string { return filepath.Join(w.Dir, name) }

// File writes a file into the world's folder, with mode 0600, and returns its
// path.
func (w *World) File(name, text string) (path string) {
	w.T.Helper()
	path = w.Path(name)
	w.Must(os.WriteFile(path, []byte(text), 0o600))
	return path
}

// sources are walked once in a run of tests.
var sources sync.Once

// DependOnSources tells go test what the binary is built from, so that it does
// not take the result of an older one for this one's: it notes each folder that
// a test reads. It returns the checkout. New calls it.
func DependOnSources(t *testing.T) (checkout string) {
	t.Helper()
	checkout, err := parts.Checkout()
	if err != nil {
		t.Fatal(err)
	}
	sources.Do(func() {
		err = filepath.WalkDir(checkout, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() && path != checkout && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata") {
				return fs.SkipDir
			}
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return checkout
}

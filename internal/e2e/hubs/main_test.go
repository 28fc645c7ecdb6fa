// Package hubs runs several daemons, of one release and of two, over one store: they
// share the work, none undoes what another did, and what a later release wrote is
// left alone by an earlier one.
package hubs

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/anycert/anycert/internal/testenv/vaultserver"
	"github.com/anycert/anycert/internal/testenv/world"
)

func TestMain(m *testing.M) {
	// These tests wait more than they work: more may run at once than there are cores.
	if err := flag.Set("test.parallel", "6"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	world.Main(m)
}

// fleet is the daemons over one store.
type fleet struct {
	*world.World
	auth    string
	daemons []*world.Daemon
}

// certificates that a hub may declare, with their names.
var certificates = map[string][]string{"example": {"example.com", "*.example.com"}, "api": {"api.example.com"}}

const cluster = "prod"

// newFleet starts the world, with a cluster if there is to be one.
func newFleet(t *testing.T, clusters ...string) *fleet {
	t.Helper()
	f := &fleet{World: world.New(t, world.Options{Clusters: clusters})}
	for _, kube := range f.Clusters {
		f.Must(kube.CreateNamespaces(t.Context(), "web"))
	}
	f.auth = f.AppRole("hub", f.HubPolicy()) // each process logs in, and so can be told from the others
	return f
}

// hub writes the configuration of one that declares some certificates.
func (f *fleet) hub(name string, declared ...string) (path string) {
	f.T.Helper()
	issuer := f.Issuer("pebble")
	var list string
	for _, certificate := range declared {
		list += fmt.Sprintf("\n  - {name: %s, domains: [%q", certificate, certificates[certificate][0])
		for _, domain := range certificates[certificate][1:] {
			list += fmt.Sprintf(", %q", domain)
		}
		list += "], issuer: pebble}"
	}
	return f.Config(name, `version: 1
owner: hub
store: {{.World.Store .Auth}}
issuers: [{{.Issuer}}]
certificates:{{.Certificates}}
sinks:
{{- if .World.Clusters}}
  - {name: prod, type: kubernetes, certificates: ["*"], config: { {{.World.Admin "prod"}}, namespaces: [web]}}
{{- end}}
  - {name: edge, type: fastly, certificates: ["*"], config: { {{.World.AtFastly}} }}
  - {name: app, type: fly, certificates: [example], config: { {{.World.AtFly "example-web"}}, hostnames: [example.com, "*.example.com"]}}
  - {name: nginx, type: file, certificates: ["*"], config: {dir: {{.World.Files}}}}
reconcile: {schedule: "@every 5s"}
http: {listen: "127.0.0.1:0"}
`, map[string]any{"World": f.World, "Auth": f.auth, "Issuer": issuer, "Certificates": list})
}

// start starts a daemon.
func (f *fleet) start(config string) *world.Daemon {
	f.T.Helper()
	d := f.Daemon(config)
	f.daemons = append(f.daemons, d)
	return d
}

// end ends one of the fleet by a way to do so.
func (f *fleet) end(i int, how func(*world.Daemon)) {
	f.T.Helper()
	how(f.daemons[i])
	f.daemons = append(f.daemons[:i:i], f.daemons[i+1:]...)
}

// filled waits until every place of some certificates holds what Vault does, and all
// daemons have seen it.
func (f *fleet) filled(declared ...string) {
	f.T.Helper()
	any := f.daemons[0]
	any.Await("and the others have filled every place", func() error {
		for _, certificate := range declared {
			if err := f.holds(certificate); err != nil {
				return err
			}
		}
		return nil
	})
	for _, d := range f.daemons {
		d.AwaitReady()
	}
}

// holds tells which place of a certificate does not hold what Vault does, read
// without anycert.
func (f *fleet) holds(certificate string) error {
	f.T.Helper()
	if _, err := f.Vault.Client().KVv2("secret").Get(f.T.Context(), "anycert/certs/"+certificate); err != nil {
		return err
	}
	want := f.Stored(certificate)
	same := func(place string, chain, key []byte) error {
		if string(chain) != string(want.Chain) || string(key) != string(want.Key) {
			return fmt.Errorf("%s does not hold %s", place, certificate)
		}
		return nil
	}
	chain, key := f.InFiles(f.Files, certificate)
	if err := same("the directory", chain, key); err != nil {
		return err
	}
	for name := range f.Clusters {
		chain, key := f.InCluster(name, "web", certificate+"-tls")
		if err := same("the Secret", chain, key); err != nil {
			return err
		}
	}
	for _, domain := range certificates[certificate] {
		chain, key := f.Fastly.Served(world.TLSConfiguration, domain)
		if err := same("Fastly", chain, key); err != nil {
			return err
		}
		if certificate == "example" {
			chain, key = f.Fly.Custom(world.FlyApp, domain)
			if err := same("Fly.io", chain, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// issuedOnce expects one order for each certificate, and its first version in Vault.
func (f *fleet) issuedOnce(declared ...string) {
	f.T.Helper()
	for _, certificate := range declared {
		if n := len(f.ACME.CertificatesFor(certificates[certificate]...)); n != 1 {
			f.T.Errorf("the CA issued %d certificates for %s", n, certificate)
		}
		if version := f.Stored(certificate).Version; version != 1 {
			f.T.Errorf("Vault has version %d of %s", version, certificate)
		}
	}
	if n := len(f.ACME.Orders()); n != len(declared) {
		f.T.Errorf("%d orders were made for %d certificates", n, len(declared))
	}
}

// calm waits until each daemon has made two whole passes, and expects that none of
// them wrote anything anywhere, or read a key.
func (f *fleet) calm(when string) {
	f.T.Helper()
	f.passes(1) // what is under way comes to its end
	m := f.Now()
	f.passes(2)
	f.WroteNothing(when, m)
	for _, r := range vaultserver.KeyReads(f.VaultSince(m)) {
		if !strings.Contains(r.Path, "/data/anycert/budgets/") { // of an issuer, which holds no key
			f.T.Errorf("%s: %s was read", when, r.Path)
		}
	}
	for _, d := range f.daemons {
		if status, text, err := d.Get(f.T.Context(), "/health/ready"); err != nil || status != http.StatusOK {
			f.T.Errorf("%s: /health/ready: %d %s (%v)", when, status, text, err)
		}
	}
}

// passes waits until each daemon has made some passes: each reads the metadata of
// example once, under a login of its own.
func (f *fleet) passes(n int) {
	f.T.Helper()
	m := f.Now()
	f.daemons[0].Await(fmt.Sprintf("and the others have made %d passes", n), func() error {
		made := map[string]int{} // by login
		for _, r := range f.VaultSince(m) {
			if r.Operation == "read" && r.Path == "secret/metadata/anycert/certs/example" {
				made[r.Accessor]++
			}
		}
		working := 0
		for _, count := range made {
			if count > n { // the first may have begun before
				working++
			}
		}
		if working < len(f.daemons) {
			return fmt.Errorf("of %d daemons %d have: %v", len(f.daemons), working, made)
		}
		return nil
	})
}

// breaks takes a certificate away from the directory.
func (f *fleet) breaks(certificate string) {
	f.T.Helper()
	f.Must(os.Remove(f.Path("files/" + certificate)))
}

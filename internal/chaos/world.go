package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/dnsserver"
	"github.com/anycert/anycert/internal/testenv/vaultserver"
	"github.com/anycert/anycert/sinks/fastly/fastlytest"
)

const (
	mount  = "secret"
	prefix = "anycert"
	edge   = "tls-configuration-1"

	// lifetime is that of the certificates, and dueAfter when the CA advises to renew each:
	// again and again, and long before it expires on a machine that is busy.
	lifetime = 4 * time.Minute
	dueAfter = 10 * time.Second
)

// declared are the certificates, so many that there is always an order under way.
func declared() map[string][]string {
	names := sold()
	for i := range 20 {
		name := fmt.Sprintf("host%02d", i)
		names[name] = []string{name + ".example.com"}
	}
	return names
}

// sold are those of them that Fastly serves as well.
func sold() map[string][]string {
	names := map[string][]string{}
	for i := range 4 {
		name := fmt.Sprintf("shop%d", i)
		names[name] = []string{name + ".example.com", "*." + name + ".example.com"}
	}
	return names
}

// world is everything around the daemon, and the gate in every way that leads there.
type world struct {
	dir    string
	gate   *gate
	vault  *vaultserver.Server
	acme   *acmeserver.Server
	dns    *dnsserver.Server
	fastly *fastlytest.Server
	token  string // that opens it

	away    atomic.Int64 // nanoseconds from the daemon to the CA
	records string       // URL of the CA's records, for the judge
	shop    string       // host:port where Fastly serves the certificates
	closers []func()
}

func newWorld(ctx context.Context, dir string, b *book) (w *world, err error) {
	w = &world{dir: dir, gate: &gate{passes: b.pass}, token: rand.Text()}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.dns, err = dnsserver.Start("example.com"); err != nil {
		return nil, err
	}
	w.closers = append(w.closers, w.dns.Close)
	// Nonce errors are on: one good nonce of twenty is refused.
	if w.acme, err = acmeserver.Start(acmeserver.Options{Resolver: w.dns.Addr, Profiles: map[string]time.Duration{"default": lifetime}}); err != nil {
		return nil, err
	}
	w.closers = append(w.closers, w.acme.Close)
	w.acme.Intercept(w.advise)
	if w.vault, err = vaultserver.StartDev(ctx, filepath.Join(dir, "vault"), vaultserver.Options{}); err != nil {
		return nil, err
	}
	w.closers = append(w.closers, w.vault.Close)
	// Vault forgets none of the versions: the judge reads them all.
	if _, err = w.vault.Client().Logical().WriteWithContext(ctx, mount+"/config", map[string]any{"max_versions": 10_000}); err != nil {
		return nil, err
	}
	if w.fastly, err = fastlytest.Start(fastlytest.Options{Token: w.token, Configurations: []string{edge}}); err != nil {
		return nil, err
	}
	w.closers = append(w.closers, func() { _ = w.fastly.Close() })
	return w, w.open(ctx)
}

func (w *world) close() {
	for i := len(w.closers) - 1; i >= 0; i-- {
		w.closers[i]()
	}
}

// open puts the gate into the ways and writes the configuration.
func (w *world) open(ctx context.Context) error {
	authority, err := certs.NewCA()
	if err != nil {
		return err
	}
	identity, err := identityOf(authority)
	if err != nil {
		return err
	}
	acme, err := w.listen(web{gate: w.gate, target: strings.TrimSuffix(w.acme.URL, "/dir"), client: trusting(w.acme.CAPEM),
		name: nameACME, away: &w.away, underWay: &w.gate.orders}, identity)
	if err != nil {
		return err
	}
	vault, err := w.listen(web{gate: w.gate, target: w.vault.Addr, client: http.DefaultTransport, name: nameVault}, nil)
	if err != nil {
		return err
	}
	fastly, err := w.listen(web{gate: w.gate, target: w.fastly.URL, client: http.DefaultTransport, name: nameFastly}, nil)
	if err != nil {
		return err
	}
	dns, err := startNames(w.gate, w.dns.Addr)
	if err != nil {
		return err
	}
	w.closers = append(w.closers, dns.close)
	if err := w.show(); err != nil {
		return err
	}
	login, err := w.login(ctx)
	if err != nil {
		return err
	}
	files := map[string]string{
		"ca.pem": string(authority.PEM()), "roots.pem": string(w.acme.RootPEM(0)), "tsig": w.dns.Secret,
		"fastly": w.token, "secret-id": login.SecretID, "config.yaml": w.config(ways{
			acme: "https://" + acme + "/dir", vault: "http://" + vault, fastly: "http://" + fastly, dns: dns.addr, role: login.RoleID}),
	}
	for name, text := range files {
		if err := os.WriteFile(w.path(name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(w.path("files"), 0o755); err != nil {
		return err
	}
	written, err := startFiles(w.gate, w.path("files"))
	if err != nil {
		return err
	}
	w.closers = append(w.closers, written.close)
	return nil
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// login is how the daemon logs in to Vault, with the rights that it is to have.
func (w *world) login(ctx context.Context) (vaultserver.AppRole, error) {
	err := w.vault.WritePolicy(ctx, "hub", `
path "secret/data/anycert/*"     { capabilities = ["create", "read", "update"] }
path "secret/metadata/anycert/*" { capabilities = ["read", "list", "patch", "delete"] }
path "secret/destroy/anycert/*"  { capabilities = ["update"] }
`)
	if err != nil {
		return vaultserver.AppRole{}, err
	}
	return w.vault.EnableAppRole(ctx, "hub", "1h", "hub")
}

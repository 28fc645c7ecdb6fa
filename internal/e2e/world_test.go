package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/dnsserver"
	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/internal/testenv/nginxserver"
	"github.com/anycert/anycert/internal/testenv/vaultserver"
	"github.com/anycert/anycert/sinks/fastly/fastlytest"
	"github.com/anycert/anycert/sinks/fly/flytest"
)

// What the far ends are called, and the tokens that open the stand-ins.
const (
	tlsConfiguration = "tls-configuration-1"
	flyApp           = "example-web"
	flyAPIApp        = "example-api"
	fastlyToken      = "fastly-token-of-the-world"
	flyToken         = "fm2_fly-token-of-the-world"
)

// world is everything around anycert.
type world struct {
	t *testing.T

	dir   string // for everything below
	files string // directory of the file sink

	vault  *vaultserver.Server
	acme   *acmeserver.Server
	dns    *dnsserver.Server
	fastly *fastlytest.Server
	fly    *flytest.Server
	kube   *kubeserver.Server  // nil in a small world
	nginx  *nginxserver.Server // nil in a small world

	settings  settings
	strangers *certs.CA // issues what does not come from us
}

// newWorld starts every part and writes the configuration. Nothing is issued yet.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := newSmallWorld(t)
	w.startKubernetes()
	w.startNginx()
	w.writeConfig()
	return w
}

// newSmallWorld leaves out what takes seconds to start: the cluster and nginx.
func newSmallWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), strangers: testenv.CA(t)}
	w.files = filepath.Join(w.dir, "files")
	w.dns = testenv.DNS(t, "example.com")
	w.acme = testenv.ACME(t, w.dns.Addr, acmeserver.Options{RejectNonces: 20})
	w.vault = testenv.Vault(t)
	w.startProviders()
	w.settings = w.newSettings()
	w.writeConfig()
	return w
}

func (w *world) startProviders() {
	w.t.Helper()
	var err error
	w.fastly, err = fastlytest.Start(fastlytest.Options{Token: fastlyToken, Configurations: []string{tlsConfiguration}})
	w.must(err)
	w.fly, err = flytest.Start(flytest.Options{
		Apps:      map[string]string{flyApp: flyToken, flyAPIApp: flyToken},
		Forbidden: func(call string) { w.t.Errorf("Fly.io was asked for what is never to be asked for: %s", call) },
	})
	w.must(err)
	w.t.Cleanup(func() {
		if err := errors.Join(w.fastly.Close(), w.fly.Close()); err != nil {
			w.t.Error(err)
		}
	})
	w.fly.ConfirmOwnership(flyApp, "example.com") // and its wildcard
	w.fly.ConfirmOwnership(flyAPIApp, "api.example.com")
}

// startNginx starts it as on a machine that is taken over: it serves something old
// from where anycert will put the certificate. That nothing is there yet does not
// matter to it before its first reload.
func (w *world) startNginx() {
	w.t.Helper()
	old := testenv.IssueFrom(w.t, w.strangers, certs.Options{SelfSigned: true})
	before, served := filepath.Join(w.dir, "before"), filepath.Join(w.dir, "served")
	w.must(os.Mkdir(before, 0o700))
	w.write(filepath.Join(before, "fullchain.pem"), old.ChainPEM)
	w.write(filepath.Join(before, "privkey.pem"), old.KeyPEM)
	w.must(os.Symlink(before, served))
	w.nginx = testenv.Nginx(w.t, served)
	w.must(os.Remove(served))
	w.must(os.Symlink(filepath.Join(w.files, "example"), served))
	w.settings.Reload = w.nginx.ReloadCommand()
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) write(path string, text []byte) {
	w.t.Helper()
	w.must(os.WriteFile(path, text, 0o600))
}

// file writes a file into the world's directory and returns its path.
func (w *world) file(name, text string) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	w.write(path, []byte(text))
	return path
}

package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/nginxserver"
	"github.com/anycert/anycert/internal/testenv/world"
)

// scene is a world with the configuration of the main job.
type scene struct {
	*world.World

	nginx    *nginxserver.Server // nil in a small scene
	settings settings
	config   string // path
}

// newScene starts every part and writes the configuration. Nothing is issued yet.
func newScene(t *testing.T) *scene {
	t.Helper()
	w := newSmallScene(t, "prod")
	w.openCluster()
	w.startNginx()
	w.writeConfig()
	return w
}

// newSmallScene leaves out what takes seconds to start: clusters and nginx.
func newSmallScene(t *testing.T, clusters ...string) *scene {
	t.Helper()
	w := &scene{World: world.New(t, world.Options{Clusters: clusters, ACME: acmeserver.Options{RejectNonces: 20}})}
	w.settings = settings{World: w.World, Auth: w.AppRole("hub", w.HubPolicy()), KeyType: "ec256", Reload: []string{"true"}}
	w.writeConfig()
	return w
}

// in lets a test within the test speak for itself.
func (w *scene) in(t *testing.T) *scene {
	within := *w
	within.World = w.In(t)
	return &within
}

// startNginx starts it as on a machine that is taken over: it serves something old
// from where anycert will put the certificate. That nothing is there yet does not
// matter to it before its first reload.
func (w *scene) startNginx() {
	w.T.Helper()
	old := testenv.IssueFrom(w.T, w.Strangers, certs.Options{SelfSigned: true})
	before, served := w.Path("before"), w.Path("served")
	w.Must(os.Mkdir(before, 0o700))
	w.File("before/fullchain.pem", string(old.ChainPEM))
	w.File("before/privkey.pem", string(old.KeyPEM))
	w.Must(os.Symlink(before, served))
	w.nginx = testenv.Nginx(w.T, served)
	w.Must(os.Remove(served))
	w.Must(os.Symlink(filepath.Join(w.Files, "example"), served))
	w.settings.Reload = w.nginx.ReloadCommand()
}

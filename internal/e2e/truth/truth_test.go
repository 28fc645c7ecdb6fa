package truth

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/vaultserver"
	"github.com/anycert/anycert/internal/testenv/world"
)

// TestTruth shares one cluster, which dies in the end.
func TestTruth(t *testing.T) {
	kube := testenv.Kubernetes(t)
	t.Run("while it lives", func(t *testing.T) {
		t.Run("Sealed", func(t *testing.T) {
			t.Parallel()
			newScene(t, kube, world.Options{Raft: true}).sealedDuringTenPasses()
		})
		t.Run("Revoked", func(t *testing.T) {
			t.Parallel()
			newScene(t, kube, world.Options{}).tokenRevokedUnderWay()
		})
		t.Run("Absent", func(t *testing.T) {
			t.Parallel()
			newScene(t, kube, world.Options{}).absentInEveryWay()
		})
		t.Run("Restored", func(t *testing.T) {
			t.Parallel()
			newScene(t, kube, world.Options{Raft: true}).restoredFromASnapshot()
		})
	})
	t.Run("Dead", func(t *testing.T) { newScene(t, kube, world.Options{}).clusterDies() })
}

// sealedDuringTenPasses: the daemon waits. What was broken meanwhile is mended by
// the first pass after unsealing.
func (w *scene) sealedDuringTenPasses() {
	pair := w.put(certs.Options{})
	d := w.startDaemon()
	d.awaitServed()
	w.serve("at the start", "bought", pair)
	before := w.served()

	w.Must(w.Vault.Seal(w.T.Context()))
	d.AwaitUnready("Vault is sealed: unseal it")
	w.Must(os.RemoveAll(w.Path("files/bought")))
	broken := w.served()
	d.passes(10)
	w.unchanged("after ten passes with a sealed Vault", broken)
	d.AwaitUnready("Vault is sealed: unseal it")

	mark, err := w.Vault.Mark()
	w.Must(err)
	w.Must(w.Vault.Unseal(w.T.Context()))
	d.awaitServed()
	w.unchanged("after unsealing", before)
	w.mendedByTheFirstPass(mark)
	d.End()
}

// mendedByTheFirstPass expects that the key was read for a push in the first pass
// that the store answered: a pass reads the metadata once, and once more before a
// push.
func (w *scene) mendedByTheFirstPass(since vaultserver.Mark) {
	w.T.Helper()
	requests, err := w.Vault.Requests(since)
	w.Must(err)
	looks := 0
	for _, r := range requests {
		switch r.Operation + " " + r.Path {
		case "read secret/metadata/" + certificatePath:
			looks++
		case "read secret/data/" + certificatePath:
			if looks > 2 {
				w.T.Errorf("the metadata was read %d times before the first push after unsealing, want twice at most", looks)
			}
			return
		}
	}
	w.T.Error("the key was not read after unsealing")
}

// tokenRevokedUnderWay: another token in the file is enough.
func (w *scene) tokenRevokedUnderWay() {
	w.put(certs.Options{})
	d := w.startDaemon()
	d.awaitServed()
	before := w.served()
	w.revokeToken()
	d.AwaitUnready("Vault does not know the token, it has ended or was revoked: give another")
	w.unchanged("after the token was revoked", before)
	w.newToken()
	d.awaitServed()
	w.unchanged("with another token", before)
	d.End()
}

// passes waits for passes, counted where they are seen: each looks at our Secret in
// the cluster. Two of three are brought about by SIGHUP, with a whole new client of
// the sealed Vault, so that ten take twenty seconds.
func (d *daemon) passes(n int) {
	d.T.Helper()
	for pass := range n {
		mark, err := d.Clusters["prod"].Mark()
		d.Must(err)
		if pass%3 != 0 {
			d.HangUp()
		}
		d.Await("makes a pass", func() error {
			requests, err := d.Clusters["prod"].Requests(mark)
			d.Must(err)
			for _, r := range requests {
				if r.Namespace == d.namespace && r.Name == "bought-tls" && strings.HasPrefix(r.UserAgent, "anycert/") {
					return nil
				}
			}
			return errors.New("it did not look at the Secret yet")
		})
		d.Lives()
		if status, text, err := d.Get(d.T.Context(), "/health/ready"); err != nil || status != http.StatusServiceUnavailable {
			d.T.Errorf("pass %d with a sealed Vault: /health/ready says %d %s (%v)", pass+1, status, text, err)
		}
	}
}

// restoredFromASnapshot: what was pushed since is held, until a person says that
// the store is right. A rollback in Vault is a new version and followed at once.
func (w *scene) restoredFromASnapshot() {
	older := w.put(certs.Options{})
	w.run(0, "sync")
	snapshot, err := w.Vault.Snapshot(w.T.Context())
	w.Must(err)
	time.Sleep(1100 * time.Millisecond) // marks know whole seconds
	newer := w.put(certs.Options{})
	w.run(0, "sync")
	w.serve("before the snapshot was restored", "bought", newer)
	before := w.served()

	w.Must(w.Vault.Restore(w.T.Context(), snapshot))
	w.verdicts(w.run(2, "audit"), "bought", everywhere("held"), "--accept-store bought")
	w.verdicts(w.run(1, "sync"), "bought", everywhere("held"), "--accept-store bought")
	w.unchanged("a sync after the snapshot was restored", before)
	w.run(0, "sync", "--accept-store", "bought")
	w.serve("after --accept-store", "bought", older)

	newest := w.put(certs.Options{})
	w.run(0, "sync")
	w.serve("a new version", "bought", newest)
	_, err = w.Vault.Client().KVv2("secret").Rollback(w.T.Context(), "anycert/certs/bought", 1)
	w.Must(err)
	w.run(0, "sync")
	w.serve("after `vault kv rollback`", "bought", older)
	w.run(0, "audit")
}

// clusterDies: the other sinks go on, and nothing is restarted.
func (w *scene) clusterDies() {
	w.put(certs.Options{})
	d := w.startDaemon()
	d.awaitServed()
	w.Clusters["prod"].Close()
	d.AwaitUnready("bought at prod")
	pair := w.put(certs.Options{})
	d.Await("has given the other sinks the new version", func() error {
		_, domain := w.Fastly.Served(world.TLSConfiguration, "example.com")
		_, app := w.Fly.Custom(world.FlyApp, "example.com")
		_, files := w.InFiles(w.Files, "bought")
		for sink, key := range map[string][]byte{"edge": domain, "app": app, "nginx": files} {
			if string(key) != string(pair.KeyPEM) {
				return fmt.Errorf("%s has another key", sink)
			}
		}
		return nil
	})
	d.Lives()
	d.End()
}

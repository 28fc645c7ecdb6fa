package truth

import (
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/vaultserver"
)

// TestTruth shares one cluster, which dies in the end.
func TestTruth(t *testing.T) {
	dependOnSources(t)
	kube := testenv.Kubernetes(t)
	t.Run("while it lives", func(t *testing.T) {
		t.Run("Sealed", func(t *testing.T) {
			t.Parallel()
			newWorld(t, testenv.RaftVault(t), kube).sealedDuringTenPasses()
		})
		t.Run("Revoked", func(t *testing.T) {
			t.Parallel()
			newWorld(t, testenv.Vault(t), kube).tokenRevokedUnderWay()
		})
		t.Run("Absent", func(t *testing.T) {
			t.Parallel()
			newWorld(t, testenv.Vault(t), kube).absentInEveryWay()
		})
		t.Run("Restored", func(t *testing.T) {
			t.Parallel()
			newWorld(t, testenv.RaftVault(t), kube).restoredFromASnapshot()
		})
	})
	t.Run("Dead", func(t *testing.T) { newWorld(t, testenv.Vault(t), kube).clusterDies() })
}

// sealedDuringTenPasses: the daemon waits. What was broken meanwhile is mended by
// the first pass after unsealing.
func (w *world) sealedDuringTenPasses() {
	pair := w.put(certs.Options{})
	d := w.startDaemon()
	d.awaitReady()
	w.serve("at the start", "bought", pair)
	before := w.served()

	w.must(w.vault.Seal(w.Context()))
	d.awaitUnready("Vault is sealed: unseal it")
	w.must(os.RemoveAll(w.path("files/bought")))
	broken := w.served()
	d.passes(10)
	w.unchanged("after ten passes with a sealed Vault", broken)
	d.awaitUnready("Vault is sealed: unseal it")

	mark, err := w.vault.Mark()
	w.must(err)
	w.must(w.vault.Unseal(w.Context()))
	d.awaitReady()
	w.unchanged("after unsealing", before)
	w.mendedByTheFirstPass(mark)
	d.end()
}

// mendedByTheFirstPass expects that the key was read for a push in the first pass
// that the store answered: a pass reads the metadata once, and once more before a
// push.
func (w *world) mendedByTheFirstPass(since vaultserver.Mark) {
	w.Helper()
	requests, err := w.vault.Requests(since)
	w.must(err)
	looks := 0
	for _, r := range requests {
		switch r.Operation + " " + r.Path {
		case "read secret/metadata/" + certificatePath:
			looks++
		case "read secret/data/" + certificatePath:
			if looks > 2 {
				w.Errorf("the metadata was read %d times before the first push after unsealing, want twice at most", looks)
			}
			return
		}
	}
	w.Error("the key was not read after unsealing")
}

// tokenRevokedUnderWay: another token in the file is enough.
func (w *world) tokenRevokedUnderWay() {
	w.put(certs.Options{})
	d := w.startDaemon()
	d.awaitReady()
	before := w.served()
	w.revokeToken()
	d.awaitUnready("Vault does not know the token, it has ended or was revoked: give another")
	w.unchanged("after the token was revoked", before)
	w.newToken()
	d.awaitReady()
	w.unchanged("with another token", before)
	d.end()
}

// passes waits for passes, counted where they are seen: each looks at our Secret in
// the cluster. Two of three are brought about by SIGHUP, with a whole new client of
// the sealed Vault, so that ten take twenty seconds.
func (d *daemon) passes(n int) {
	d.Helper()
	for pass := range n {
		mark, err := d.kube.Mark()
		d.must(err)
		if pass%3 != 0 {
			d.must(d.cmd.Process.Signal(syscall.SIGHUP))
		}
		d.await("it makes a pass", func() bool {
			requests, err := d.kube.Requests(mark)
			d.must(err)
			for _, r := range requests {
				if r.Namespace == d.namespace && r.Name == "bought-tls" && strings.HasPrefix(r.UserAgent, "anycert/") {
					return true
				}
			}
			return false
		})
		d.lives()
		if status, text := d.ask("/health/ready"); status != http.StatusServiceUnavailable {
			d.Errorf("pass %d with a sealed Vault: /health/ready says %d %s", pass+1, status, text)
		}
	}
}

// restoredFromASnapshot: what was pushed since is held, until a person says that
// the store is right. A rollback in Vault is a new version and followed at once.
func (w *world) restoredFromASnapshot() {
	older := w.put(certs.Options{})
	w.run(0, "sync")
	snapshot, err := w.vault.Snapshot(w.Context())
	w.must(err)
	time.Sleep(1100 * time.Millisecond) // marks know whole seconds
	newer := w.put(certs.Options{})
	w.run(0, "sync")
	w.serve("before the snapshot was restored", "bought", newer)
	before := w.served()

	w.must(w.vault.Restore(w.Context(), snapshot))
	w.run(2, "audit").verdicts(w, "bought", everywhere("held"), "--accept-store bought")
	w.run(1, "sync").verdicts(w, "bought", everywhere("held"), "--accept-store bought")
	w.unchanged("a sync after the snapshot was restored", before)
	w.run(0, "sync", "--accept-store", "bought")
	w.serve("after --accept-store", "bought", older)

	newest := w.put(certs.Options{})
	w.run(0, "sync")
	w.serve("a new version", "bought", newest)
	_, err = w.vault.Client().KVv2("secret").Rollback(w.Context(), "anycert/certs/bought", 1)
	w.must(err)
	w.run(0, "sync")
	w.serve("after `vault kv rollback`", "bought", older)
	w.run(0, "audit")
}

// clusterDies: the other sinks go on, and nothing is restarted.
func (w *world) clusterDies() {
	w.put(certs.Options{})
	d := w.startDaemon()
	d.awaitReady()
	w.kube.Close()
	d.awaitUnready("bought at prod")
	pair := w.put(certs.Options{})
	d.await("the other sinks have the new version", func() bool {
		_, domain := w.fastly.Served(tlsConfiguration, "example.com")
		_, app := w.fly.Custom(flyApp, "example.com")
		files := w.readIfThere(w.path("files/bought/privkey.pem"))
		return string(domain) == string(pair.KeyPEM) && string(app) == string(pair.KeyPEM) && string(files) == string(pair.KeyPEM)
	})
	d.lives()
	d.end()
}

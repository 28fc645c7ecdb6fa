package e2e

import (
	"os"
	"sync"
	"testing"

	"github.com/anycert/anycert/internal/testenv/world"
)

// Two processes of one hub that fill the same empty places at the same moment hinder
// each other at times. What counts is what is there in the end, and both say so. What
// one of them has made in vain carries our mark, and prune takes it away.
func TestTwoSyncsAtOnce(t *testing.T) {
	t.Parallel()
	w := newSmallScene(t)
	w.everyPromiseKept(w.report(0, "sync"))
	truths := w.truths()
	for range 5 {
		w.emptyAll()
		var both sync.WaitGroup
		for range 2 {
			cmd := w.command("sync")
			both.Go(func() {
				if text, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%v\n%s", err, text)
				}
			})
		}
		both.Wait()
		w.verifyAll("after two syncs at once", truths)
	}
	if got := w.run("prune", "--yes"); got.Code != 0 {
		t.Error(got)
	}
	w.verifyAll("after prune", truths)
	w.everyPromiseKept(w.report(0, "audit"))
	w.issuedOnce(truths)
}

// emptyAll takes everything away that anycert put anywhere but into Vault.
func (w *scene) emptyAll() {
	w.T.Helper()
	for _, certificate := range w.Fastly.Certificates() {
		w.Fastly.RemoveCertificate(certificate.ID)
	}
	for _, key := range w.Fastly.Keys() {
		w.Fastly.RemoveKey(key.ID)
	}
	for _, hostname := range domains["example"] {
		w.Fly.DeleteCustom(world.FlyApp, hostname)
	}
	w.Fly.DeleteCustom(world.FlyAPIApp, "api.example.com")
	w.Must(os.RemoveAll(w.Files))
}

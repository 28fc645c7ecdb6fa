package e2e

import (
	"os"
	"sync"
	"testing"
)

// Two processes of one hub that fill the same empty places at the same moment hinder
// each other at times. What counts is what is there in the end, and both say so. What
// one of them has made in vain carries our mark, and prune takes it away.
func TestTwoSyncsAtOnce(t *testing.T) {
	t.Parallel()
	w := newSmallWorld(t)
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
	if got := w.run("prune", "--yes"); got.code != 0 {
		t.Errorf("prune ended with exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	w.verifyAll("after prune", truths)
	w.everyPromiseKept(w.report(0, "audit"))
	w.issuedOnce(truths)
}

// emptyAll takes everything away that anycert put anywhere but into Vault.
func (w *world) emptyAll() {
	w.t.Helper()
	for _, certificate := range w.fastly.Certificates() {
		w.fastly.RemoveCertificate(certificate.ID)
	}
	for _, key := range w.fastly.Keys() {
		w.fastly.RemoveKey(key.ID)
	}
	for _, hostname := range domains["example"] {
		w.fly.DeleteCustom(flyApp, hostname)
	}
	w.fly.DeleteCustom(flyAPIApp, "api.example.com")
	w.must(os.RemoveAll(w.files))
}

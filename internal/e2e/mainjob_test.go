package e2e

import (
	"testing"

	"github.com/anycert/anycert/internal/testenv/vaultserver"
	"github.com/anycert/anycert/internal/testenv/world"
)

// From an empty store to every place, by one command; and the same command again
// writes nothing anywhere.
func TestMainJob(t *testing.T) {
	t.Parallel()
	w := newScene(t)
	before := w.Now()
	first := w.report(0, "sync")
	w.everyPromiseKept(first)
	for _, p := range first.Promises {
		if p.Action != "create" || !p.Pushed || p.Because != "nothing is there" {
			t.Errorf("the first pass did something else than create: %v", p)
		}
	}
	truths := w.truths()
	w.awaitNginx(truths)
	w.verifyAll("after the first sync", truths)
	w.issuedOnce(truths)
	w.onlyDocumentedRights(before)

	w.secondSyncWritesNothing()
	w.auditReadsNoKey()
	w.issuedOnce(truths)
}

// everyPromiseKept expects one promise for each place, and all kept.
func (w *scene) everyPromiseKept(r world.Report) {
	w.T.Helper()
	seen := map[world.Place]int{}
	for _, p := range r.Promises {
		seen[p.Place()]++
	}
	for _, p := range w.places() {
		if seen[p] != 1 {
			w.T.Errorf("the report has %d promises for %v", seen[p], p)
		}
	}
	if len(r.Promises) != len(w.places()) {
		w.T.Errorf("the report has %d promises, there are %d places", len(r.Promises), len(w.places()))
	}
	for _, p := range r.NotKept() {
		w.T.Errorf("not kept: %v", p)
	}
}

// issuedOnce expects one order and one certificate for each declared one, and that
// the CA's is what Vault holds.
func (w *scene) issuedOnce(truths map[string]world.Stored) {
	w.T.Helper()
	for certificate, names := range domains {
		issued := w.ACME.CertificatesFor(names...)
		if len(issued) != 1 || !issued[0].Equal(truths[certificate].Leaf) {
			w.T.Errorf("the CA issued %d certificates for %v, want the one in Vault", len(issued), names)
		}
	}
	if n := len(w.ACME.Orders()); n != len(domains) {
		w.T.Errorf("%d orders were made", n)
	}
}

// onlyDocumentedRights expects that anycert asked the cluster for nothing that its
// documented rights do not allow.
func (w *scene) onlyDocumentedRights(since world.Moment) {
	w.T.Helper()
	ours := w.ClusterSince(since, "prod")
	if len(ours) == 0 {
		w.T.Error("the cluster has seen no request with the user agent anycert")
	}
	for _, r := range ours {
		if r.User != "system:serviceaccount:anycert:anycert" || r.Status == 401 || r.Status == 403 {
			w.T.Errorf("a request beyond the documented rights: %+v", r)
		}
	}
}

func (w *scene) auditReadsNoKey() {
	w.T.Helper()
	m := w.Now()
	w.everyPromiseKept(w.report(0, "audit"))
	w.WroteNothing("an audit", m)
	if reads := w.keyReads(m); len(reads) > 0 {
		w.T.Errorf("an audit read keys: %v", reads)
	}
}

func (w *scene) secondSyncWritesNothing() {
	w.T.Helper()
	m := w.Now()
	second := w.report(0, "sync")
	w.everyPromiseKept(second)
	for _, p := range second.Acted() {
		w.T.Errorf("something was done: %v", p)
	}
	w.WroteNothing("a second sync", m)
	asked := w.VaultSince(m)
	if reads := vaultserver.KeyReads(asked); len(reads) > 0 {
		w.T.Errorf("a second sync read data: %v", reads)
	}
	count := vaultserver.Count(asked)
	for certificate := range domains {
		if n := count["read secret/metadata/anycert/certs/"+certificate]; n != 1 {
			w.T.Errorf("the metadata of %s was read %d times", certificate, n)
		}
	}
}

// awaitNginx waits until nginx, which reloads in its own time, serves what it was
// told to.
func (w *scene) awaitNginx(truths map[string]world.Stored) {
	w.T.Helper()
	w.Must(w.nginx.WaitServing(w.T.Context(), truths["example"].Leaf))
}

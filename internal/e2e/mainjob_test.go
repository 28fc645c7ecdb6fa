package e2e

import (
	"testing"

	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/internal/testenv/vaultserver"
)

// From an empty store to every place, by one command; and the same command again
// writes nothing anywhere.
func TestMainJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.now()
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
func (w *world) everyPromiseKept(r report) {
	w.t.Helper()
	seen := map[place]int{}
	for _, p := range r.Promises {
		seen[p.place()]++
	}
	for _, p := range w.places() {
		if seen[p] != 1 {
			w.t.Errorf("the report has %d promises for %v", seen[p], p)
		}
	}
	if len(r.Promises) != len(w.places()) {
		w.t.Errorf("the report has %d promises, there are %d places", len(r.Promises), len(w.places()))
	}
	for _, p := range r.notKept() {
		w.t.Errorf("not kept: %v", p)
	}
}

// issuedOnce expects one order and one certificate for each declared one, and that
// the CA's is what Vault holds.
func (w *world) issuedOnce(truths map[string]truth) {
	w.t.Helper()
	for certificate, names := range domains {
		issued := w.acme.CertificatesFor(names...)
		if len(issued) != 1 || !issued[0].Equal(truths[certificate].leaf) {
			w.t.Errorf("the CA issued %d certificates for %v, want the one in Vault", len(issued), names)
		}
	}
	if n := len(w.acme.Orders()); n != len(domains) {
		w.t.Errorf("%d orders were made", n)
	}
}

// onlyDocumentedRights expects that anycert asked the cluster for nothing that its
// documented rights do not allow.
func (w *world) onlyDocumentedRights(since moment) {
	w.t.Helper()
	requests, err := w.kube.Requests(since.kube)
	w.must(err)
	ours := kubeserver.From("anycert", requests)
	if len(ours) == 0 {
		w.t.Error("the cluster has seen no request with the user agent anycert")
	}
	for _, r := range ours {
		if r.User != "system:serviceaccount:anycert:anycert" || r.Status == 401 || r.Status == 403 {
			w.t.Errorf("a request beyond the documented rights: %+v", r)
		}
	}
}

func (w *world) auditReadsNoKey() {
	w.t.Helper()
	m := w.now()
	w.everyPromiseKept(w.report(0, "audit"))
	w.wroteNothing("an audit", m)
	if reads := w.keyReads(m); len(reads) > 0 {
		w.t.Errorf("an audit read keys: %v", reads)
	}
}

func (w *world) secondSyncWritesNothing() {
	w.t.Helper()
	m := w.now()
	second := w.report(0, "sync")
	w.everyPromiseKept(second)
	for _, p := range second.acted() {
		w.t.Errorf("something was done: %v", p)
	}
	w.wroteNothing("a second sync", m)
	asked := w.vaultSince(m)
	if reads := vaultserver.KeyReads(asked); len(reads) > 0 {
		w.t.Errorf("a second sync read data: %v", reads)
	}
	count := vaultserver.Count(asked)
	for certificate := range domains {
		if n := count["read secret/metadata/anycert/certs/"+certificate]; n != 1 {
			w.t.Errorf("the metadata of %s was read %d times", certificate, n)
		}
	}
}

// awaitNginx waits until nginx, which reloads in its own time, serves what it was
// told to.
func (w *world) awaitNginx(truths map[string]truth) {
	w.t.Helper()
	w.must(w.nginx.WaitServing(w.t.Context(), truths["example"].leaf))
}

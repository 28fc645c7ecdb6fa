package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/vaultserver"
	"github.com/anycert/anycert/internal/testenv/world"
)

// writeFollower writes the configuration of a machine with one directory.
func (w *scene) writeFollower(owner, auth, dir string) (path string) {
	w.T.Helper()
	return w.File(owner+".yaml", fmt.Sprintf(`version: 1
owner: %s
store: %s
certificates:
  - {name: example, domains: [example.com, "*.example.com"]}
sinks:
  - {name: nginx, type: file, certificates: ["*"], config: {dir: %s}}
`, owner, w.Store(auth), dir))
}

// A configuration without issuers follows what others put into the store, with the
// right to read alone, and asks no CA for anything.
func TestFollower(t *testing.T) {
	t.Parallel()
	w := newSmallScene(t)
	dir := w.Path("machine")
	config := w.writeFollower("machine-1", w.AppRole("follower", w.FollowerPolicy()), dir)
	follow := func(when, verdict, action string) {
		t.Helper()
		m, asked := w.Now(), len(w.ACME.Requests())
		r := w.Report(0, config, "sync")
		if len(r.Promises) != 1 || r.Promises[0].Verdict != verdict || r.Promises[0].Action != action {
			t.Errorf("%s: %v, want %s %s", when, r.Promises, verdict, action)
		}
		for _, write := range vaultserver.Writes(w.VaultSince(m)) {
			if write.Error == "" { // what is written by hand it would index, and may not
				t.Errorf("%s: it writes to Vault: %v", when, write)
			}
		}
		if n := len(w.ACME.Requests()) - asked; n != 0 {
			t.Errorf("%s: it made %d requests to a CA", when, n)
		}
	}

	follow("with an empty store", "waiting", "")
	w.everyPromiseKept(w.report(0, "sync")) // the hub issues
	follow("once it was issued", "kept", "create")
	if err := w.Stored("example").Same(w.InFiles(dir, "example")); err != nil {
		t.Errorf("the follower's directory does not hold what is in Vault: %v", err)
	}
	follow("when nothing changed", "kept", "")
	if got := w.Run(config, "status"); got.Code != 0 || !strings.Contains(got.Stdout, "1 kept") {
		t.Error(got)
	}

	// Any issuer would renew this at once.
	almost := testenv.IssueFrom(t, w.Strangers, certs.Options{Names: domains["example"],
		NotBefore: time.Now().AddDate(0, 0, -89), NotAfter: time.Now().Add(time.Hour)})
	w.Put("example", almost)
	follow("once somebody wrote another one by hand", "kept", "replace")
	if chain, key := w.InFiles(dir, "example"); string(chain) != string(almost.ChainPEM) || string(key) != string(almost.KeyPEM) {
		t.Error("the follower's directory does not hold what was written by hand")
	}
	follow("when nothing changed since", "kept", "")
}

// Two hubs do not fight over one place, and one hub does not fill it twice.
func TestTwoConfigsOneTarget(t *testing.T) {
	t.Parallel()
	w := newSmallScene(t)
	w.everyPromiseKept(w.report(0, "sync"))
	truths := w.truths()
	other := w.writeFollower("other-hub", w.AppRole("other", w.HubPolicy()), w.Files)
	w.Put("example", testenv.IssueFrom(t, w.Strangers, certs.Options{Names: domains["example"]}))
	w.Report(1, other, "sync") // which indexes what is new: there is something to push
	m := w.Now()
	for _, run := range []world.Report{w.Report(2, other, "audit"), w.Report(1, other, "sync")} {
		if len(run.Promises) != 1 || run.Promises[0].Verdict != "refused" || !strings.Contains(run.Promises[0].Reason, `"e2e"`) {
			t.Errorf("want a refusal that names the other owner, got %v", run.Promises)
		}
	}
	w.WroteNothing("a hub at another's place", m)
	w.verifyAll("after another hub's passes", truths)

	text, err := os.ReadFile(filepath.Join(w.Dir, "config.yaml"))
	w.Must(err)
	second := fmt.Sprintf("  - {name: again, type: file, certificates: [api], config: {dir: %s}}\nreconcile:", w.Files)
	twice := w.File("twice.yaml", strings.Replace(string(text), "reconcile:", second, 1))
	for _, verb := range []string{"check", "sync"} {
		if got := w.Run(twice, verb); got.Code != 1 || !got.Says("one place holds one certificate") {
			t.Errorf("a file with one place twice: %v", got)
		}
	}
}

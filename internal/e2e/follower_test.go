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
)

// readOnly is what a follower may do in Vault.
const readOnly = `
path "secret/data/anycert/certs/*"     { capabilities = ["read"] }
path "secret/metadata/anycert/certs/*" { capabilities = ["read"] }
`

// writeFollower writes the configuration of a machine with one directory.
func (w *world) writeFollower(owner, auth, dir string) (path string) {
	w.t.Helper()
	return w.file(owner+".yaml", fmt.Sprintf(`version: 1
owner: %s
store: {vault: {address: %s, auth: %s}}
certificates:
  - {name: example, domains: [example.com, "*.example.com"]}
sinks:
  - {name: nginx, type: file, certificates: ["*"], config: {dir: %s}}
`, owner, w.vault.Addr, auth, dir))
}

// put writes an entry as `vault kv put` does.
func (w *world) put(certificate string, pair certs.Pair) {
	w.t.Helper()
	_, err := w.vault.Client().KVv2("secret").Put(w.t.Context(), "anycert/certs/"+certificate,
		map[string]any{"tls.crt": string(pair.ChainPEM), "tls.key": string(pair.KeyPEM)})
	w.must(err)
}

// A configuration without issuers follows what others put into the store, with the
// right to read alone, and asks no CA for anything.
func TestFollower(t *testing.T) {
	t.Parallel()
	w := newSmallWorld(t)
	dir := filepath.Join(w.dir, "machine")
	config := w.writeFollower("machine-1", w.appRole("follower", readOnly), dir)
	served := func() (chain, key string) {
		chainText, _ := os.ReadFile(filepath.Join(dir, "example", "fullchain.pem"))
		keyText, _ := os.ReadFile(filepath.Join(dir, "example", "privkey.pem"))
		return string(chainText), string(keyText)
	}
	follow := func(when, verdict, action string) {
		t.Helper()
		m, asked := w.now(), len(w.acme.Requests())
		r := w.reportUnder(config, 0, "sync")
		if len(r.Promises) != 1 || r.Promises[0].Verdict != verdict || r.Promises[0].Action != action {
			t.Errorf("%s: %v, want %s %s", when, r.Promises, verdict, action)
		}
		for _, write := range vaultserver.Writes(w.vaultSince(m)) {
			if write.Error == "" { // what is written by hand it would index, and may not
				t.Errorf("%s: it writes to Vault: %v", when, write)
			}
		}
		if n := len(w.acme.Requests()) - asked; n != 0 {
			t.Errorf("%s: it made %d requests to a CA", when, n)
		}
	}

	follow("with an empty store", "waiting", "")
	w.everyPromiseKept(w.report(0, "sync")) // the hub issues
	follow("once it was issued", "kept", "create")
	if chain, key := served(); chain != string(w.truth("example").chain) || key != string(w.truth("example").key) {
		t.Error("the follower's directory does not hold what is in Vault")
	}
	follow("when nothing changed", "kept", "")
	if got := w.end(w.commandUnder(config, "status")); got.code != 0 || !strings.Contains(got.stdout, "1 kept") {
		t.Errorf("status ended with %d\n%s%s", got.code, got.stdout, got.stderr)
	}

	// Any issuer would renew this at once.
	almost := testenv.IssueFrom(t, w.strangers, certs.Options{Names: domains["example"],
		NotBefore: time.Now().AddDate(0, 0, -89), NotAfter: time.Now().Add(time.Hour)})
	w.put("example", almost)
	follow("once somebody wrote another one by hand", "kept", "replace")
	if chain, key := served(); chain != string(almost.ChainPEM) || key != string(almost.KeyPEM) {
		t.Error("the follower's directory does not hold what was written by hand")
	}
	follow("when nothing changed since", "kept", "")
}

// Two hubs do not fight over one place, and one hub does not fill it twice.
func TestTwoConfigsOneTarget(t *testing.T) {
	t.Parallel()
	w := newSmallWorld(t)
	w.everyPromiseKept(w.report(0, "sync"))
	truths := w.truths()
	other := w.writeFollower("other-hub", w.appRole("other", hubPolicy), w.files)
	w.put("example", testenv.IssueFrom(t, w.strangers, certs.Options{Names: domains["example"]}))
	w.reportUnder(other, 1, "sync") // which indexes what is new: there is something to push
	m := w.now()
	for _, run := range []report{w.reportUnder(other, 2, "audit"), w.reportUnder(other, 1, "sync")} {
		if len(run.Promises) != 1 || run.Promises[0].Verdict != "refused" || !strings.Contains(run.Promises[0].Reason, `"e2e"`) {
			t.Errorf("want a refusal that names the other owner, got %v", run.Promises)
		}
	}
	w.wroteNothing("a hub at another's place", m)
	w.verifyAll("after another hub's passes", truths)

	text, err := os.ReadFile(filepath.Join(w.dir, "config.yaml"))
	w.must(err)
	second := fmt.Sprintf("  - {name: again, type: file, certificates: [api], config: {dir: %s}}\nreconcile:", w.files)
	twice := w.file("twice.yaml", strings.Replace(string(text), "reconcile:", second, 1))
	for _, verb := range []string{"check", "sync"} {
		got := w.end(w.commandUnder(twice, verb))
		if got.code != 1 || !strings.Contains(got.stderr, "one place holds one certificate") && !strings.Contains(got.stdout, "one place holds one certificate") {
			t.Errorf("%s of a file with one place twice ended with %d\n%s%s", verb, got.code, got.stdout, got.stderr)
		}
	}
}

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/vaultserver"
)

// metadataOnly lets a monitor see that there are certificates, and no key.
const metadataOnly = `
path "secret/metadata/anycert/*" { capabilities = ["read", "list"] }
`

// Audit and status are worth as much with a token that may read metadata alone. It
// does not even try to read more.
func TestMetadataIsEnough(t *testing.T) {
	t.Parallel()
	w := newSmallWorld(t)
	w.everyPromiseKept(w.report(0, "sync"))
	w.must(w.vault.WritePolicy(t.Context(), "monitor", metadataOnly))
	token, err := w.vault.Token(t.Context(), "monitor")
	w.must(err)
	monitor := w.settings
	monitor.Auth = fmt.Sprintf("{method: token, token: {file: %s}}", w.file("monitor-token", token))
	config := w.writeConfigAs("monitor.yaml", monitor)

	m := w.now()
	w.everyPromiseKept(w.reportUnder(config, 0, "audit"))
	w.everyPromiseKept(w.reportUnder(config, 0, "status"))

	lost := place{"example", "app", "*.example.com"}
	w.fly.DeleteCustom(flyApp, lost.target)
	planned := w.only(lost, "the audit", w.reportUnder(config, 2, "audit"))
	if planned.Action != "create" {
		t.Errorf("the audit says %v", planned)
	}
	w.reportUnder(config, 0, "status") // what differs is shown, and no failure of status

	if reads := vaultserver.KeyReads(w.vaultSince(m)); len(reads) > 0 {
		t.Errorf("data was asked for: %v", reads)
	}
	failed := w.only(lost, "a sync with too few rights", w.reportUnder(config, 1, "sync"))
	if failed.Verdict != "broken" || !strings.Contains(failed.Reason, "permission denied") || !strings.Contains(failed.Reason, "secret/data/anycert/certs/example") {
		t.Errorf("a sync with too few rights says %v", failed)
	}
	w.wroteNothing("looking", m)

	w.put("api", testenv.IssueFrom(t, w.strangers, certs.Options{Names: domains["api"]}))
	m = w.now()
	for _, p := range w.reportUnder(config, 1, "audit").Promises {
		if p.Certificate == "api" && (p.Verdict != "unknown" || !strings.Contains(p.Reason, "run `anycert sync` once")) {
			t.Errorf("of an entry that was written by hand it says %v", p)
		}
	}
	if reads := vaultserver.KeyReads(w.vaultSince(m)); len(reads) > 0 {
		t.Errorf("data was asked for: %v", reads)
	}
	w.wroteNothing("looking at what was written by hand", m)

	w.report(0, "sync") // the hub's
	w.everyPromiseKept(w.reportUnder(config, 0, "audit"))
}

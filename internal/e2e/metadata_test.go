package e2e

import (
	"strings"
	"testing"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/vaultserver"
	"github.com/anycert/anycert/internal/testenv/world"
)

// metadataOnly lets a monitor see that there are certificates, and no key.
const metadataOnly = `
path "secret/metadata/anycert/*" { capabilities = ["read", "list"] }
`

// Audit and status are worth as much with a token that may read metadata alone. It
// does not even try to read more.
func TestMetadataIsEnough(t *testing.T) {
	t.Parallel()
	w := newSmallScene(t)
	w.everyPromiseKept(w.report(0, "sync"))
	monitor := w.settings
	monitor.Auth = w.Token("monitor", metadataOnly)
	config := w.Config("monitor.yaml", configuration, monitor)

	m := w.Now()
	w.everyPromiseKept(w.Report(0, config, "audit"))
	w.everyPromiseKept(w.Report(0, config, "status"))

	lost := place("example", "app", "*.example.com")
	w.Fly.DeleteCustom(world.FlyApp, lost.Target)
	planned := w.only(lost, "the audit", w.Report(2, config, "audit"))
	if planned.Action != "create" {
		t.Errorf("the audit says %v", planned)
	}
	w.Report(0, config, "status") // what differs is shown, and no failure of status

	if reads := vaultserver.KeyReads(w.VaultSince(m)); len(reads) > 0 {
		t.Errorf("data was asked for: %v", reads)
	}
	failed := w.only(lost, "a sync with too few rights", w.Report(1, config, "sync"))
	if failed.Verdict != "broken" || !strings.Contains(failed.Reason, "permission denied") || !strings.Contains(failed.Reason, "secret/data/anycert/certs/example") {
		t.Errorf("a sync with too few rights says %v", failed)
	}
	w.WroteNothing("looking", m)

	w.Put("api", testenv.IssueFrom(t, w.Strangers, certs.Options{Names: domains["api"]}))
	m = w.Now()
	for _, p := range w.Report(1, config, "audit").Promises {
		if p.Certificate == "api" && (p.Verdict != "unknown" || !strings.Contains(p.Reason, "run `anycert sync` once")) {
			t.Errorf("of an entry that was written by hand it says %v", p)
		}
	}
	if reads := vaultserver.KeyReads(w.VaultSince(m)); len(reads) > 0 {
		t.Errorf("data was asked for: %v", reads)
	}
	w.WroteNothing("looking at what was written by hand", m)

	w.report(0, "sync") // the hub's
	w.everyPromiseKept(w.Report(0, config, "audit"))
}

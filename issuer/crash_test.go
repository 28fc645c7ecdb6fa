package issuer_test

import (
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/issuer"
	"github.com/anycert/anycert/store"
	"github.com/anycert/anycert/store/local"
)

// TestKilledAnywhereOneCertificate kills a process at each point of an order's way
// with SIGKILL. The next one finishes what was begun, at once.
func TestKilledAnywhereOneCertificate(t *testing.T) {
	for _, point := range issuer.Points() {
		if point == issuer.FailureWritten || point == issuer.Begun { // see TestKilledAfterAFailure; nothing was begun
			continue
		}
		t.Run(string(point), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, acmeserver.Options{})
			task := w.task(certificate("site", "example.com", "*.example.com"))
			task.DieAt = point
			if got := code(t, task.start(t)); got != -1 {
				t.Fatalf("the process ended with %d, it should have died at %s", got, point)
			}
			key := journalKey(t, task.Local)

			begun := time.Now()
			task.DieAt = ""
			if got := code(t, task.start(t)); got != 0 {
				t.Fatalf("the next process ended with %d", got)
			}
			if took := time.Since(begun); took > 20*time.Second {
				t.Errorf("the next process took %s", took)
			}
			w.wantOne(point)
			wantOneStored(t, task.Local, key)
		})
	}
}

// wantOne fails the test unless the CA issued one certificate, for one order where
// the order's URL was known.
func (w *world) wantOne(point issuer.Point) {
	w.t.Helper()
	if issued := w.acme.CertificatesFor("example.com", "*.example.com"); len(issued) != 1 {
		w.t.Errorf("the CA issued %d certificates", len(issued))
	}
	most := 1
	if point == issuer.OrderCreated {
		most = 2 // Pebble makes a new order each time; Boulder returns the open one
	}
	if orders := w.acme.Orders(); len(orders) > most {
		w.t.Errorf("%d orders were made", len(orders))
	}
	w.wantFinalized(1)
}

// journalKey is the key that the killed process had written into its journal;
// empty when the journal holds none any more.
func journalKey(t *testing.T, path string) string {
	t.Helper()
	file, err := local.Config{Path: path}.Open()
	if err != nil {
		t.Fatal(err)
	}
	text, _, err := file.Load(t.Context(), anycert.KindOrder, "site")
	if err != nil {
		t.Fatalf("no journal was left: %v", err)
	}
	var journal struct{ Key string }
	mustJSON(t, text.Reveal(), &journal)
	return journal.Key
}

// wantOneStored fails the test unless the store has one version, of that key, and
// no journal.
func wantOneStored(t *testing.T, path, key string) {
	t.Helper()
	file, err := local.Config{Path: path}.Open()
	if err != nil {
		t.Fatal(err)
	}
	entry, err := file.Stat(t.Context(), "site")
	if err != nil {
		t.Fatal(err)
	}
	if entry.Version != 1 {
		t.Errorf("the store has version %d", entry.Version)
	}
	bundle, err := file.Get(t.Context(), "site", entry.Version)
	if err != nil {
		t.Fatal(err)
	}
	if key != "" && bundle.KeyPEM().Reveal() != key {
		t.Error("the certificate was not issued for the key that the journal held")
	}
	if names, err := file.Keys(t.Context(), anycert.KindOrder); err != nil || len(names) > 0 {
		t.Errorf("journals are left: %v, %v", names, err)
	}
}

// TestKilledWithVault does the same with the real Vault, and looks that nothing is
// left of the journal in any version.
func TestKilledWithVault(t *testing.T) {
	vault := testenv.Vault(t)
	w := newWorld(t, acmeserver.Options{})
	task := w.task(certificate("site", "example.com", "*.example.com"))
	task.Vault, task.DieAt = vault.Addr, issuer.Finalized
	token := "VAULT_TOKEN=" + vault.RootToken
	if got := code(t, task.start(t, token)); got != -1 {
		t.Fatalf("the process ended with %d, it should have died", got)
	}
	const journal = "secret/metadata/anycert/orders/site"
	if left, err := vault.Client().Logical().ReadWithContext(t.Context(), journal); err != nil || left == nil {
		t.Fatalf("no journal was left: %v", err)
	}

	task.DieAt = ""
	if got := code(t, task.start(t, token)); got != 0 {
		t.Fatalf("the next process ended with %d", got)
	}
	w.wantOne(issuer.Finalized)
	if left, err := vault.Client().Logical().ReadWithContext(t.Context(), journal); err != nil || left != nil {
		t.Errorf("the journal is still there: %v, %v", left, err)
	}
}

// TestTwoProcessesOneOrder lets several processes with one Vault begin at once.
func TestTwoProcessesOneOrder(t *testing.T) {
	vault := testenv.Vault(t)
	w := newWorld(t, acmeserver.Options{})
	w.oneAccountAtATime()
	task := w.task(certificate("site", "example.com", "*.example.com"))
	task.Vault = vault.Addr
	token := "VAULT_TOKEN=" + vault.RootToken
	first, second := task.start(t, token), task.start(t, token)
	codes := map[int]int{}
	codes[code(t, first)]++
	codes[code(t, second)]++
	if codes[0] < 1 || codes[0]+codes[3] != 2 {
		t.Errorf("the processes ended with %v; one must succeed, the other succeed or leave it", codes)
	}
	w.wantOne("")
	accounts := map[string]bool{}
	for _, order := range w.acme.Orders() {
		accounts[order.Account] = true
	}
	if len(accounts) != 1 {
		t.Errorf("%d accounts made orders", len(accounts))
	}
	opened, err := store.Config{Address: vault.Addr}.Open(store.Env{Getenv: func(name string) string {
		return map[string]string{"VAULT_TOKEN": vault.RootToken}[name]
	}})
	if err != nil {
		t.Fatal(err)
	}
	if entry, err := opened.Stat(t.Context(), "site"); err != nil || entry.Version != 1 {
		t.Errorf("the store has version %d: %v", entry.Version, err)
	}
}

// TestKilledAfterAFailure: the failure is kept before the order is free again, so that
// a crash loop does not hammer the CA.
func TestKilledAfterAFailure(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	task := w.task(certificate("site", "example.com"))
	task.DieAt = issuer.FailureWritten
	w.acme.Intercept(failing(acmeserver.KindFinalize))
	if got := code(t, task.start(t)); got != -1 {
		t.Fatalf("the process ended with %d, it should have died", got)
	}
	asked := len(w.acme.Requests())
	if got := code(t, task.start(t)); got != 1 {
		t.Errorf("the next process ended with %d, want the failure that is waited for", got)
	}
	if more := len(w.acme.Requests()) - asked; more != 0 {
		t.Errorf("the next process asked the CA %d times", more)
	}
	if journalKey(t, task.Local) == "" {
		t.Error("the key of an order that is ready is gone")
	}
}

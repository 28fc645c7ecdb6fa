package hubs

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/world"
)

// A hundred certificates are due, and two daemons, and three, share them. The first one
// stands still for longer than its claims hold, with eight orders under way. The others
// make the rest meanwhile and then take the eight over. When the first one comes back, it
// orders nothing, hands in nothing and overwrites nothing.
func TestAHundredAndOneStandsStill(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		others int
		at     func(*hundred)
	}{
		"two daemons while the CA is handed the CSRs": {1, (*hundred).stopAtFinalize},
		"three daemons just before it is handed them": {2, (*hundred).stopBeforeFinalize},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newHundred(t)
			test.at(f)
			first := f.stopOne()
			begun := time.Now()
			f.daemons = nil
			for range test.others {
				f.start(f.config)
			}
			const rest = many - atOnce
			f.stored(rest / 2) // while the claims hold; for all of it a busy machine may take longer
			if took := time.Since(begun); took > claimed {
				t.Errorf("half of what the first one did not claim was ready after %s only: the claims may have ended by then", took)
			}
			f.stored(rest)
			f.stored(many)
			if waited := time.Since(begun); waited < claimed {
				t.Errorf("the orders of the first one were taken over after %s, while it had claimed them", waited)
			}
			f.awaitAll()
			f.orderedOnce("with the first one stopped")

			m, asked, woken := f.Now(), len(f.ACME.Requests()), time.Now()
			f.Must(first.Signal(syscall.SIGCONT))
			f.daemons = append(f.daemons, first)
			f.passes(2)
			for _, r := range f.ACME.Requests()[asked:] {
				begun := r.Time.After(woken) // else it reached the CA before, and its end waited for the daemon to read
				if begun && (r.Kind == acmeserver.KindNewOrder || r.Kind == acmeserver.KindFinalize) {
					t.Errorf("the late one asked the CA for %s at %s, and was answered %d", r.Kind, r.Time, r.Status)
				}
			}
			for _, r := range f.VaultSince(m) {
				if r.Operation != "read" && r.Operation != "list" && strings.Contains(r.Path, "/certs/") {
					t.Errorf("the late one wrote: %s %s", r.Operation, r.Path)
				}
			}
			f.awaitAll()
			f.calm("with the first one back")
			f.orderedOnce("with the first one back")
		})
	}
}

const (
	many   = 100 // certificates
	atOnce = 8   // orders that one daemon has under way
)

// hundred is a fleet over a hundred certificates. The first of its daemons reaches Vault
// through a relay.
type hundred struct {
	*fleet
	config  string
	relayed string // the same, through the relay
	relay   *relay
	barrier barrier
}

func newHundred(t *testing.T) *hundred {
	t.Helper()
	f := &hundred{fleet: newFleet(t), barrier: newBarrier(atOnce)}
	f.relay = startRelay(t, f.Vault.Addr)
	f.config = f.declareAll("hub.yaml", f.Vault.Addr)
	f.relayed = f.declareAll("relayed.yaml", f.relay.url)
	return f
}

// declareAll writes a configuration of all certificates.
func (f *hundred) declareAll(name, vault string) (path string) {
	f.T.Helper()
	list := "\n  - {name: example, domains: [example.com], issuer: pebble}" // see passes
	for i := range many - 1 {
		list += fmt.Sprintf("\n  - {name: host%02d, domains: [host%02d.example.com], issuer: pebble}", i, i)
	}
	return f.Config(name, `version: 1
owner: hub
store: {vault: {address: {{json .Vault}}, auth: {{.Auth}}}}
issuers: [{{.Issuer}}]
certificates:{{.Certificates}}
sinks:
  - {name: nginx, type: file, certificates: ["*"], config: {dir: {{.World.Files}}}}
reconcile: {schedule: "@every 5s"}
http: {listen: "127.0.0.1:0"}
`, map[string]any{"World": f.World, "Vault": vault, "Auth": f.auth, "Issuer": f.Issuer("pebble"), "Certificates": list})
}

// stopAtFinalize holds each order where the CSR has left the daemon.
func (f *hundred) stopAtFinalize() {
	f.ACME.Intercept(func(_ http.ResponseWriter, r *http.Request) (answered bool) {
		if acmeserver.KindOf(r) == acmeserver.KindFinalize {
			f.barrier.wait()
		}
		return false
	})
}

// stopBeforeFinalize holds each order where the daemon is told that it still has its
// claim: what it knows of it, when it comes back, is old.
func (f *hundred) stopBeforeFinalize() {
	f.relay.answered(func(path string, written journal) {
		if written.Order != "" && f.relay.nth(path) == 2 { // the first is that of the order's URL
			f.barrier.wait()
		}
	})
}

// stopOne starts the first daemon and stops it when all orders that it may have under
// way are at the barrier. What they wait for reaches it then, while it stands still.
func (f *hundred) stopOne() *world.Daemon {
	f.T.Helper()
	first := f.start(f.relayed)
	select {
	case <-f.barrier.full:
	case <-time.After(time.Minute):
		f.T.Fatalf("the first daemon did not bring %d orders to the barrier\n%s", atOnce, first.Logged())
	}
	f.Must(first.Signal(syscall.SIGSTOP))
	f.barrier.open()
	return first
}

// stored waits until so many certificates are in Vault.
func (f *hundred) stored(n int) {
	f.T.Helper()
	f.daemons[0].Await(fmt.Sprintf("and the others have stored %d certificates", n), func() error {
		list, err := f.Vault.Client().Logical().ListWithContext(f.T.Context(), "secret/metadata/anycert/certs")
		if err != nil || list == nil {
			return fmt.Errorf("none is there: %w", err)
		}
		if keys := list.Data["keys"].([]any); len(keys) < n {
			return fmt.Errorf("%d are there", len(keys))
		}
		return nil
	})
}

// awaitAll waits until all daemons have kept all promises, and no journal is left.
func (f *hundred) awaitAll() {
	f.T.Helper()
	for _, d := range f.daemons {
		d.AwaitReady()
	}
	f.daemons[0].Await("and the others have ended all orders", func() error {
		list, err := f.Vault.Client().Logical().ListWithContext(f.T.Context(), "secret/metadata/anycert/orders")
		if err == nil && list != nil {
			err = fmt.Errorf("journals are left: %v", list.Data["keys"])
		}
		return err
	})
}

// orderedOnce expects one order for each certificate, and its first version in Vault.
func (f *hundred) orderedOnce(when string) {
	f.T.Helper()
	orders := map[string]int{}
	for _, o := range f.ACME.Orders() {
		orders[strings.Join(o.Names, " ")]++
	}
	for names, n := range orders {
		if n != 1 {
			f.T.Errorf("%s: %d orders were made for %s", when, n, names)
		}
	}
	if len(orders) != many || len(f.ACME.Certificates()) != many {
		f.T.Errorf("%s: %d certificates were issued for %d sets of names, want %d for as many", when, len(f.ACME.Certificates()), len(orders), many)
	}
	for i := range many - 1 {
		if version := f.Stored(fmt.Sprintf("host%02d", i)).Version; version != 1 {
			f.T.Errorf("%s: Vault has version %d of host%02d", when, version, i)
		}
	}
}

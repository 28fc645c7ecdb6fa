package renewing

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/anycert/anycert/internal/testenv/vaultserver"
)

// Everything is replaced by one command, also when it is interrupted or killed in the
// middle: it is given again, and nothing is replaced twice.
func TestRenewAll(t *testing.T) {
	t.Parallel()
	for name, signal := range map[string]syscall.Signal{"interrupted": syscall.SIGINT, "killed": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEstate(t, 10, "", "")
			got := e.during(4, signal, "renew", "--all")
			if signal == syscall.SIGINT && (got.Code != 1 || !got.Says("interrupted") || !got.Says("a running daemon goes on with what is left, and so does the same command") || !got.Says("of 10 certificates renewed")) {
				t.Error(got)
			}
			if strings.Contains(got.Stdout+got.Stderr, "\x1b") {
				t.Errorf("escape codes without a terminal: %q", got.Stderr)
			}
			if len(e.kept("requests")) == 0 {
				t.Error("nothing is left to be gone on with: it was interrupted too late")
			}
			if got := e.Run(e.config, "status"); !got.Says("asked for by ") {
				t.Errorf("status does not tell who asked for what: %v", got)
			}
			if got := e.Run(e.config, "renew", "--all"); got.Code != 0 || !got.Says("10 of 10 certificates renewed, 10 served everywhere") {
				t.Error(got)
			}
			e.everyVersion(2)
			if left := append(e.kept("requests"), e.kept("orders")...); len(left) > 0 {
				t.Errorf("left in the store: %v", left)
			}
		})
	}
}

// A daemon goes on with what a killed command asked for.
func TestDaemonGoesOn(t *testing.T) {
	t.Parallel()
	e := newEstate(t, 6, "", "")
	e.during(2, syscall.SIGKILL, "renew", "--all", "--reason", "compromised")
	d := e.Daemon(e.config)
	d.Await("has ended what was asked for", func() error {
		if left := e.kept("requests"); len(left) > 0 {
			return fmt.Errorf("left: %v", left)
		}
		return nil
	})
	d.AwaitReady()
	d.End()
	e.everyVersion(2)
	for _, name := range e.names {
		old := e.ACME.CertificatesFor(name + ".example.com")[0]
		if reason, revoked := e.ACME.Revoked(old); !revoked || reason != 1 {
			t.Errorf("the old certificate of %s is not revoked as compromised", name)
		}
	}
}

// The rehearsal asks nothing of the CA and writes nothing, and tells what then happens:
// the CA's limits let some begin and hold others back.
func TestRehearsalIsWhatHappens(t *testing.T) {
	t.Parallel()
	e := newEstate(t, 5, `, limits: {names: "2 in 10h"}`, "")
	if got := e.Run(e.config, "renew", "c00", "c01"); got.Code != 0 {
		t.Fatal(got)
	}
	m, asked := e.Now(), len(e.ACME.Requests())
	turns := e.plan("--all")
	e.WroteNothing("by a rehearsal", m)
	for _, r := range vaultserver.KeyReads(e.VaultSince(m)) {
		if strings.HasPrefix(r.Path, "secret/data/anycert/certs/") {
			t.Errorf("a rehearsal read %s", r.Path)
		}
	}
	if n := len(e.ACME.Requests()) - asked; n != 0 {
		t.Errorf("a rehearsal made %d requests to the CA", n)
	}
	var begins, waits []string
	for _, turn := range turns {
		if turn.Limit == "" {
			begins = append(begins, turn.Certificate)
		} else {
			waits = append(waits, turn.Certificate)
		}
	}
	slices.Sort(begins)
	slices.Sort(waits)
	if !slices.Equal(begins, []string{"c02", "c03", "c04"}) || !slices.Equal(waits, []string{"c00", "c01"}) {
		t.Errorf("begin at once: %v, wait: %v", begins, waits)
	}
	if got := e.Run(e.config, "renew", "--all", "--dry-run"); got.Code != 0 || !got.Says("CERTIFICATE ISSUER URGENCY BEGINS WHY THEN") ||
		!got.Says("5 certificates: the CA's limits let 3 begin at once, and the last one") || !got.Says("nothing was asked for") {
		t.Error(got)
	}
	if got := e.Run(e.config, "renew", "--all", "--timeout", "2m"); got.Code != 1 || !got.Says("5 certificates renewed, 3 served everywhere, 2 waiting for the CA's limits") {
		t.Error(got)
	}
	for _, name := range e.names {
		want := 2 // both kinds: those that were renewed before, and those that began
		if v := e.Stored(name).Version; v != want {
			t.Errorf("%s is at version %d, want %d", name, v, want)
		}
	}
	if got := e.Run(e.config, "status"); !got.Says("waits until ") {
		t.Errorf("status does not tell what waits: %v", got)
	}
}

// The key of a certificate is known to others. A new one is put everywhere first; a place
// that does not take it holds the revocation back. When every place serves it, the old
// certificate is revoked, and no version of any path in Vault holds the old key.
func TestCompromised(t *testing.T) {
	t.Parallel()
	e := newEstate(t, 1, "", ", reuse_key: true")
	if got := e.Run(e.config, "renew", "c00"); got.Code != 0 { // a second version with the same key
		t.Fatal(got)
	}
	old := e.Stored("c00")
	key := string(old.Key)
	if held := e.holding(key); len(held) != 2 {
		t.Fatalf("before, the key is held by %v, want two versions", held)
	}
	blocked := e.File("blocked", "")
	got := e.Run(e.config, "renew", "c00", "--reason", "compromised", "--timeout", "1m")
	if got.Code != 1 || !got.Says("not seen served at stubborn") || !got.Says("every certificate with the key of version 2 is to be revoked, and the key destroyed in the store, as soon as every place serves the new one, or at ") {
		t.Error(got)
	}
	now := e.Stored("c00")
	if now.Version != 3 || string(now.Key) == key {
		t.Errorf("version %d has the old key: %v", now.Version, string(now.Key) == key)
	}
	e.Must(now.Same(e.InFiles(e.Files, "c00")))
	if _, revoked := e.ACME.Revoked(old.Leaf); revoked {
		t.Error("it was revoked while a place did not serve the new one")
	}
	m := e.Now()
	for _, version := range []string{"1", "2"} { // nobody goes back to the key meanwhile
		if got := e.Run(e.config, "rollback", "c00", "--to", version); got.Code != 1 || !got.Says("the key of version 2 is known to others, as ") || !got.Says("`anycert renew c00` goes on with its replacement") {
			t.Error(got)
		}
	}
	e.WroteNothing("by what was refused", m)
	e.Must(os.Remove(blocked))
	if got := e.Run(e.config, "renew", "c00", "--reason", "compromised"); got.Code != 0 || !got.Says("every certificate with the key of version 2 is revoked, and the key destroyed in the store") {
		t.Error(got)
	}
	e.ended(key, 3)
	if got := e.Run(e.config, "rollback", "c00", "--to", "2"); got.Code != 1 || !got.Says("version 2 was destroyed: what it held is gone") {
		t.Error(got)
	}
}

// At the deadline it is revoked although a place does not take the new one; the daemon
// does it, and says which place that is.
func TestCompromisedDeadline(t *testing.T) {
	t.Parallel()
	e := newEstate(t, 1, "", ", reuse_key: true")
	key := string(e.Stored("c00").Key)
	e.File("blocked", "")
	if got := e.Run(e.config, "renew", "c00", "--reason", "compromised", "--deadline", "15s", "--timeout", "2s"); got.Code != 1 {
		t.Error(got)
	}
	d := e.Daemon(e.config)
	d.Await("has ended what was asked for", func() error {
		if len(e.kept("requests")) > 0 {
			return errors.New("it is not done")
		}
		return nil
	})
	if said := d.Said("revoked at the deadline, although not every place was seen to serve the new certificate"); !strings.Contains(said["not_served_at"], "stubborn") {
		t.Errorf("it says %v", said)
	}
	d.End()
	e.ended(key, 2)
}

// ended expects that nothing is left of a compromised key: every certificate but the last
// is revoked, and no version of any path in Vault holds the key, or that of a journal.
func (e *estate) ended(key string, versions int) {
	e.T.Helper()
	issued := e.ACME.CertificatesFor("c00.example.com")
	if len(issued) != versions {
		e.T.Errorf("the CA issued %d certificates, want %d", len(issued), versions)
	}
	for n, certificate := range issued {
		if reason, revoked := e.ACME.Revoked(certificate); revoked != (n < len(issued)-1) || revoked && reason != 1 {
			e.T.Errorf("certificate %d of %d: revoked %v, for %d", n+1, len(issued), revoked, reason)
		}
	}
	if held := e.holding(key); len(held) > 0 {
		e.T.Errorf("the old key is held by %v", held)
	}
	if left := append(e.kept("orders"), e.kept("requests")...); len(left) > 0 {
		e.T.Errorf("left in the store: %v", left)
	}
	if held := e.holding(string(e.Stored("c00").Key)); len(held) != 1 {
		e.T.Errorf("the new key is held by %v, want its version alone", held)
	}
}

// What cannot be renewed is told before anything is asked for.
func TestRefusals(t *testing.T) {
	t.Parallel()
	e := newEstate(t, 1, "", "")
	config := e.File("others.yaml", strings.Replace(e.read(e.config), "certificates:\n", `certificates:
  - {name: bought, domains: [bought.example.com]}
  - {name: frozen, domains: [frozen.example.com], issuer: pebble, suspend: true}
`, 1))
	m := e.Now()
	for args, says := range map[string]string{
		"":                                       "name the certificates to be renewed, or use --all",
		"c00 --all":                              "not both",
		"bought":                                 "certificate bought has no issuer: someone else keeps it",
		"c00 frozen":                             "certificate frozen is suspended: take `suspend: true` from it",
		"c00 typo":                               `there is no certificate "typo" in the configuration`,
		"c00 --reason boredom":                   "use compromised or superseded",
		"c00 --issuer pebble":                    "--issuer narrows --all",
		"--all --issuer former":                  `there is no issuer "former" in the configuration; there is: pebble`,
		"c00 --since yesterday":                  "write it like 2026-01-02T15:04:05Z",
		"c00 --deadline 1h":                      "say why with --reason, or leave it out",
		"c00 --timeout -1s":                      "is no time to work in",
		"c00 --since 2999-01-01T00:00:00Z":       "has not come yet",
		"c00 --reason superseded --deadline -1s": "lies in the past",
		"c00 --output yaml --all":                "use text or json",
		"c00 --reason=superseded x":              `there is no certificate "x"`,
	} {
		if got := e.Run(config, append([]string{"renew"}, strings.Fields(args)...)...); got.Code != 1 || !got.Says(says) {
			t.Errorf("want %q: %v", says, got)
		}
	}
	e.WroteNothing("by what was refused", m)
	if len(e.kept("requests")) > 0 {
		t.Error("something was asked for")
	}
}

func (e *estate) read(path string) string {
	e.T.Helper()
	text, err := os.ReadFile(path)
	e.Must(err)
	return string(text)
}

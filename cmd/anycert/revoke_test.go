package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
)

// What a person has revoked is told by history, and one that is the current version is
// said to be so still.
func TestRevokeIsNoted(t *testing.T) {
	dir, dns := t.TempDir(), testenv.DNS(t, "example.com")
	ca := testenv.ACME(t, dns.Addr, acmeserver.Options{})
	t.Setenv("TSIG_SECRET", dns.Secret)
	path := filepath.Join(dir, "config.yaml")
	for file, text := range map[string]string{filepath.Join(dir, "ca.pem"): string(ca.CAPEM), path: fmt.Sprintf(`version: 1
owner: example-dev
store: {local: {path: %[1]s/anycert.db}}
issuers:
  - name: pebble
    directory: %[2]s
    ca_bundle: %[1]s/ca.pem
    dns:
      provider: rfc2136
      settings: {DNSUPDATE_NAMESERVER: "%[3]s", DNSUPDATE_TSIG_KEY: acme., DNSUPDATE_TSIG_ALGORITHM: hmac-sha256., DNSUPDATE_TSIG_SECRET: {env: TSIG_SECRET}}
      resolvers: ["%[3]s"]
      propagation: recursive
certificates:
  - {name: example, domains: [example.com], issuer: pebble}
`, dir, ca.URL, dns.Addr)} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	anycert := func(args ...string) string {
		t.Helper()
		var said bytes.Buffer
		verb := (&app{out: &said, errOut: &said}).command()
		verb.SetArgs(append(args, "--config", path, "--log-level", "error"))
		if err := verb.ExecuteContext(t.Context()); err != nil {
			t.Fatalf("anycert %s: %v\n%s", strings.Join(args, " "), err, said.String())
		}
		return said.String()
	}
	anycert("sync")
	said := anycert("revoke", "example", "--reason", "ceased", "--yes", "--current")
	if !strings.Contains(said, "\nrevoked: ") || !strings.HasSuffix(said, "\nit is the current version still: `anycert renew example` replaces it\n") {
		t.Errorf("revoke says:\n%s", said)
	}
	if reason, revoked := ca.Revoked(ca.Certificates()[0]); !revoked || reason != 5 {
		t.Errorf("at the CA it is revoked: %v, with reason %d", revoked, reason)
	}
	if said := anycert("history", "example"); !strings.Contains(said, "\n1 (current, revoked) ") || !strings.Contains(said, "ceased, asked for by "+whoami()+" at 20") {
		t.Errorf("history says:\n%s", said)
	}
	if said := anycert("revoke", "example", "--reason", "ceased"); !strings.Contains(said, "\n  revoked already (ceased, asked for by "+whoami()+" at 20") {
		t.Errorf("revoke says the second time:\n%s", said)
	}
	anycert("renew", "example")
	if said := anycert("revoke", "example", "--version", "1", "--reason", "superseded", "--yes"); strings.Contains(said, "still") {
		t.Errorf("revoke says of an older version:\n%s", said)
	}
	if said := anycert("history", "example", "-o", "json"); !strings.Contains(said, `"reason": "superseded"`) {
		t.Errorf("history says:\n%s", said)
	}
}

package nginxserver_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/nginxserver"
)

func TestServesAndReloads(t *testing.T) {
	dir := t.TempDir()
	first := install(t, dir)
	server := testenv.Nginx(t, dir)
	wantChain(t, server, first)

	second := install(t, dir)
	wantChain(t, server, first) // not before it is told
	if err := server.Reload(); err != nil {
		t.Fatal(err)
	}
	if err := server.WaitServing(t.Context(), second.Leaf()); err != nil {
		t.Fatal(err)
	}
	wantChain(t, server, second)

	third := install(t, dir)
	command := server.ReloadCommand()
	if out, err := exec.CommandContext(t.Context(), command[0], command[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", command, err, out)
	}
	if err := server.WaitServing(t.Context(), third.Leaf()); err != nil {
		t.Fatal(err)
	}
}

// install puts a new certificate into dir.
func install(t *testing.T, dir string) certs.Pair {
	t.Helper()
	pair := testenv.Issue(t, certs.Options{Intermediate: true})
	for name, text := range map[string][]byte{"fullchain.pem": pair.ChainPEM, "privkey.pem": pair.KeyPEM} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return pair
}

func wantChain(t *testing.T, server *nginxserver.Server, want certs.Pair) {
	t.Helper()
	chain, err := nginxserver.Handshake(t.Context(), server.Addr, "example.com")
	if err != nil {
		t.Fatal(err)
	}
	if len(chain) != 2 || !chain[0].Equal(want.Leaf()) {
		t.Errorf("nginx serves %d certificates with the leaf %x, want 2 and %x",
			len(chain), chain[0].SerialNumber, want.Leaf().SerialNumber)
	}
}

package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/nginxserver"
	"github.com/anycert/anycert/internal/testenv/process"
	"github.com/anycert/anycert/internal/testenv/vaultserver"
)

// readOnly is what docs/vault.md gives a follower.
const readOnly = `
path "secret/metadata/anycert/certs/*" { capabilities = ["read", "list"] }
path "secret/data/anycert/certs/*"     { capabilities = ["read"] }
`

// The example follower, as the user of its unit, who has no capability and may write
// to one directory: what is new in Vault is served by nginx, which polkit lets him
// reload and nothing else. A reload that fails is a promise that is not kept.
func TestFollowerReloadsNginx(t *testing.T) {
	vault, a := testenv.Vault(t), startAuthority(t)
	manager := startManager(t, a)
	dir := shared(t)
	certificates := filepath.Join(dir, "etc-ssl-anycert")
	must(t, errors.Join(os.Mkdir(certificates, 0o755), os.Chown(certificates, a.uid, a.uid)))
	config := write(t, filepath.Join(dir, "config.yaml"), exampleFor(t, vault, a, dir, certificates))
	must(t, os.Chmod(config, 0o644))
	put := func() certs.Pair {
		t.Helper()
		pair := testenv.Issue(t, certs.Options{Names: []string{"example.com", "*.example.com"}})
		_, err := vault.Client().KVv2("secret").Put(t.Context(), "anycert/certs/example",
			map[string]any{"tls.crt": string(pair.ChainPEM), "tls.key": string(pair.KeyPEM)})
		must(t, err)
		return pair
	}

	put()
	follower := startConfined(t, a, manager.command(t), certificates, dir, "run", "--config", config)
	waitForLog(t, follower, "nginx.service is not active, cannot reload")
	hasNothing(t, follower, a.uid)
	nginx := testenv.Nginx(t, filepath.Join(certificates, "example"))
	manager.starts(nginx)
	serves(t, follower, nginx, put())
	serves(t, follower, nginx, put())
}

// exampleFor is the example with this test's Vault, directory, and a pass each five
// seconds.
func exampleFor(t *testing.T, vault *vaultserver.Server, a *authority, dir, certificates string) string {
	t.Helper()
	must(t, vault.WritePolicy(t.Context(), "follower", readOnly))
	role, err := vault.EnableAppRole(t.Context(), "follower", "1h", "follower")
	must(t, err)
	secret := write(t, filepath.Join(dir, "vault-secret-id"), role.SecretID)
	must(t, errors.Join(os.Chmod(secret, 0o400), os.Chown(secret, a.uid, a.uid)))
	text := read(t, "follower.yaml")
	for old, with := range map[string]string{
		"https://vault.example.com:8200":                            vault.Addr,
		"7d9e4a2b-0000-0000-0000-000000000000":                      role.RoleID,
		"/run/credentials/anycert-follower.service/vault-secret-id": secret,
		"dir: /etc/ssl/anycert":                                     "dir: " + certificates,
		"127.0.0.1:8402":                                            "127.0.0.1:0",
	} {
		text = replace(t, text, old, with)
	}
	return text + "reconcile: {schedule: \"@every 5s\"}\n"
}

// startConfined runs anycert as the unit's settings do, as far as that goes without
// systemd: User=, ProtectSystem=strict with ReadWritePaths=, CapabilityBoundingSet=,
// NoNewPrivileges=. search is where systemctl is found.
func startConfined(t *testing.T, a *authority, search, writable, dir string, args ...string) *process.Process {
	t.Helper()
	const inside = `writable=$1 root=$2 user=$3; shift 3
mount --make-rprivate /
mount --rbind / "$root"
mount -o remount,bind,ro "$root"
mount --bind "$writable" "$root$writable"
exec chroot "$root" setpriv --reuid="$user" --regid="$user" --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs -- "$@"`
	root := filepath.Join(dir, "root")
	must(t, os.Mkdir(root, 0o755))
	return child(t, process.Spec{
		Name: "follower", Path: "unshare", Dir: t.TempDir(),
		Args: append([]string{"--mount", "sh", "-euc", inside, "sh", writable, root, fmt.Sprint(a.uid), binary}, args...),
		Env:  []string{"PATH=" + search + ":" + os.Getenv("PATH")},
	})
}

// hasNothing looks at what the process may do.
func hasNothing(t *testing.T, p *process.Process, uid int) {
	t.Helper()
	status := map[string]string{}
	for line := range strings.Lines(read(t, fmt.Sprintf("/proc/%d/status", p.PID()))) {
		name, value, _ := strings.Cut(line, ":")
		status[name] = strings.Join(strings.Fields(value), " ")
	}
	none, user := strings.Repeat("0", 16), fmt.Sprintf("%d %[1]d %[1]d %[1]d", uid)
	for name, want := range map[string]string{
		"Uid": user, "Gid": user, "Groups": "", "NoNewPrivs": "1",
		"CapInh": none, "CapPrm": none, "CapEff": none, "CapBnd": none, "CapAmb": none,
	} {
		if status[name] != want {
			t.Errorf("%s of the follower is %q, want %q", name, status[name], want)
		}
	}
}

// serves waits until nginx serves a pair.
func serves(t *testing.T, follower *process.Process, nginx *nginxserver.Server, pair certs.Pair) {
	t.Helper()
	must(t, follower.WaitUntil(t.Context(), "is followed by nginx", func(ctx context.Context) error {
		chain, err := nginxserver.Handshake(ctx, nginx.Addr, "example.com")
		if err == nil && !chain[0].Equal(pair.Leaf()) {
			err = fmt.Errorf("it serves %x, not %x", chain[0].SerialNumber, pair.Leaf().SerialNumber)
		}
		return err
	}))
}

func waitForLog(t *testing.T, p *process.Process, text string) {
	t.Helper()
	must(t, p.WaitUntil(t.Context(), "says "+text, func(context.Context) error {
		log, err := p.Log()
		if err == nil && !strings.Contains(string(log), text) {
			err = errors.New("it has not said so")
		}
		return err
	}))
}

// shared is a folder that other users can reach.
func shared(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, errors.Join(os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755)))
	return dir
}

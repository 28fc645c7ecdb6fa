package image

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/nginxserver"
	"github.com/anycert/anycert/internal/testenv/process"
	"github.com/anycert/anycert/sinks/fly/flytest"
)

// number is the user that the image names.
const number = 65532

// Cloud Run's contract, and stricter (https://cloud.google.com/run/docs/container-contract):
// it listens on every address at PORT, answers its probe, does its work, ends within
// ten seconds of SIGTERM, and needs no writable file, no home, no other variable, no
// capability.
func TestContract(t *testing.T) {
	vault := testenv.Vault(t)
	pair := testenv.Issue(t, certs.Options{Names: []string{"example.com"}})
	_, err := vault.Client().KVv2("secret").Put(t.Context(), "anycert/certs/example",
		map[string]any{"tls.crt": string(pair.ChainPEM), "tls.key": string(pair.KeyPEM)})
	must(t, err)
	app, err := flytest.Start(flytest.Options{Apps: map[string]string{"web": "token-of-the-app"}})
	must(t, err)
	t.Cleanup(func() { _ = app.Close() })
	app.ConfirmOwnership("web", "example.com")

	place(t, "secrets/vault", vault.RootToken)
	place(t, "secrets/fly", "token-of-the-app")
	place(t, "etc/anycert/config.yaml", fmt.Sprintf(`version: 1
owner: contract
store: {vault: {address: %q, auth: {method: token, token: {file: /secrets/vault}}}}
certificates: [{name: example, domains: [example.com]}]
sinks:
  - {name: app, type: fly, certificates: [example], config: {app: web, hostnames: [example.com], token: {file: /secrets/fly}, endpoint: %q}}
`, vault.Addr, app.URL))
	before := tree(t, built.root)
	c := start(t)

	c.answers("/health/live")
	c.listensEverywhere()
	c.isNobody()
	c.answers("/health/ready")
	chain, err := nginxserver.Handshake(t.Context(), app.Edge, "example.com")
	must(t, err)
	if !chain[0].Equal(pair.Leaf()) {
		t.Error("ready, but the app does not serve what is in Vault")
	}
	c.endsAtSIGTERM()
	if diff := cmp.Diff(before, tree(t, built.root)); diff != "" {
		t.Errorf("files (-before +after):\n%s", diff)
	}
}

// container is a running image.
type container struct {
	*process.Process
	t    *testing.T
	port int
}

// start runs what the image says, as the user that it names, with a file system that
// nobody can write to and nothing mounted into it.
func start(t *testing.T) *container {
	t.Helper()
	const inside = `root=$1 user=$2 port=$3; shift 3
mount --make-rprivate /
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
exec env -i PORT="$port" K_SERVICE=anycert K_REVISION=anycert-00001 K_CONFIGURATION=anycert \
	"$(command -v chroot)" --userspec="$user" --groups= "$root" "$@"`
	port, err := process.FreePort()
	must(t, err)
	unshare, err := exec.LookPath("unshare")
	must(t, err)
	args := []string{"--mount", "sh", "-euc", inside, "sh", built.root, built.config.User, fmt.Sprint(port)}
	args = append(append(args, built.config.Entrypoint...), built.config.Cmd...)
	child, err := process.Start(process.Spec{Name: "container", Path: unshare, Args: args, Dir: t.TempDir()})
	must(t, err)
	t.Cleanup(child.Kill)
	return &container{child, t, port}
}

func (c *container) answers(path string) {
	c.t.Helper()
	must(c.t, c.WaitUntil(c.t.Context(), "answers "+path, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", c.port, path), nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("it answers %s", response.Status)
		}
		return nil
	}))
}

// listensEverywhere looks for the socket among the kernel's: one that listens on all
// addresses of IPv6 takes those of IPv4 too, which the probe over 127.0.0.1 showed.
func (c *container) listensEverywhere() {
	c.t.Helper()
	const listening = "0A"
	var found []string
	for _, table := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", c.PID(), table))
		must(c.t, err)
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if address, ok := strings.CutSuffix(fields[1], fmt.Sprintf(":%04X", c.port)); ok && fields[3] == listening {
				found = append(found, address)
			}
		}
	}
	if len(found) != 1 || strings.Trim(found[0], "0") != "" {
		c.t.Errorf("at port %d it listens on %q, want every address", c.port, found)
	}
}

// isNobody looks at what the process may do.
func (c *container) isNobody() {
	c.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.PID()))
	must(c.t, err)
	status := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		status[name] = strings.Join(strings.Fields(value), " ")
	}
	none, user := strings.Repeat("0", 16), fmt.Sprintf("%d %[1]d %[1]d %[1]d", number)
	for name, want := range map[string]string{"Uid": user, "Gid": user, "CapPrm": none, "CapEff": none} {
		if status[name] != want {
			c.t.Errorf("%s is %q, want %q", name, status[name], want)
		}
	}
}

func (c *container) endsAtSIGTERM() {
	c.t.Helper()
	must(c.t, c.Signal(syscall.SIGTERM))
	select {
	case <-c.Done():
	case <-time.After(10 * time.Second):
		c.t.Fatal("ten seconds after SIGTERM it still runs")
	}
	if code := c.ExitCode(); code != 0 {
		log, err := c.Log()
		c.t.Errorf("after SIGTERM it ended with %d (%v)\n%s", code, err, log)
	}
}

// place puts a file into the unpacked image that its user alone can read, as a mount
// would.
func place(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(built.root, name)
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), 0o400))
	must(t, os.Chown(path, number, number))
	t.Cleanup(func() { _ = os.RemoveAll(filepath.Dir(path)) })
}

// tree is every file below root with its mode, size and time.
func tree(t *testing.T, root string) (found []string) {
	t.Helper()
	must(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			found = append(found, fmt.Sprint(strings.TrimPrefix(path, root), " ", info.Mode(), " ", info.Size(), " ", info.ModTime()))
		}
		return err
	}))
	return found
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

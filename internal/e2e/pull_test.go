package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/world"
)

// devPolicy is what a developer may read: the names of all, and what begins with dev.
const devPolicy = `
path "secret/metadata/anycert/certs"       { capabilities = ["list"] }
path "secret/metadata/anycert/certs/dev-*" { capabilities = ["read"] }
path "secret/data/anycert/certs/dev-*"     { capabilities = ["read"] }
`

// laptop is a machine without a configuration: VAULT_ADDR and VAULT_TOKEN are all
// that it has.
type laptop struct {
	*scene
	home, token string
}

func (l laptop) in(t *testing.T) laptop {
	l.scene = l.scene.in(t)
	l.home = t.TempDir()
	return l
}

func (l laptop) pull(args ...string) world.Result {
	l.T.Helper()
	cmd := l.Program(l.Binary, append([]string{"pull"}, args...)...)
	cmd.Dir = l.home
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + l.home, "VAULT_ADDR=" + l.Vault.Addr, "VAULT_TOKEN=" + l.token}
	return l.Do(cmd)
}

// wants fails unless a pull ended with code and said each of texts, in which runs of
// blanks count as one.
func (l laptop) wants(got world.Result, code int, texts ...string) {
	l.T.Helper()
	for _, text := range texts {
		if got.Code != code || !got.Says(text) {
			l.T.Errorf("want exit code %d and %q: %v", code, text, got)
		}
	}
}

func TestPull(t *testing.T) {
	t.Parallel()
	w := newSmallScene(t)
	dev := testenv.IssueFrom(t, w.Strangers, certs.Options{Names: []string{"dev.example.com"}, Intermediate: true})
	shop := testenv.IssueFrom(t, w.Strangers, certs.Options{Names: []string{"shop.example.com"}})
	w.Put("dev-site", dev)
	w.Put("shop", shop)
	token := func(name, policy string) string {
		w.Must(w.Vault.WritePolicy(t.Context(), name, policy))
		token, err := w.Vault.Token(t.Context(), name)
		w.Must(err)
		return token
	}
	developer := laptop{scene: w, token: token("developer", devPolicy)}
	operator := laptop{scene: w, token: token("operator", w.FollowerPolicy())}

	t.Run("what policy allows", func(t *testing.T) { developer.in(t).pullsWhatPolicyAllows(dev) })
	t.Run("by name", func(t *testing.T) {
		l := operator.in(t) // who may not list
		l.wants(l.pull("--dir", "certs"), 1, "permission denied", "name the certificates to pull")
		l.wants(l.pull("--dir", "certs", "shop"), 0, "shop written "+l.home+"/certs/shop version 1, expires ")
		l.holds("shop", shop)
	})
	t.Run("a git work tree", func(t *testing.T) { developer.in(t).refusesGit(dev) })
	t.Run("files of others", func(t *testing.T) { developer.in(t).refusesFilesOfOthers() })
	t.Run("never a sink", func(t *testing.T) { developer.in(t).touchesNoSink() })
}

// holds expects files in the layout of the file sink.
func (l laptop) holds(certificate string, pair certs.Pair) {
	l.T.Helper()
	for name, want := range map[string][]byte{"fullchain.pem": pair.ChainPEM, "privkey.pem": pair.KeyPEM} {
		path := filepath.Join(l.home, "certs", certificate, name)
		got, err := os.ReadFile(path)
		if err != nil || string(got) != string(want) {
			l.T.Errorf("%s is not what Vault holds (%v)", path, err)
		}
		if info, err := os.Stat(path); err == nil && info.Mode().Perm() != 0o600 {
			l.T.Errorf("%s has mode %s", path, info.Mode())
		}
	}
}

// hasNothing expects that nothing was written for a certificate.
func (l laptop) hasNothing(path ...string) {
	l.T.Helper()
	at := filepath.Join(append([]string{l.home}, path...)...)
	if _, err := os.Lstat(at); !errors.Is(err, os.ErrNotExist) {
		l.T.Errorf("%s is there (%v)", at, err)
	}
}

func (l laptop) pullsWhatPolicyAllows(dev certs.Pair) {
	l.T.Helper()
	l.wants(l.pull("--dir", "certs"), 0, "dev-site written "+l.home+"/certs/dev-site version 1, expires ", "shop denied - ", "the token's policies lack read on secret/metadata/anycert/certs/shop")
	l.holds("dev-site", dev)
	l.hasNothing("certs", "shop")
	l.wants(l.pull("--dir", "certs"), 0, "dev-site unchanged", "shop denied")
	// Asked for by name, it is a failure. Production stays out of reach.
	l.wants(l.pull("--dir", "certs", "shop"), 1, "shop denied")
	l.hasNothing("certs", "shop")
}

func (l laptop) refusesGit(dev certs.Pair) {
	l.T.Helper()
	if text, err := exec.Command("git", "-C", l.home, "init", "--quiet").CombinedOutput(); err != nil {
		l.T.Fatalf("git init: %v: %s", err, text)
	}
	l.wants(l.pull("--dir", "certs"), 1, "inside the git work tree "+l.home+", which does not ignore it", "add /certs/ to "+l.home+"/.gitignore")
	l.hasNothing("certs")
	l.Must(os.WriteFile(filepath.Join(l.home, ".gitignore"), []byte("/certs/\n"), 0o600))
	l.wants(l.pull("--dir", "certs"), 0, "dev-site written")
	l.holds("dev-site", dev)
}

func (l laptop) refusesFilesOfOthers() {
	l.T.Helper()
	theirs := filepath.Join(l.home, "certs", "dev-site")
	l.Must(os.MkdirAll(theirs, 0o700))
	l.Must(os.WriteFile(filepath.Join(theirs, "privkey.pem"), []byte("theirs"), 0o600))
	l.wants(l.pull("--dir", "certs"), 1, "dev-site refused - it is a directory that anycert did not make")
	entries, err := os.ReadDir(theirs)
	text, readErr := os.ReadFile(filepath.Join(theirs, "privkey.pem"))
	if err != nil || readErr != nil || len(entries) != 1 || string(text) != "theirs" {
		l.T.Errorf("the files of others were changed: %v, %q (%v, %v)", entries, text, err, readErr)
	}
}

// touchesNoSink pulls under the hub's configuration, of which the store alone is
// used.
func (l laptop) touchesNoSink() {
	l.T.Helper()
	reloaded := filepath.Join(l.home, "reloaded")
	settings := l.settings
	settings.Reload = []string{"touch", reloaded}
	config := l.Config("pull.yaml", configuration, settings)
	for certificate, names := range domains {
		l.Put(certificate, testenv.IssueFrom(l.T, l.Strangers, certs.Options{Names: names}))
	}
	fastly, fly := len(l.Fastly.Requests()), l.Fly.Requests("")
	got := l.Run(config, "pull", "--dir", filepath.Join(l.home, "certs"))
	l.wants(got, 0, "api written", "example written")
	if len(l.Fastly.Requests()) != fastly || l.Fly.Requests("") != fly {
		l.T.Error("pull asked a provider")
	}
	if files := l.ListFiles(); len(files) > 0 {
		l.T.Errorf("pull wrote into the file sink's directory: %v", files)
	}
	l.hasNothing("reloaded")
}

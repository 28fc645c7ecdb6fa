// Package laptop tests what a person does at her own machine: pull from an environment,
// look whether it is behind, render files, and compare environments. And what people in a
// cluster see of anycert there: Events. All with the shipped program and the real Vault.
package laptop

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/leak"
	"github.com/anycert/anycert/internal/testenv/world"
)

func TestMain(m *testing.M) { world.Main(m) }

// canary is a password in Vault that is to be seen in no output.
const canary = "cAnArY9f3b7e21d4"

// policy is what a person at a laptop may read.
const policy = `
path "secret/metadata/anycert/certs"    { capabilities = ["list"] }
path "secret/metadata/anycert/certs/*"  { capabilities = ["read"] }
path "secret/data/anycert/certs/*"      { capabilities = ["read"] }
path "secret/metadata/staging/certs"    { capabilities = ["list"] }
path "secret/metadata/staging/certs/*"  { capabilities = ["read"] }
path "secret/data/site/*"               { capabilities = ["read"] }
`

// laptop is a machine with a home, a token and a file of environments.
type laptop struct {
	*world.World
	home, token string
	keys        *leak.Search
	said        *strings.Builder // all that was printed
}

func newLaptop(t *testing.T) laptop {
	t.Helper()
	w := world.New(t, world.Options{})
	w.Must(w.Vault.WritePolicy(t.Context(), "laptop", policy))
	token, err := w.Vault.Token(t.Context(), "laptop")
	w.Must(err)
	l := laptop{World: w, home: t.TempDir(), token: token, said: &strings.Builder{}}
	pair := testenv.IssueFrom(t, w.Strangers, certs.Options{Names: []string{"example.com"}, Intermediate: true})
	l.keys, err = leak.New(leak.Secret{Name: "the key", PEM: pair.KeyPEM})
	w.Must(err)
	l.put("anycert", "example", pair)
	_, err = w.Vault.Client().KVv2("secret").Put(t.Context(), "site/db", map[string]any{"password": canary})
	w.Must(err)
	l.write(".config/anycert/environments.yaml", `version: 1
environments:
  - name: prod
    store: {vault: {address: "`+w.Vault.Addr+`", auth: {method: token}}}
    dir: ~/certs
  - name: staging
    store: {vault: {address: "`+w.Vault.Addr+`", prefix: staging, auth: {method: token}}}
`)
	t.Cleanup(func() { // nothing that was printed held the password, a key or a token
		if strings.Contains(l.said.String(), canary) || strings.Contains(l.said.String(), l.token) || len(l.keys.Bytes("output", []byte(l.said.String()))) > 0 {
			t.Errorf("a secret was printed:\n%s", l.said)
		}
	})
	return l
}

// write writes a file below the home, which nobody else may write.
func (l laptop) write(name, text string) (path string) {
	l.T.Helper()
	path = filepath.Join(l.home, name)
	l.Must(os.MkdirAll(filepath.Dir(path), 0o700))
	l.Must(os.WriteFile(path, []byte(text), 0o600))
	return path
}

func (l laptop) read(name string) string {
	l.T.Helper()
	text, err := os.ReadFile(filepath.Join(l.home, name))
	l.Must(err)
	return string(text)
}

// run runs anycert in the home.
func (l laptop) run(args ...string) world.Result {
	l.T.Helper()
	cmd := l.Program(l.Binary, args...)
	got := l.Do(l.atHome(cmd))
	l.said.WriteString(got.Stdout + got.Stderr)
	return got
}

func (l laptop) atHome(cmd *exec.Cmd) *exec.Cmd {
	cmd.Dir = l.home
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + l.home, "VAULT_TOKEN=" + l.token}
	return cmd
}

// wants fails unless a verb ended with code and said each of texts, in which runs of
// blanks count as one.
func (l laptop) wants(got world.Result, code int, texts ...string) {
	l.T.Helper()
	if got.Code != code {
		l.T.Errorf("want exit code %d: %v", code, got)
	}
	for _, text := range texts {
		if !got.Says(text) {
			l.T.Errorf("want %q: %v", text, got)
		}
	}
}

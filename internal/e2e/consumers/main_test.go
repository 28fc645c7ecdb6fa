// Package consumers tries the snippets of docs/consumers.md: what reads the
// certificates that anycert keeps finds them where the page says, whole, and new ones
// as soon as it says.
package consumers

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/world"
)

func TestMain(m *testing.M) { world.Main(m) }

// snippet is the block of the page whose first line is a comment with that name.
func snippet(w *world.World, name string) string {
	w.T.Helper()
	page, err := os.ReadFile(filepath.Join(w.Checkout, "docs", "consumers.md"))
	w.Must(err)
	for _, comment := range []string{"# ", "// "} {
		if _, rest, ok := strings.Cut(string(page), "\n"+comment+name+"\n"); ok {
			block, _, _ := strings.Cut(rest, "\n```")
			return block + "\n"
		}
	}
	w.T.Fatalf("the page has no %s", name)
	return ""
}

// machine is one with a directory of certificates, and a server that reads it.
type machine struct {
	*world.World
	config string
}

// newMachine has a first certificate in place. The snippets' /etc/ssl/anycert is its
// folder Files.
func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{World: world.New(t, world.Options{})}
	m.reloadBy("true")
	m.renew()
	return m
}

// reloadBy sets the sink's command.
func (m *machine) reloadBy(command ...string) {
	m.T.Helper()
	m.config = m.Config("machine.yaml", `version: 1
owner: machine-1
store: {{.World.Store .World.Root}}
certificates:
  - {name: example, domains: [example.com, "*.example.com"]}
sinks:
  - {name: files, type: file, certificates: ["*"], config: {dir: {{.World.Files}}, reload: {{json .Reload}}}}
`, map[string]any{"World": m.World, "Reload": command})
}

// renew puts another certificate into Vault and lets anycert bring it.
func (m *machine) renew() world.Stored {
	m.T.Helper()
	m.Put("example", testenv.IssueFrom(m.T, m.Strangers, certs.Options{Names: []string{"example.com", "*.example.com"}, Intermediate: true}))
	m.Kept(m.Report(0, m.config, "sync"))
	return m.Stored("example")
}

// here puts the machine's places into a snippet, which listens on port 443 of every
// address: there on addr.
func (m *machine) here(text, listen, addr string) string {
	m.T.Helper()
	if !strings.Contains(text, listen) || !strings.Contains(text, "/etc/ssl/anycert") {
		m.T.Fatalf("the snippet does not listen as %q, or reads another folder:\n%s", listen, text)
	}
	ours := strings.NewReplacer(":443", addr, "443", addr).Replace(listen)
	return strings.ReplaceAll(strings.ReplaceAll(text, listen, ours), "/etc/ssl/anycert", m.Files)
}

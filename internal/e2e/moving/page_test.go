package moving

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/anycert/anycert/internal/testenv/parts"
	"github.com/anycert/anycert/internal/testenv/world"
)

// page is the guide, by the titles of its sections.
type page map[string]string

var title = regexp.MustCompile(`(?m)^##+ (.*)\n`)

func readPage(w *world.World) page {
	w.T.Helper()
	text, err := os.ReadFile(filepath.Join(w.Checkout, "docs", "migrate.md"))
	w.Must(err)
	p := page{}
	at := title.FindAllSubmatchIndex(text, -1)
	for i, match := range at {
		end := len(text)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		p[string(text[match[2]:match[3]])] = string(text[match[1]:end])
	}
	return p
}

var fence = regexp.MustCompile("(?ms)^```(.*?)\n(.*?)^```$")

// blocks are the fenced blocks of a section that have a word behind their fence.
func (p page) blocks(t *testing.T, section, word string) (texts []string) {
	t.Helper()
	for _, match := range fence.FindAllStringSubmatch(p[section], -1) {
		if match[1] == word {
			texts = append(texts, match[2])
		}
	}
	if len(texts) == 0 {
		t.Fatalf("the section %q has no block of %q", section, word)
	}
	return texts
}

// shell is a person's: it keeps functions from one block to the next.
type shell struct {
	w       *world.World
	replace *strings.Replacer // what the page takes from the internet
	env     []string
	ran     map[string]bool // by text of the block
}

func newShell(w *world.World, replace ...string) *shell {
	w.T.Helper()
	path := []string{filepath.Dir(w.Binary)}
	for _, part := range []parts.Part{parts.Vault, parts.Kubectl} {
		binary, err := parts.Find(part)
		w.Must(err)
		path = append(path, filepath.Dir(binary))
	}
	return &shell{w: w, replace: strings.NewReplacer(replace...), ran: map[string]bool{}, env: []string{
		"PATH=" + strings.Join(append(path, "/usr/bin", "/bin"), ":"), "HOME=" + w.Dir, "TMPDIR=" + w.Dir, "LC_ALL=C",
		"KUBECONFIG=" + w.Path("kubeconfig"), "VAULT_ADDR=" + w.Vault.Addr, "VAULT_TOKEN=" + w.Vault.RootToken}}
}

// run runs blocks, each of which must end well, and returns what they printed.
func (s *shell) run(blocks ...string) (printed string) {
	s.w.T.Helper()
	functions := s.w.Path("functions.sh")
	for _, block := range blocks {
		s.ran[block] = true
		script := s.w.File("block.sh", `trap 'echo "failed: $BASH_COMMAND" >&2' ERR
set -euo pipefail
if [ -e `+functions+` ]; then . `+functions+`; fi
`+s.replace.Replace(block)+`
declare -f >`+functions+"\n")
		cmd := exec.CommandContext(s.w.T.Context(), "bash", script)
		cmd.Dir, cmd.Env = s.w.Dir, s.env
		got := s.w.Do(cmd)
		if got.Code != 0 {
			s.w.T.Fatalf("%v\nthe block:\n%s", got, block)
		}
		printed += got.Stdout + got.Stderr
	}
	return printed
}

// shows expects that each line of the page's examples was printed, where … is anything.
func shows(t *testing.T, printed string, examples ...string) {
	t.Helper()
	var lines []string
	for line := range strings.Lines(printed) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	for _, example := range examples {
		for line := range strings.Lines(example) {
			words := regexp.QuoteMeta(strings.Join(strings.Fields(line), " "))
			wanted := regexp.MustCompile(strings.ReplaceAll(words, " … ", ".*"))
			found := false
			for _, line := range lines {
				found = found || wanted.MatchString(line)
			}
			if !found {
				t.Errorf("the page shows %q, which was not printed:\n%s", strings.TrimSpace(line), printed)
			}
		}
	}
}

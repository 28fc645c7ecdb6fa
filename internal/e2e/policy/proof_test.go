// Package policy proves what `anycert policy` prints: with exactly these rights
// everything works, and with any one of them taken away something fails that can be
// named, and says which right is missing. The real Vault and kube-apiserver judge; what
// is run is the shipped binary. What was seen is kept in docs/policy-proof.md:
// `go test ./internal/e2e/policy -update` writes it anew.
package policy

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert/internal/testenv/world"
)

var update = flag.Bool("update", false, "write docs/policy-proof.md anew")

func TestMain(m *testing.M) {
	flag.Parse()
	world.Main(m)
}

// row is a line of the proof: what was taken away, what failed, and how it said so.
type row struct{ taken, failed, said string }

// page serializes the tests that write one page.
var page sync.Mutex

// proof compares a section of docs/policy-proof.md with rows, or writes it.
func proof(w *world.World, title, head string, rows []row) {
	w.T.Helper()
	if w.T.Failed() {
		return // its rows are not what they should be
	}
	page.Lock()
	defer page.Unlock()
	path := filepath.Join(w.Checkout, "docs", "policy-proof.md")
	text, err := os.ReadFile(path)
	w.Must(err)
	var section strings.Builder
	fmt.Fprintf(&section, "## %s\n\n%s\n\n| taken away | fails | says |\n|---|---|---|\n", title, head)
	for _, r := range rows {
		fmt.Fprintf(&section, "| %s | %s | %s |\n", cell(r.taken), cell(r.failed), cell(r.said))
	}
	before, old, after := cut(string(text), "## "+title+"\n")
	if *update {
		w.Must(os.WriteFile(path, []byte(before+section.String()+after), 0o644))
		return
	}
	if diff := cmp.Diff(strings.TrimSpace(old), strings.TrimSpace(section.String())); diff != "" {
		w.T.Errorf("docs/policy-proof.md says otherwise; if what is seen now is right, go test ./internal/e2e/policy -update (-page +seen):\n%s", diff)
	}
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// cut finds the section that begins with a heading, up to the next.
func cut(text, heading string) (before, section, after string) {
	at := strings.Index(text, heading)
	if at < 0 {
		return strings.TrimRight(text, "\n") + "\n\n", "", ""
	}
	end := strings.Index(text[at+len(heading):], "\n## ")
	if end < 0 {
		return text[:at], text[at:], ""
	}
	end += at + len(heading) + 1
	return text[:at], text[at:end], "\n" + text[end:]
}

var (
	blanks  = regexp.MustCompile(`\s+`)
	servers = regexp.MustCompile(`(https?://)?127\.0\.0\.1:\d+`)
	stamps  = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:]+Z`)
)

// normal is what was said, without what differs from run to run.
func normal(w *world.World, said string) string {
	said = strings.ReplaceAll(said, w.Dir+"/", "")
	said = servers.ReplaceAllString(said, "SERVER")
	said = stamps.ReplaceAllString(said, "TIME")
	return strings.TrimSpace(blanks.ReplaceAllString(said, " "))
}

// sentence is the part of a text that ends with words and begins after the last of
// some beginnings before them; ok is false when the words are not there.
func sentence(text, words string, beginnings ...string) (string, bool) {
	at := strings.Index(text, words)
	if at < 0 {
		return "", false
	}
	from := strings.LastIndexAny(text[:at], "\n") + 1
	for _, beginning := range beginnings {
		if i := strings.LastIndex(text[from:at], beginning); i >= 0 {
			from += i
			break
		}
	}
	return text[from : at+len(words)], true
}

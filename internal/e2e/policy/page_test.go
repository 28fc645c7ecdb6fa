package policy

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert/internal/testenv/world"
)

// printed is a command of docs/policy.md and what it prints.
var printed = regexp.MustCompile("(?s)(`anycert (policy[^`]*)` prints\n\n```[a-z]+\n)(.*?)```\n")

// What docs/policy.md shows is what is printed; -update writes it anew.
func TestPage(t *testing.T) {
	t.Parallel()
	w := world.New(t, world.Options{})
	path := filepath.Join(w.Checkout, "docs", "policy.md")
	text, err := os.ReadFile(path)
	w.Must(err)
	_, example, _ := strings.Cut(string(text), "## An example\n")
	_, config, _ := strings.Cut(example, "```yaml\n")
	config, _, _ = strings.Cut(config, "```")
	name := w.File("config.yaml", config)
	blocks := 0
	page := printed.ReplaceAllStringFunc(string(text), func(block string) string {
		blocks++
		match := printed.FindStringSubmatch(block)
		got := w.Run(name, strings.Fields(match[2])...)
		if got.Code != 0 {
			t.Fatal(got)
		}
		if diff := cmp.Diff(match[3], got.Stdout); diff != "" && !*update {
			t.Errorf("anycert %s (-page +printed):\n%s", match[2], diff)
		}
		return match[1] + got.Stdout + "```\n"
	})
	if blocks != 4 {
		t.Errorf("the page shows %d outputs", blocks)
	}
	if *update {
		w.Must(os.WriteFile(path, []byte(page), 0o644))
	}
}

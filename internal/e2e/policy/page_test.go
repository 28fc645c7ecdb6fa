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
var printed = regexp.MustCompile("(?s)`anycert (policy[^`]*)` prints\n\n```[a-z]*\n(.*?)```\n")

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
	page := string(text)
	blocks := printed.FindAllStringSubmatch(page, -1)
	if len(blocks) < 4 {
		t.Fatalf("the page shows %d outputs", len(blocks))
	}
	for _, block := range blocks {
		got := w.Run(name, strings.Fields(block[1])...)
		if got.Code != 0 {
			t.Fatal(got)
		}
		if *update {
			page = strings.Replace(page, block[0], strings.Replace(block[0], block[2]+"```\n", got.Stdout+"```\n", 1), 1)
		} else if diff := cmp.Diff(block[2], got.Stdout); diff != "" {
			t.Errorf("anycert %s (-page +printed):\n%s", block[1], diff)
		}
	}
	if *update {
		w.Must(os.WriteFile(path, []byte(page), 0o644))
	}
}

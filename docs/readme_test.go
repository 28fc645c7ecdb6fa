package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/anycert/anycert/internal/config"
)

// The configuration in the README is the complete example of the reference page,
// whose own test opens it.
func TestReadmeConfiguration(t *testing.T) {
	readme, page := yamlBlock(t, "../README.md"), yamlBlock(t, "config.md")
	if readme != page {
		t.Error("the configuration in README.md and the example in docs/config.md differ")
	}
	if _, err := config.Read("README.md", strings.NewReader(readme)); err != nil {
		t.Error(err)
	}
}

func yamlBlock(t *testing.T, path string) string {
	t.Helper()
	_, rest, _ := strings.Cut(read(t, path), "```yaml\n")
	block, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatalf("%s has no yaml block", path)
	}
	return block
}

var (
	makeCommand = regexp.MustCompile("(?m)(?:^|`)make ([a-z]+)")
	link        = regexp.MustCompile(`\]\(([^)#:]+)[)#]`)
)

// Every make target that a page names is there, and every link leads somewhere.
func TestPagesTellTheTruth(t *testing.T) {
	makefile := read(t, "../Makefile")
	pages, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	sinks, err := filepath.Glob("sinks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(append(pages, sinks...), "../README.md") {
		text := read(t, page)
		for _, match := range makeCommand.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(makefile, "\n"+match[1]+":") {
				t.Errorf("%s names `make %s`, which is no target", page, match[1])
			}
		}
		for _, match := range link.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), match[1])); err != nil {
				t.Errorf("%s: a link leads nowhere: %v", page, err)
			}
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

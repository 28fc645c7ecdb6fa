package docs_test

import (
	"os"
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

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

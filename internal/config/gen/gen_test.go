package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert/internal/config"
)

const root = "../../.."

func TestPageIsUpToDate(t *testing.T) {
	want, err := page(root)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(root, "docs/config.md"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/config.md is not what the types say: run `go generate ./internal/config`\n%s", diff)
	}
}

// The example is taken from the page, as a reader takes it.
func TestExampleOnThePageWorks(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs/config.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n")
	example, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("the page has no example")
	}
	t.Setenv("KUBECONFIG", filepath.Join(root, "internal/config/testdata/kubeconfig"))
	loaded, err := config.Read("config.yaml", strings.NewReader(example))
	if err != nil {
		t.Fatal(err)
	}
	graph, err := config.Open(loaded, config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(graph.Agents) != 4 || graph.Issuer == nil {
		t.Errorf("%d sinks, issuer %v", len(graph.Agents), graph.Issuer)
	}
}

func TestSplitDefault(t *testing.T) {
	tests := map[string][2]string{
		"What it is.":                          {"", "What it is."},
		"What it is. Default: ~/.a, then b. x": {"~/.a, then b", "What it is. x"},
		"What it is. Left out: nothing.":       {"nothing", "What it is."},
		"What it is; 50 when left out.":        {"50", "What it is."},
		"One of: 1 (the default), 2.":          {"1", "One of: 1 (the default), 2."},
		"Where, ~/.a when left out. More.":     {"~/.a", "Where. More."},
		"The path; without it ~/.a.":           {"~/.a", "The path."},
		"How long. 30s is the default.":        {"30s", "How long."},
	}
	for text, want := range tests {
		if fallback, meaning := splitDefault(text); fallback != want[0] || meaning != want[1] {
			t.Errorf("%q: %q, %q, want %q", text, fallback, meaning, want)
		}
	}
}

// bare has one field that says what it is for, and one that does not.
type bare struct {
	// Said is said.
	Said string `yaml:"said"`

	Unsaid string `yaml:"unsaid"`
}

func TestFieldWithoutCommentFails(t *testing.T) {
	w := &writer{sources: sources{root: root, parsed: map[string]*source{}}}
	w.table(place{}, reflect.TypeFor[bare]())
	if w.err == nil || !strings.Contains(w.err.Error(), "bare.Unsaid has no comment") {
		t.Errorf("%v, want an error about Unsaid", w.err)
	}
}

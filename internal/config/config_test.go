package config_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert/internal/config"
)

var update = flag.Bool("update", false, "write what the bad files' mistakes are")

// load is Load and Open, as every verb does it.
func load(path string) (*config.Graph, error) {
	loaded, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	return config.Open(loaded, config.Options{Version: "1.0.0", Getenv: func(name string) string {
		return map[string]string{"VAULT_ADDR": "https://vault.example.com:8200"}[name]
	}})
}

func TestGoodFiles(t *testing.T) {
	t.Setenv("KUBECONFIG", "testdata/kubeconfig")
	for _, path := range files(t, "testdata/good/*.yaml") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			if _, err := load(path); err != nil {
				t.Error(err)
			}
		})
	}
}

// Each bad file is named after its fault. Beside it stands every line that is said
// of it: no more and no less.
func TestBadFiles(t *testing.T) {
	t.Setenv("KUBECONFIG", "testdata/kubeconfig")
	paths := files(t, "testdata/bad/*.yaml")
	if len(paths) < 40 {
		t.Fatalf("only %d bad files", len(paths))
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			_, err := load(path)
			var problems config.Problems
			if !errors.As(err, &problems) {
				t.Fatalf("%T: %v, want Problems", err, err)
			}
			inside(t, path, problems)
			got := strings.ReplaceAll(problems.Error(), filepath.Dir(path)+"/", "") + "\n"
			golden := strings.TrimSuffix(path, ".yaml") + ".golden"
			if *update {
				write(t, golden, got)
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(got, "hunter2") {
				t.Error("a secret is shown")
			}
		})
	}
}

// inside checks that every position is in the file, and in order.
func inside(t *testing.T, path string, problems config.Problems) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	checkPositions(t, text, problems)
}

func checkPositions(t testing.TB, text []byte, problems config.Problems) {
	t.Helper()
	lines := strings.Split(string(text), "\n")
	last := 0
	for _, p := range problems {
		if p.Line < 1 || p.Line > len(lines) || p.Column < 1 || p.Column > utf8.RuneCountInString(lines[p.Line-1])+1 {
			t.Errorf("%s: this is no place in the file", p)
		}
		if p.Line < last {
			t.Errorf("%s: stands after line %d", p, last)
		}
		last = p.Line
	}
}

func files(t testing.TB, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: %v, %v", pattern, paths, err)
	}
	return paths
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

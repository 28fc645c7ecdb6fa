package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert/internal/testenv/parts"
	"github.com/anycert/anycert/internal/web"
)

const root = "../../.."

func TestPageIsUpToDate(t *testing.T) {
	got, err := os.ReadFile(filepath.Join(root, "docs/metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(page(web.Metrics()), string(got)); diff != "" {
		t.Errorf("docs/metrics.md is not what is registered: run `go generate ./internal/web`\n%s", diff)
	}
}

// The page's configuration of Prometheus is one, with our rules beside it.
func TestConfigurationOnThePage(t *testing.T) {
	_, rest, _ := strings.Cut(page(web.Metrics()), "```yaml\n")
	configuration, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("the page has none")
	}
	dir := t.TempDir()
	rules, err := os.ReadFile(filepath.Join(root, "deploy/alerts/anycert.rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"prometheus.yml": configuration, "anycert.rules.yaml": string(rules)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	promtool, err := parts.Program("promtool")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), promtool, "check", "config", filepath.Join(dir, "prometheus.yml")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "rules found") {
		t.Errorf("%v\n%s", err, out)
	}
}

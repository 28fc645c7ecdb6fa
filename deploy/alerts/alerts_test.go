// Package alerts holds the alert rules to what a daemon exports, and to their tests.
package alerts

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/anycert/anycert/internal/testenv/parts"
	"github.com/anycert/anycert/internal/web/webtest"
)

const (
	rulesFile = "anycert.rules.yaml"
	testsFile = "anycert.rules.test.yaml"
)

type rule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func readRules(t *testing.T) []rule {
	t.Helper()
	var file struct {
		Groups []struct {
			Rules []rule `yaml:"rules"`
		} `yaml:"groups"`
	}
	decode(t, rulesFile, &file)
	var rules []rule
	for _, group := range file.Groups {
		rules = append(rules, group.Rules...)
	}
	if len(rules) == 0 {
		t.Fatal("there are no rules")
	}
	return rules
}

func decode(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// promtool runs one of its commands on a file.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	path, err := parts.Program("promtool")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestPromtool(t *testing.T) {
	promtool(t, "check", "rules", "--lint=all", "--lint-fatal", rulesFile)
	promtool(t, "test", "rules", testsFile)
}

// A rule that never fires in a test may be unable to, one that is never quiet tells nothing.
func TestEachRuleIsSeenToFireAndToStayQuiet(t *testing.T) {
	var file struct {
		Tests []struct {
			Rules []struct {
				Alert  string `yaml:"alertname"`
				Alerts []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		} `yaml:"tests"`
	}
	decode(t, testsFile, &file)
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, test := range file.Tests {
		for _, r := range test.Rules {
			fires[r.Alert] = fires[r.Alert] || len(r.Alerts) > 0
			quiet[r.Alert] = quiet[r.Alert] || len(r.Alerts) == 0
		}
	}
	for _, r := range readRules(t) {
		if !fires[r.Alert] || !quiet[r.Alert] {
			t.Errorf("%s: seen to fire %v, to stay quiet %v", r.Alert, fires[r.Alert], quiet[r.Alert])
		}
	}
}

func TestRulesAskForWhatIsExported(t *testing.T) {
	vocabulary := webtest.ReadVocabulary(t)
	for _, r := range readRules(t) {
		metrics, problems := vocabulary.Check(r.Expr)
		for _, problem := range problems {
			t.Errorf("%s: %s", r.Alert, problem)
		}
		if len(metrics) == 0 {
			t.Errorf("%s asks for no metric", r.Alert)
		}
	}
}

// Whoever is woken up reads what happened, what to do, and where there is more.
func TestRulesSayWhatToDo(t *testing.T) {
	const runbook = "https://github.com/anycert/anycert/blob/main/docs/runbook.md#"
	page, err := os.ReadFile("../../docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range readRules(t) {
		if severity := r.Labels["severity"]; severity != "critical" && severity != "warning" {
			t.Errorf("%s has the severity %q", r.Alert, severity)
		}
		if got, want := r.Annotations["runbook_url"], runbook+strings.ToLower(r.Alert); got != want {
			t.Errorf("%s leads to %s, want %s", r.Alert, got, want)
		}
		if !strings.Contains(string(page), "\n### "+r.Alert+"\n") {
			t.Errorf("docs/runbook.md has no heading ### %s", r.Alert)
		}
		for _, name := range []string{"summary", "description"} {
			if r.Annotations[name] == "" {
				t.Errorf("%s has no %s", r.Alert, name)
			}
		}
	}
}

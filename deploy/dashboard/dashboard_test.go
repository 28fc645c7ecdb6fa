// Package dashboard holds Grafana's dashboard to what a daemon exports.
package dashboard

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/anycert/anycert/internal/testenv/parts"
	"github.com/anycert/anycert/internal/web"
	"github.com/anycert/anycert/internal/web/webtest"
)

type dashboard struct {
	Panels     []panel `json:"panels"`
	Templating struct {
		List []struct {
			Name       string `json:"name"`
			Type       string `json:"type"`
			Definition string `json:"definition"`
		} `json:"list"`
	} `json:"templating"`
	SchemaVersion int `json:"schemaVersion"`
}

type panel struct {
	ID         int                      `json:"id"`
	Title      string                   `json:"title"`
	Type       string                   `json:"type"`
	Datasource source                   `json:"datasource"`
	GridPos    struct{ X, Y, W, H int } `json:"gridPos"`
	Targets    []struct {
		Datasource source `json:"datasource"`
		Expr       string `json:"expr"`
		Legend     string `json:"legendFormat"`
	} `json:"targets"`
}

type source struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

func read(t *testing.T) dashboard {
	t.Helper()
	text, err := os.ReadFile("anycert.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// variables are what Grafana puts in before it asks.
var variables = map[string]string{"$__rate_interval": "5m", "$instance": "hub:8080"}

var variable = regexp.MustCompile(`\$\w+`)

// queries are the expressions of a dashboard as Prometheus gets them, by where they stand.
func queries(t *testing.T, d dashboard) map[string]string {
	t.Helper()
	found := make(map[string]string)
	for _, p := range d.Panels {
		for i, target := range p.Targets {
			at := fmt.Sprintf("%s, query %d", p.Title, i+1)
			found[at] = variable.ReplaceAllStringFunc(target.Expr, func(name string) string {
				if variables[name] == "" {
					t.Errorf("%s: there is no variable %s", at, name)
				}
				return variables[name]
			})
		}
	}
	return found
}

func TestQueriesAskForWhatIsExported(t *testing.T) {
	vocabulary := webtest.ReadVocabulary(t)
	d := read(t)
	for at, expr := range queries(t, d) {
		metrics, problems := vocabulary.Check(expr)
		for _, problem := range problems {
			t.Errorf("%s: %s", at, problem)
		}
		if len(metrics) == 0 {
			t.Errorf("%s asks for no metric", at)
		}
	}
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		arguments, ok := strings.CutPrefix(v.Definition, "label_values(")
		metric, label, both := strings.Cut(strings.TrimSuffix(arguments, ")"), ", ")
		if _, problems := vocabulary.Check(metric + "{" + label + `=""}`); !ok || !both || len(problems) > 0 {
			t.Errorf("the variable %s: %s: %v", v.Name, v.Definition, problems)
		}
	}
}

// Prometheus itself reads the queries, each as if it were a rule.
func TestQueriesAreExpressions(t *testing.T) {
	type rule struct {
		Record string `yaml:"record"`
		Expr   string `yaml:"expr"`
	}
	var rules []rule
	for _, expr := range queries(t, read(t)) {
		rules = append(rules, rule{fmt.Sprintf("query:number%d", len(rules)), expr})
	}
	text, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": rules}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool, err := parts.Program("promtool")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), promtool, "check", "rules", file).CombinedOutput()
	if err != nil || !strings.Contains(string(out), fmt.Sprintf("SUCCESS: %d rules found", len(rules))) {
		t.Errorf("%v\n%s\n%s", err, out, text)
	}
}

// A legend names labels, too.
func TestLegendsNameLabelsOfTheQuery(t *testing.T) {
	label := regexp.MustCompile(`\{\{(\w+)\}\}`)
	for _, p := range read(t).Panels {
		for _, target := range p.Targets {
			for _, found := range label.FindAllStringSubmatch(target.Legend, -1) {
				if !regexp.MustCompile(`by \([^)]*\b`+found[1]+`\b`).MatchString(target.Expr) && found[1] != "instance" {
					t.Errorf("%s: the query has no label %s: %s", p.Title, found[1], target.Expr)
				}
			}
		}
	}
}

// Nothing is exported for nobody.
func TestEveryMetricIsUsed(t *testing.T) {
	vocabulary := webtest.ReadVocabulary(t)
	var used []string
	for _, expr := range append(ruleExpressions(t), queriesOf(t)...) {
		metrics, _ := vocabulary.Check(expr)
		used = append(used, metrics...)
	}
	for _, m := range web.Metrics() {
		if !slices.Contains(used, m.Name) {
			t.Errorf("neither a rule nor the dashboard asks for %s", m.Name)
		}
	}
}

func queriesOf(t *testing.T) []string {
	var list []string
	for _, expr := range queries(t, read(t)) {
		list = append(list, expr)
	}
	return list
}

func ruleExpressions(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../alerts/anycert.rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct {
				Expr string `yaml:"expr"`
			} `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, group := range file.Groups {
		for _, r := range group.Rules {
			list = append(list, r.Expr)
		}
	}
	return list
}

// It can be imported anywhere: the data source is a variable, and no panel covers another.
func TestLayout(t *testing.T) {
	d := read(t)
	if d.SchemaVersion < 36 { // Grafana 9, the oldest with data sources by uid in every place
		t.Errorf("the schema version is %d", d.SchemaVersion)
	}
	ids, cells := make(map[int]bool), make(map[[2]int]string)
	for _, p := range d.Panels {
		if ids[p.ID] || p.ID == 0 {
			t.Errorf("%s has the id %d, which is taken", p.Title, p.ID)
		}
		ids[p.ID] = true
		if p.Type != "row" && (p.Datasource != source{"prometheus", "${datasource}"} || len(p.Targets) == 0) {
			t.Errorf("%s: %+v", p.Title, p)
		}
		for _, target := range p.Targets {
			if (target.Datasource != source{"prometheus", "${datasource}"}) {
				t.Errorf("%s asks %+v", p.Title, target.Datasource)
			}
		}
		if p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("%s ends outside", p.Title)
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				cell := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other := cells[cell]; other != "" {
					t.Fatalf("%s covers %s", p.Title, other)
				}
				cells[cell] = p.Title
			}
		}
	}
}

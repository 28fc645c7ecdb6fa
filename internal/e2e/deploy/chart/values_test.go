package chart

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

//go:generate go test -run TestReadmeListsTheValues|TestAlertRulesAreACopy -update .

var update = flag.Bool("update", false, "write anew what the chart generates: the README's table of values, and its copy of the alert rules")

// value is one that a user may set.
type value struct{ path, comment string }

var key = regexp.MustCompile(`^( *)([a-zA-Z]+):`)

// readValues lists the values that have a comment in values.yaml.
func readValues(t *testing.T) (values []value) {
	t.Helper()
	var parent, comment string
	for line := range strings.Lines(read(t, "values.yaml")) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "# "); ok {
			comment = strings.TrimSpace(comment + " " + text)
			continue
		}
		if match := key.FindStringSubmatch(line); match != nil {
			path := match[2]
			if match[1] == "" {
				parent = path
			} else {
				path = parent + "." + path
			}
			if comment != "" {
				values = append(values, value{path, comment})
			}
		}
		comment = ""
	}
	return values
}

// The table in the README is written from values.yaml.
func TestReadmeListsTheValues(t *testing.T) {
	const begin, end = "<!-- Generated from values.yaml by \"make docs\". Do not edit. -->\n\n", "\n<!-- end -->\n"
	readme := read(t, "README.md")
	before, rest, _ := strings.Cut(readme, begin)
	_, after, ok := strings.Cut(rest, end)
	if !ok {
		t.Fatalf("the README has no place for the values between %q and %q", begin, end)
	}
	want := before + begin + table(t) + end + after
	if *update {
		if err := os.WriteFile(filepath.Join(dir, "README.md"), []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, readme); diff != "" {
		t.Errorf("the README is not up to date, run make docs (-want +got):\n%s", diff)
	}
}

func table(t *testing.T) string {
	t.Helper()
	var defaults map[string]any
	if err := yaml.Unmarshal([]byte(read(t, "values.yaml")), &defaults); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	out.WriteString("| value | default | meaning |\n|---|---|---|\n")
	for _, v := range readValues(t) {
		var at any = defaults
		for name := range strings.SplitSeq(v.path, ".") {
			at = at.(map[string]any)[name]
		}
		text, err := json.Marshal(at)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "| `%s` | `%s` | %s |\n", v.path, text, strings.ReplaceAll(v.comment, "|", `\|`))
	}
	return out.String()
}

// A chart can read no file outside of it, so it has a copy of the alert rules.
func TestAlertRulesAreACopy(t *testing.T) {
	const copied = "files/anycert.rules.yaml"
	rules := read(t, "../alerts/anycert.rules.yaml")
	if *update {
		if err := os.WriteFile(filepath.Join(dir, copied), []byte(rules), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(rules, read(t, copied)); diff != "" {
		t.Errorf("%s is not up to date, run make docs (-want +got):\n%s", copied, diff)
	}
}

// schema is the part of a JSON schema that matters here.
type schema struct {
	Description string
	Type        any
	Additional  any `json:"additionalProperties"`
	Properties  map[string]schema
}

// What an editor shows of a value is what values.yaml says of it; nothing is unknown
// to one of the two; and what is unknown to both is refused.
func TestSchemaDescribesTheValues(t *testing.T) {
	var root schema
	if err := json.Unmarshal([]byte(read(t, "values.schema.json")), &root); err != nil {
		t.Fatal(err)
	}
	delete(root.Properties, "global") // Helm's
	described := map[string]string{}
	for name, s := range root.Properties {
		if s.Description != "" {
			described[name] = s.Description
			continue
		}
		if s.Additional != false {
			t.Errorf("the schema takes anything below %s", name)
		}
		for below, s := range s.Properties {
			described[name+"."+below] = s.Description
		}
	}
	commented := map[string]string{}
	for _, v := range readValues(t) {
		commented[v.path] = v.comment
	}
	if diff := cmp.Diff(commented, described); diff != "" {
		t.Errorf("values.yaml and values.schema.json differ (-values +schema):\n%s", diff)
	}
	if root.Additional != false {
		t.Error("the schema takes any value")
	}
}

var fieldOnPage = regexp.MustCompile("(?m)^\\| `([a-z]+)` ")

// The schema of config knows the fields that the configuration's page lists.
func TestSchemaKnowsTheConfiguration(t *testing.T) {
	var root schema
	if err := json.Unmarshal([]byte(read(t, "values.schema.json")), &root); err != nil {
		t.Fatal(err)
	}
	_, page, _ := strings.Cut(read(t, "../../docs/config.md"), "\n## Top level\n")
	page, _, _ = strings.Cut(page, "\n## ")
	var fields []string
	for _, match := range fieldOnPage.FindAllStringSubmatch(page, -1) {
		fields = append(fields, match[1])
	}
	slices.Sort(fields)
	known := slices.Sorted(maps.Keys(root.Properties["config"].Properties))
	if diff := cmp.Diff(fields, known); diff != "" {
		t.Errorf("docs/config.md and the schema of config differ (-page +schema):\n%s", diff)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

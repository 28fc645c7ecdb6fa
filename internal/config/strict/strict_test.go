package strict_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/config/strict"
)

// garden has a field of every kind that can be decoded.
type garden struct {
	Name  string                       `yaml:"name"`
	Count int                          `yaml:"count"`
	Open  bool                         `yaml:"open"`
	Every time.Duration                `yaml:"every"`
	Water *bed                         `yaml:"water"`
	Beds  []bed                        `yaml:"beds"`
	Signs map[string]string            `yaml:"signs"`
	Rest  strict.Node                  `yaml:"rest"`
	Gate  anycert.Reference            `yaml:"gate"`
	Locks map[string]anycert.Reference `yaml:"locks"`
	Share float32                      `yaml:"share"`
	Since date                         `yaml:"since"`
	Mode  mode                         `yaml:"mode"`
	Path  oneOrMany                    `yaml:"path"`
	Size  `yaml:",inline"`
	Note  string `yaml:"-"`
}

// date is read by UnmarshalText.
type date string

func (d *date) UnmarshalText(text []byte) error {
	if len(text) != 4 {
		return errors.New("write a year")
	}
	*d = date(text)
	return nil
}

// mode wants to know how a number was spelled.
type mode string

func (m *mode) UnmarshalYAML(text []byte) error {
	if text[0] != '0' {
		return errors.New("write it in octal")
	}
	*m = mode(text)
	return nil
}

// oneOrMany takes two shapes.
type oneOrMany []bed

func (o *oneOrMany) UnmarshalYAML(unmarshal func(any) error) error {
	var kind any
	if err := unmarshal(&kind); err != nil {
		return err
	}
	switch kind.(type) {
	case []any:
		return unmarshal((*[]bed)(o))
	case map[string]any:
		*o = make(oneOrMany, 1)
		return unmarshal(&(*o)[0])
	}
	return errors.New("one or many")
}

type bed struct {
	Plants []string `yaml:"plants"`
}

// Size is inlined.
type Size struct {
	Width int `yaml:"width"`
}

const good = `# a comment
name: "küche"
count: 3
open: true
every: 1m30s
water: {plants: [mint]}
beds:
  - plants: [rose, "*"]
  -
    plants:
    - thyme
signs:
  app.kubernetes.io/name: x
  app: "y"
rest: {anything: [1, 2]}
gate: {env: GATE}
locks:
  A: {file: /a}
  B: {vault: secret/b#c}
width: 7
share: 2.5
since: "1977"
mode: 0640
path: {plants: [moss]}
`

func TestDecode(t *testing.T) {
	node, problems := strict.Parse([]byte(good))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var got garden
	var decoder strict.Decoder
	if decoder.Decode(node, &got); len(decoder.Problems) > 0 {
		t.Fatal(decoder.Problems)
	}
	if got.Rest.IsZero() {
		t.Error("rest was not kept")
	}
	want := garden{
		Name: "küche", Count: 3, Open: true, Every: 90 * time.Second,
		Water: &bed{Plants: []string{"mint"}},
		Beds:  []bed{{Plants: []string{"rose", "*"}}, {Plants: []string{"thyme"}}},
		Signs: map[string]string{"app.kubernetes.io/name": "x", "app": "y"},
		Gate:  anycert.Reference{Env: "GATE"},
		Locks: map[string]anycert.Reference{"A": {File: "/a"}, "B": {Vault: "secret/b#c"}},
		Share: 2.5,
		Since: "1977",
		Mode:  "0640",
		Path:  oneOrMany{{Plants: []string{"moss"}}},
		Size:  Size{Width: 7},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreTypes(strict.Node{})); diff != "" {
		t.Error(diff)
	}
}

func TestEmptyValues(t *testing.T) {
	node, _ := strict.Parse([]byte("water:\nbeds:\nsigns:\n"))
	var got garden
	var decoder strict.Decoder
	if decoder.Decode(node, &got); len(decoder.Problems) > 0 {
		t.Fatal(decoder.Problems)
	}
	if got.Water == nil {
		t.Error("water stands in the file, without fields, and was not made")
	}
}

var mistakeTests = map[string]struct {
	text string
	want []string
}{
	"not YAML":         {"name: [a\n", []string{"1:7 : this is not YAML: sequence end token ']' not found"}},
	"empty":            {"# nothing\n", []string{"1:1 : the file is empty"}},
	"two documents":    {"name: a\n---\nname: b\n", []string{"2:1 : a second document begins here: one is allowed"}},
	"binary":           {"name: a\nname: \xff\n", []string{"2:7 : a character that is no readable UTF-8 text"}},
	"control":          {"name: \x00\n", []string{"1:7 : a character that is no readable UTF-8 text"}},
	"unknown":          {"nam: x\n", []string{`1:1 : unknown field "nam": did you mean "name"?`}},
	"unknown, secret":  {"water: {h0nter2: x}\n", []string{`1:9 water: unknown field: here belong plants`}},
	"unknown, far":     {"water: {soil: x}\n", []string{`1:9 water: unknown field "soil": here belong plants`}},
	"twice":            {"name: a\ncount: 1\nname: b\n", []string{"3:1 name: this field is there twice: first on line 1"}},
	"twice in a map":   {"signs: {a: b, a: c}\n", []string{"1:15 signs.a: this field is there twice: first on line 1"}},
	"null":             {"name:\n", []string{"1:1 name: the value is missing: write one, or leave the field out"}},
	"number for text":  {"name: 12\n", []string{"1:7 name: a text belongs here: put it in quotes"}},
	"text for number":  {"count: a\n", []string{"1:8 count: a whole number belongs here"}},
	"large number":     {"count: 99999999999999999999\n", []string{"1:8 count: a whole number belongs here"}},
	"yes for true":     {"open: yes\n", []string{"1:7 open: true or false belongs here"}},
	"no duration":      {"every: 5\n", []string{"1:8 every: a time belongs here, as in 30s, 5m or 1h30m"}},
	"text for list":    {"beds: a\n", []string{"1:7 beds: a list belongs here: [a, b], or a line \"- a\" for each"}},
	"text for fields":  {"beds: [a]\n", []string{"1:8 beds[0]: fields belong here: plants"}},
	"list for text":    {"beds:\n- plants: [[a]]\n", []string{"2:12 beds[0].plants[0]: a text belongs here"}},
	"map in a map":     {"signs:\n  a:\n    b: c\n", []string{"3:5 signs.a: a text belongs here"}},
	"alias":            {"beds: [{plants: [*.x]}]\n", []string{"1:18 : a value that begins with * needs quotes, as in \"*.example.com\" (YAML aliases are not used here)"}},
	"anchor and merge": {"a: &x 1\n<<: *x\n", []string{"1:4 : a value that begins with & needs quotes (YAML anchors are not used here)", "2:1 : << is not used here: write the fields out", "2:5 : a value that begins with * needs quotes, as in \"*.example.com\" (YAML aliases are not used here)"}},
	"tag":              {"name: !x 1\n", []string{"1:7 : a value that begins with ! needs quotes (YAML tags are not used here)"}},
	"set for map":      {"signs: {KEY=hunter2}\n", []string{"1:9 signs: a value is missing here: write name: value"}},
	"odd name":         {"signs: {\"KEY=hunter2\": [x]}\n", []string{"1:24 signs.KEY…: a text belongs here"}},
	"plain secret":     {"gate: hunter2\n", []string{"1:7 gate: a secret is never written into this file: name where it is kept, {env: NAME}, {file: PATH} or {vault: MOUNT/PATH#FIELD}"}},
	"braced secret":    {"gate: {hunter}\n", []string{"1:8 gate: unknown field: a secret is named by {env: NAME}, {file: PATH} or {vault: MOUNT/PATH#FIELD}"}},
	"text for share":   {"share: x\n", []string{"1:8 share: a number belongs here"}},
	"wrong date":       {"since: \"77\"\n", []string{"1:8 since: write a year"}},
	"number for date":  {"since: 1977\n", []string{"1:8 since: a text belongs here: put it in quotes"}},
	"decimal mode":     {"mode: 640\n", []string{"1:7 mode: write it in octal"}},
	"list for mode":    {"mode: [0640]\n", []string{"1:7 mode: a single value belongs here"}},
	"in one":           {"path: {plant: [x]}\n", []string{`1:8 path: unknown field "plant": did you mean "plants"?`}},
	"in many":          {"path: [{}, {plants: x}]\n", []string{`1:21 path[1].plants: a list belongs here: [a, b], or a line "- a" for each`}},
	"neither":          {"path: x\n", []string{"1:7 path: one or many"}},
	"empty shapes":     {"path:\n", []string{"1:1 path: one or many"}},
	"several": {"count: x\nbeds:\n- plant: []\n  plants: 3\nwidth: w\n", []string{
		"1:8 count: a whole number belongs here",
		`3:3 beds[0]: unknown field "plant": did you mean "plants"?`,
		"4:11 beds[0].plants: a list belongs here: [a, b], or a line \"- a\" for each",
		"5:8 width: a whole number belongs here",
	}},
}

func TestMistakes(t *testing.T) {
	for name, test := range mistakeTests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, mistakes([]byte(test.text))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func mistakes(text []byte) []string {
	node, problems := strict.Parse(text)
	var decoder strict.Decoder
	decoder.Decode(node, new(garden))
	problems = strict.Merge(append(problems, decoder.Problems...), nil)
	var lines []string
	for _, p := range problems {
		lines = append(lines, fmt.Sprintf("%d:%d %s: %s", p.Line, p.Column, p.Path, p.Text))
	}
	return lines
}

// Each of these would keep the parser busy for minutes.
func TestBombs(t *testing.T) {
	var wide, long strings.Builder
	long.WriteString("beds:\n")
	for i := range 50_000 {
		fmt.Fprintf(&wide, "k%d: b\n", i)
	}
	for i := range 5_000 {
		fmt.Fprintf(&long, "- plants: [a%d, b]\n", i)
	}
	tests := map[string]string{
		"braces":   strings.Repeat("{a: ", 50_000),
		"brackets": strings.Repeat("[", 100_000),
		"dashes":   strings.Repeat("- ", 100_000),
		"fields":   wide.String(),
		"blocks":   strings.Repeat("a: |\n", 50_000),
		"large":    strings.Repeat("#", strict.MaxBytes+1),
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			if _, problems := strict.Parse([]byte(text)); len(problems) != 1 {
				t.Errorf("%d problems, want one", len(problems))
			}
		})
	}
	if _, problems := strict.Parse([]byte(long.String())); len(problems) > 0 {
		t.Errorf("a long list is no bomb: %v", problems)
	}
}

func TestProblemPlace(t *testing.T) {
	node, _ := strict.Parse([]byte(good))
	tests := map[string]strict.Position{
		"":                             {Line: 2, Column: 1},
		"name":                         {Line: 2, Column: 7},
		"missing":                      {Line: 2, Column: 1},
		"beds[0].plants[1]":            {Line: 8, Column: 20},
		"beds[1]":                      {Line: 10, Column: 5},
		"beds[7]":                      {Line: 7, Column: 1},
		"signs.app.kubernetes.io/name": {Line: 13, Column: 27},
		"signs.app":                    {Line: 14, Column: 8},
		"rest.anything[1]":             {Line: 15, Column: 22},
		"locks.A.missing":              {Line: 18, Column: 3},
	}
	for path, want := range tests {
		if got := node.Problem(path, "x").Position; got != want {
			t.Errorf("%q: %v, want %v", path, got, want)
		}
	}
	if got := node.Child("locks").Problem("A", "x").Path; got != "locks.A" {
		t.Errorf("path %q", got)
	}
}

// A check may not know that a field could not be read, and then says that it is
// missing; what it says of other fields stands.
func TestMergeLeavesOutWhatFollows(t *testing.T) {
	node, _ := strict.Parse([]byte("nam: x\nwater: {plant: y}\nlocks: {A: z}\nevery: 1\n"))
	var decoder strict.Decoder
	decoder.Decode(node, new(garden))
	checked := []strict.Problem{
		node.Problem("name", "missing"),
		node.Problem("water.plants", "missing"),
		node.Problem("water", "has no plants"),
		node.Problem("locks.A", "is not locked"),
		node.Problem("every", "too often"),
		node.Problem("count", "missing"),
		node.Problem("locks.B", "missing"),
		node.Problem("", "not good"),
	}
	all := strict.Merge(decoder.Problems, checked)
	var kept []string
	for _, problem := range all {
		if problem.Text == "missing" || strings.HasPrefix(problem.Text, "not") {
			kept = append(kept, problem.Path)
		}
	}
	if diff := cmp.Diff([]string{"", "count", "locks.B"}, kept); diff != "" || len(all) != len(decoder.Problems)+3 {
		t.Errorf("%v\n%s", all, diff)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(good))
	for _, test := range mistakeTests {
		f.Add([]byte(test.text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		lines := strings.Split(string(text), "\n")
		node, problems := strict.Parse(text)
		var decoder strict.Decoder
		decoder.Decode(node, new(garden))
		for _, p := range append(problems, decoder.Problems...) {
			if p.Line < 1 || p.Line > len(lines) || p.Column < 1 || p.Column > utf8.RuneCountInString(lines[p.Line-1])+1 {
				t.Errorf("%v is no place in the file", p)
			}
		}
	})
}

package webtest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"github.com/anycert/anycert/internal/web"
)

// Vocabulary is what Prometheus can be asked about a daemon: the series by their names,
// the labels of each, and the values of labels that are a closed set.
type Vocabulary struct {
	series map[string][]string // labels by series: those of a histogram end in _bucket, _sum and _count
	family map[string]string   // metric by series
	closed map[string][]string // values by label
}

// fromPrometheus are labels that a scrape adds.
var fromPrometheus = []string{"job", "instance"}

// ReadVocabulary gathers what a running hub exports.
func ReadVocabulary(t testing.TB) *Vocabulary {
	t.Helper()
	families, err := web.NewRegistry(Hub{}.Start(t).Snapshot, web.Build{Version: "v1.2.3", Commit: "unknown"}).Gather()
	if err != nil {
		t.Fatal(err)
	}
	sets := web.Labels()
	v := &Vocabulary{
		series: map[string][]string{"up": nil},
		family: map[string]string{"up": "up"},
		closed: map[string][]string{"verdict": sets.Verdicts, "result": sets.Results, "state": sets.States,
			"reason": slices.Concat(sets.Success, sets.Failure, sets.Deferred)},
	}
	for _, f := range families {
		v.add(f)
	}
	for _, m := range web.Metrics() { // also those of which this hub has no value
		if _, ok := v.series[m.Name]; !ok && m.Type != "histogram" {
			v.series[m.Name], v.family[m.Name] = m.Labels, m.Name
		}
	}
	return v
}

func (v *Vocabulary) add(f *dto.MetricFamily) {
	var labels []string
	for _, m := range f.GetMetric() {
		for _, label := range m.GetLabel() {
			if !slices.Contains(labels, label.GetName()) {
				labels = append(labels, label.GetName())
			}
		}
	}
	names := map[string][]string{f.GetName(): labels}
	if f.GetType() == dto.MetricType_HISTOGRAM {
		names = map[string][]string{"_bucket": append(slices.Clone(labels), "le"), "_sum": labels, "_count": labels}
	}
	for name, labels := range names {
		if strings.HasPrefix(name, "_") {
			name = f.GetName() + name
		}
		v.series[name], v.family[name] = labels, f.GetName()
	}
}

var (
	selector = regexp.MustCompile(`\b([a-z_]+)\b(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"`)
	grouping = regexp.MustCompile(`\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	quoted   = regexp.MustCompile(`"[^"]*"`)
	word     = regexp.MustCompile(`^[a-z_]+$`)
)

// Check tells what an expression asks for that a daemon does not export, and returns the
// metrics that it asks for. That the expression is one, promtool tells.
func (v *Vocabulary) Check(expr string) (metrics []string, problems []string) {
	known := slices.Clone(fromPrometheus)
	for _, found := range selector.FindAllStringSubmatch(expr, -1) {
		name, matchers := found[1], found[2]
		labels, ok := v.series[name]
		switch {
		case !ok && (ours(name) || matchers != ""):
			problems = append(problems, "no daemon exports "+name)
			continue
		case !ok: // a function, an operator, a label
			continue
		}
		metrics = append(metrics, v.family[name])
		known = append(known, labels...)
		for _, m := range matcher.FindAllStringSubmatch(matchers, -1) {
			problems = append(problems, v.checkMatcher(name, append(slices.Clone(fromPrometheus), labels...), m[1], m[2])...)
		}
	}
	for _, found := range grouping.FindAllStringSubmatch(quoted.ReplaceAllString(expr, ""), -1) {
		for label := range strings.SplitSeq(found[1], ",") {
			if label = strings.TrimSpace(label); label != "" && !slices.Contains(known, label) {
				problems = append(problems, "nothing there has the label "+label)
			}
		}
	}
	slices.Sort(metrics)
	return slices.Compact(metrics), problems
}

func (v *Vocabulary) checkMatcher(name string, labels []string, label, values string) []string {
	if !slices.Contains(labels, label) {
		return []string{fmt.Sprintf("%s has no label %s", name, label)}
	}
	var problems []string
	for value := range strings.SplitSeq(values, "|") {
		if closed, ok := v.closed[label]; ok && word.MatchString(value) && !slices.Contains(closed, value) {
			problems = append(problems, fmt.Sprintf("the label %s is never %s", label, value))
		}
	}
	return problems
}

// ours reports whether a name is that of a metric that a daemon might export.
func ours(name string) bool {
	return strings.HasPrefix(name, "anycert_") || strings.HasPrefix(name, "process_") || strings.HasPrefix(name, "go_")
}

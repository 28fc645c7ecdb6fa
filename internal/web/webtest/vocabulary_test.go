package webtest

import (
	"slices"
	"strings"
	"testing"
)

// What checks others must see their mistakes.
func TestVocabularySeesMistakes(t *testing.T) {
	vocabulary := ReadVocabulary(t)
	tests := []struct{ expr, problem string }{
		{`sum by (sink, verdict) (anycert_promises{verdict!~"kept|waiting", instance=~"a|b"}) > 0`, ""},
		{`histogram_quantile(0.9, sum by (le) (rate(anycert_pass_duration_seconds_bucket[5m])))`, ""},
		{`time() - anycert_promise_verified_timestamp_seconds > on (job, instance) group_left () anycert_pass_stale_after_seconds`, ""},
		{`rate(process_cpu_seconds_total[5m]) and up{job="anycert"} == 1`, ""},
		{`anycert_promise`, "no daemon exports anycert_promise"},
		{`anycert_pass_duration_seconds > 1`, "no daemon exports anycert_pass_duration_seconds"},
		{`kube_pod_info{pod="x"}`, "no daemon exports kube_pod_info"},
		{`anycert_promises{target="x"}`, "anycert_promises has no label target"},
		{`anycert_promises{verdict="lost"}`, "the label verdict is never lost"},
		{`anycert_pushes_total{reason=~"forbidden|sealed"}`, "the label reason is never sealed"},
		{`sum by (issuer) (anycert_pushes_total)`, "nothing there has the label issuer"},
		{`anycert_promises / on (target) anycert_promises`, "nothing there has the label target"},
	}
	for _, test := range tests {
		_, problems := vocabulary.Check(test.expr)
		if got := strings.Join(problems, "; "); got != test.problem {
			t.Errorf("%s: %q, want %q", test.expr, got, test.problem)
		}
	}
	metrics, _ := vocabulary.Check(`rate(anycert_pass_duration_seconds_sum[5m]) / anycert_pass_stale_after_seconds`)
	if want := []string{"anycert_pass_duration_seconds", "anycert_pass_stale_after_seconds"}; !slices.Equal(metrics, want) {
		t.Errorf("%q, want %q", metrics, want)
	}
}

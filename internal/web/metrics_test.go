package web

import (
	"bytes"
	"flag"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"github.com/anycert/anycert/reconcile"
)

var update = flag.Bool("update", false, "write testdata/metrics.txt anew")

func at(seconds int64) time.Time { return time.Unix(1_700_000_000+seconds, 0) }

// known is a snapshot in which everything happened.
func known() reconcile.Snapshot {
	pushes, orders := reconcile.NewPushTally(), reconcile.NewOrderTally()
	pushes[reconcile.Outcome{Result: reconcile.Success, Reason: reconcile.NoReason}] = 7
	pushes[reconcile.Outcome{Result: reconcile.Failure, Reason: reconcile.Forbidden}] = 2
	orders[reconcile.Outcome{Result: reconcile.Deferred, Reason: reconcile.Postponed}] = 3
	return reconcile.Snapshot{
		Turned: at(0), Deadline: at(95), Stale: 5 * time.Minute,
		Reloaded: at(-3600), ReloadFailed: true, StoreRead: at(-60),
		Certificates: []reconcile.CertificateState{
			{Name: "example", Entry: reconcile.NoReason, NotBefore: at(-86400), NotAfter: at(7776000), Renewal: at(5184000), Obtained: true},
			{Name: "bought", Entry: reconcile.Timeout, NotBefore: at(-86400), NotAfter: at(7776000)},
			{Name: "wanted", Entry: reconcile.NotFound, Renewal: at(0), Obtained: true, OrderFailed: true},
			{Name: "odd", Entry: reconcile.Undone}, // no store says so
			{Name: "unasked"},
			{Name: "frozen", Entry: reconcile.Deleted, Suspended: true},
		},
		Issuers: []reconcile.IssuerState{{Name: "letsencrypt", Orders: orders}},
		Receivers: []reconcile.ReceiverState{
			{Name: "oncall", Failing: true, Ended: map[reconcile.Result]int{reconcile.Success: 4, reconcile.Failure: 2}},
			{Name: "chat"},
		},
		Sinks: []reconcile.SinkState{
			{Name: "edge", Pushes: reconcile.NewPushTally(), Promises: []reconcile.PromiseState{{Certificate: "example"}}},
			{Name: "prod", Passed: at(-1), Succeeded: at(-61), Pushes: pushes,
				Took: reconcile.Durations{Count: 3, Sum: 1500 * time.Millisecond, Within: map[time.Duration]int{time.Second: 2, time.Minute: 3}},
				Promises: []reconcile.PromiseState{{Certificate: "example", Verified: at(-2), NotAfter: at(86400),
					Verdicts: map[reconcile.Verdict]int{reconcile.Kept: 2, reconcile.Held: 1},
					Wires:    map[reconcile.WireState]int{reconcile.WireServed: 2, reconcile.WireBehind: 1}, WireSeen: at(-30), WireNotAfter: at(3600)}}},
		},
	}
}

func collectorOf(snapshot reconcile.Snapshot) *collector {
	return newCollector(func() reconcile.Snapshot { return snapshot }, Build{Version: "v1.2.3", Commit: "0123456789ab", Time: at(-86400)})
}

func TestExposition(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(collectorOf(known()))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&got, f); err != nil {
			t.Fatal(err)
		}
	}
	text := strings.ReplaceAll(got.String(), runtime.Version(), "go1.x")
	if *update {
		if err := os.WriteFile("testdata/metrics.txt", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/metrics.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("go test ./internal/web -update writes testdata/metrics.txt anew:\n%s", diff)
	}
}

func TestNamesFollowTheConventions(t *testing.T) {
	problems, err := testutil.CollectAndLint(collectorOf(known()))
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// One scrape is of one moment, and every value that can be is there.
func TestOneSnapshotForEachScrape(t *testing.T) {
	asked := 0
	registry := NewRegistry(func() reconcile.Snapshot { asked++; return known() }, Build{})
	families, err := registry.Gather()
	if err != nil || asked != 1 {
		t.Errorf("asked %d times, %v", asked, err)
	}
	var names []string
	for _, f := range families {
		names = append(names, f.GetName())
	}
	for _, m := range Metrics() {
		if !slices.Contains(names, m.Name) && m.Name != "anycert_build_timestamp_seconds" { // it is not known
			t.Errorf("%s is not exported", m.Name)
		}
	}
	for _, name := range []string{"go_goroutines", "process_start_time_seconds"} {
		if !slices.Contains(names, name) {
			t.Errorf("%s is not exported", name)
		}
	}
}

// A label that Prometheus cannot take makes the scrape fail, and not the daemon.
func TestOddLabelFailsTheScrape(t *testing.T) {
	registry := NewRegistry(func() reconcile.Snapshot { return known() }, Build{Version: "\xff"})
	if _, err := registry.Gather(); err == nil {
		t.Error("it was taken")
	}
}

// The labels come from the configuration and from closed sets, whatever is in a snapshot.
func TestLabelsAreBounded(t *testing.T) {
	sets := Labels()
	allowed := map[string][]string{
		"certificate": {"example", "bought", "wanted"},
		"sink":        {"edge", "prod"},
		"receiver":    {"chat", "oncall"},
		"issuer":      {"letsencrypt"},
		"verdict":     sets.Verdicts,
		"result":      sets.Results,
		"reason":      slices.Concat(sets.Success, sets.Failure, sets.Deferred),
		"state":       sets.States,
		"wire":        sets.Wires,
		"version":     {"v1.2.3"},
		"commit":      {"0123456789ab"},
		"goversion":   {runtime.Version()},
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectorOf(known()))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, label := range m.GetLabel() {
				if !slices.Contains(allowed[label.GetName()], label.GetValue()) {
					t.Errorf("%s has the label %s=%q", f.GetName(), label.GetName(), label.GetValue())
				}
			}
		}
	}
}

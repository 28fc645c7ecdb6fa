package reconcile

import (
	"testing"
	"time"

	"github.com/anycert/anycert"
)

// What the world is served where a target is not kept is said once, with what is known of
// the target: at Fly.io that is when it expires.
func TestTheWireFollowsFromATargetSeenByDates(t *testing.T) {
	old := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	other := old.Add(time.Hour)
	for name, test := range map[string]struct {
		evidence anycert.Evidence
		serial   string
		served   *time.Time
		want     int
	}{
		"the one that was seen there": {anycert.Dates, "", &old, 0},
		"another":                     {anycert.Dates, "", &other, 1},
		"nothing":                     {anycert.Dates, "", nil, 1},
		"another of that day":         {anycert.Serial, "7", &old, 1},
	} {
		p := Promise{Certificate: "example", Sink: "app", Target: "example.com", Verdict: Held, Wire: &Wire{State: WireBehind, Text: "another certificate is served",
			Addresses: []WireAddress{{State: WireBehind, Serial: "8", NotAfter: test.served}}}}
		p.sighting = &sighting{observed: anycert.Observed{Found: true, Evidence: test.evidence, Serial: test.serial, NotAfter: old}}
		if got := len((&Report{Promises: []Promise{p}}).WireDifferences()); got != test.want {
			t.Errorf("%s: %d differences, want %d", name, got, test.want)
		}
	}
}

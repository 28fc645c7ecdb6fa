package reconcile

import (
	"fmt"
	"strings"
	"testing"
)

// status says why promises are not kept: each reason once, the urgent ones first, and not
// what the problem of the certificate says already.
func TestShortfalls(t *testing.T) {
	report := &Report{
		Certificates: []CertificateStatus{{Name: "example"}, {Name: "shop", Problem: "vault: sealed"}, {Name: "well"}},
		Promises: []Promise{
			{Certificate: "example", Sink: "app", Target: "a.example.com", Verdict: Waiting, Reason: "canary first is not there yet"},
			{Certificate: "example", Sink: "disk", Target: "/srv", Verdict: Broken, Action: Create, Reason: "nothing is there"},
			{Certificate: "example", Sink: "prod", Target: "api/\x1btls", Verdict: Kept, Evidence: "dates"},
			{Certificate: "shop", Sink: "prod", Target: "api/shop", Verdict: Unknown, Reason: "vault: sealed"},
			{Certificate: "well", Sink: "prod", Target: "api/well", Verdict: Kept},
		},
	}
	for i := range 5 {
		report.Promises = append(report.Promises, Promise{Certificate: "example", Sink: "far", Target: fmt.Sprintf("n%d/\x1b", i),
			Verdict: Waiting, Reason: "canary first is not there yet"})
	}
	written := func(write func(*Report, *strings.Builder)) string {
		var out strings.Builder
		write(report, &out)
		return out.String()
	}
	for what, test := range map[string]struct{ got, want string }{
		"not kept": {written(func(r *Report, w *strings.Builder) { r.WriteShortfalls(w) }),
			"certificate example is broken at disk /srv: to create: nothing is there\n"},
		"waiting": {written(func(r *Report, w *strings.Builder) { r.WriteWaits(w) }),
			"certificate example waits at 6 of its places: canary first is not there yet (app a.example.com, far n0/·, far n1/· and 3 more)\n"},
	} {
		if test.got != test.want {
			t.Errorf("%s:\n%s\nwant\n%s", what, test.got, test.want)
		}
	}
}

// A certificate with many reasons has no more lines than one can read.
func TestShortfallsAreFew(t *testing.T) {
	report := &Report{Certificates: []CertificateStatus{{Name: "example"}}}
	for i := range 6 {
		report.Promises = append(report.Promises, Promise{Certificate: "example", Sink: "prod", Target: fmt.Sprint("n", i),
			Verdict: Refused, Reason: fmt.Sprint("it belongs to ", i)})
	}
	all := report.Shortfalls()
	if some := (&Report{Promises: report.Promises[:4]}).Shortfalls(); len(some) != 4 || some[3].Text != "is refused at prod n3: it belongs to 3" {
		t.Errorf("of four: %+v", some)
	}
	if len(all) != 4 || all[3].Text != "is not kept at 3 more of its places: `anycert audit` says why" || all[3].Verdict != Refused {
		t.Errorf("%+v", all)
	}
}

package reconcile

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/certs"
)

// seen is a sighting of a target that is as promised.
func seen(t *testing.T) sighting {
	t.Helper()
	ca, err := certs.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(certs.Options{Names: example.Domains})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	entry := anycert.Entry{Name: "example", Version: 3, Time: now.Add(-time.Hour), Digest: anycert.DigestOf(pair.Chain), Leaf: pair.Leaf()}
	mark := anycert.MarkOf("prod", entry)
	certificate := example
	return sighting{certificate: &certificate, known: Known{Entry: &entry}, now: now, observed: anycert.Observed{
		Found: true, Evidence: anycert.Exact, Digest: entry.Digest, SPKI: anycert.SPKIOf(entry.Leaf),
		Serial: entry.Leaf.SerialNumber.String(), NotAfter: entry.Leaf.NotAfter, Names: []string{"*.example.com", "example.com"}, Mark: &mark,
	}}
}

func TestJudge(t *testing.T) {
	later := func(s *sighting) {
		s.observed.Mark = &anycert.Mark{Owner: "prod", Certificate: "example", Time: s.now, Digest: anycert.Digest{9}}
	}
	bySerial := func(s *sighting) {
		s.observed.Evidence, s.observed.Digest, s.observed.SPKI = anycert.Serial, anycert.Digest{}, anycert.SPKI{}
	}
	byDates := func(s *sighting) {
		bySerial(s)
		s.observed.Evidence, s.observed.Serial, s.observed.Names = anycert.Dates, "", nil
		s.observed.Mark, s.observed.Unmarkable = nil, true
	}
	absent := func(s *sighting) { s.observed = anycert.Observed{} }
	for name, test := range map[string]struct {
		change  func(*sighting)
		verdict Verdict
		action  Action
		reason  string
	}{
		"as promised":                  {func(*sighting) {}, Kept, None, ""},
		"could not be observed":        {func(s *sighting) { s.err = errBroken }, Unknown, None, "broken"},
		"someone else's":               {func(s *sighting) { s.observed.Foreign = "helm's" }, Refused, None, "helm's"},
		"someone else's, store sealed": {func(s *sighting) { s.observed.Foreign, s.known = "helm's", Known{Err: anycert.ErrUnavailable} }, Refused, None, "helm's"},
		"store sealed":                 {func(s *sighting) { s.known = Known{Err: anycert.ErrUnavailable} }, Unknown, None, "unavailable"},
		"store sealed, target absent":  {func(s *sighting) { absent(s); s.known = Known{Err: anycert.ErrUnavailable} }, Unknown, None, "unavailable"},
		"deleted in the store":         {func(s *sighting) { s.known = Known{Err: anycert.ErrDeleted} }, Unknown, None, "deleted"},
		"nothing issued":               {func(s *sighting) { absent(s); s.known = Known{Err: anycert.ErrNotFound} }, Waiting, None, "nothing issued yet"},
		"nothing issued, kept by others": {func(s *sighting) {
			absent(s)
			s.known, s.certificate.Issuer = Known{Err: anycert.ErrNotFound}, ""
		}, Waiting, None, "whoever keeps"},
		"store empty, our mark there":         {func(s *sighting) { s.known = Known{Err: anycert.ErrNotFound} }, Held, None, "accept-store example"},
		"store empty, accepted":               {func(s *sighting) { s.known, s.accepted = Known{Err: anycert.ErrNotFound}, true }, Waiting, None, ""},
		"later mark":                          {later, Held, None, "the store went back"},
		"later mark, accepted":                {func(s *sighting) { later(s); s.accepted = true; s.observed.Digest = anycert.Digest{9} }, Broken, Replace, ""},
		"later mark on a deleted certificate": {func(s *sighting) { later(s); s.observed.Digest = anycert.Digest{} }, Held, None, ""},
		"doubted, has a mark":                 {func(s *sighting) { s.doubted = true }, Kept, None, ""},
		"doubted, no place for a mark": {func(s *sighting) {
			byDates(s)
			s.doubted, s.observed.NotAfter = true, s.now
		}, Held, None, "older than one that was pushed"},
		"doubted, as promised all the same": {func(s *sighting) { byDates(s); s.doubted = true }, Kept, None, ""},
		"store empty, no place for a mark": {func(s *sighting) {
			byDates(s)
			s.doubted, s.known = true, Known{Err: anycert.ErrNotFound}
		}, Held, None, "accept-store example"},
		"store empty, nothing there": {func(s *sighting) {
			s.observed = anycert.Observed{Unmarkable: true}
			s.doubted, s.known = true, Known{Err: anycert.ErrNotFound}
		}, Waiting, None, "nothing issued yet"},
		"store empty, another's mark there": {func(s *sighting) {
			s.observed.Mark.Certificate, s.known = "other", Known{Err: anycert.ErrNotFound}
		}, Waiting, None, "nothing issued yet"},
		"a later mark of another one":     {func(s *sighting) { later(s); s.observed.Mark.Certificate = "other" }, Broken, Mend, "another version"},
		"expired":                         {func(s *sighting) { s.now = s.known.Entry.Leaf.NotAfter.Add(time.Hour) }, Broken, None, "expired"},
		"absent":                          {absent, Broken, Create, "nothing is there"},
		"another chain":                   {func(s *sighting) { s.observed.Digest = anycert.Digest{1} }, Broken, Replace, "the chain differs"},
		"another certificate":             {func(s *sighting) { s.observed.Digest, s.observed.Serial = anycert.Digest{1}, "1" }, Broken, Replace, "another certificate"},
		"another certificate, by a rival": {func(s *sighting) { s.observed.Digest, s.observed.Writer = anycert.Digest{1}, "helm" }, Broken, Replace, "last written by helm"},
		"another key":                     {func(s *sighting) { s.observed.SPKI = anycert.SPKI{1} }, Broken, Replace, "does not belong"},
		"no key":                          {func(s *sighting) { s.observed.SPKI = anycert.SPKI{} }, Broken, Replace, "no private key"},
		"no certificate":                  {func(s *sighting) { s.observed.Digest = anycert.Digest{} }, Broken, Replace, "no certificate"},
		"no mark":                         {func(s *sighting) { s.observed.Mark = nil }, Broken, Mend, "our mark is missing"},
		"an older mark": {func(s *sighting) {
			s.observed.Mark.Digest, s.observed.Mark.Time = anycert.Digest{1}, s.now.Add(-2*time.Hour)
		}, Broken, Mend, "another version"},
		"another certificate's mark":       {func(s *sighting) { s.observed.Mark.Certificate = "other" }, Broken, Mend, "another version"},
		"a widened mode":                   {func(s *sighting) { s.observed.Deviations = []anycert.Deviation{{Kind: "mode", Detail: "0644"}} }, Broken, Mend, "mode: 0644"},
		"not yet active":                   {func(s *sighting) { s.observed.Waiting = "add the TXT record" }, Waiting, None, "add the TXT record"},
		"another one, not yet active":      {func(s *sighting) { s.observed.Waiting, s.observed.Digest = "add", anycert.Digest{1} }, Broken, Replace, ""},
		"evidence that cannot be compared": {func(s *sighting) { s.observed.Evidence = "" }, Broken, Replace, "could not be compared"},

		"serial: as promised":  {bySerial, Kept, None, ""},
		"serial: another":      {func(s *sighting) { bySerial(s); s.observed.Serial = "1" }, Broken, Replace, "another certificate"},
		"serial: another end":  {func(s *sighting) { bySerial(s); s.observed.NotAfter = s.now }, Broken, Replace, "another certificate"},
		"serial: another name": {func(s *sighting) { bySerial(s); s.observed.Names = []string{"example.com"} }, Broken, Replace, "the names differ"},
		"serial: the names in another case": {func(s *sighting) {
			bySerial(s)
			s.observed.Names = []string{"Example.com", "*.EXAMPLE.com", "example.com"}
		}, Kept, None, ""},
		"serial: another key, if seen": {func(s *sighting) { bySerial(s); s.observed.SPKI = anycert.SPKI{1} }, Broken, Replace, "does not belong"},
		"dates: as promised":           {byDates, Kept, None, ""},
		"dates: a fraction of a second": {func(s *sighting) {
			byDates(s)
			s.observed.NotAfter = s.observed.NotAfter.Truncate(time.Second).Add(time.Millisecond)
		}, Kept, None, ""},
		"dates: another end": {func(s *sighting) { byDates(s); s.observed.NotAfter = s.observed.NotAfter.Add(time.Second) }, Broken, Replace, "another certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			s := seen(t)
			test.change(&s)
			j := judge(s)
			if j.verdict != test.verdict || j.action != test.action || !strings.Contains(j.reason, test.reason) {
				t.Errorf("judged %q %q %q, want %q %q and a reason with %q", j.verdict, j.action, j.reason, test.verdict, test.action, test.reason)
			}
			if j.verdict != Kept && j.reason == "" {
				t.Error("no reason")
			}
		})
	}
}

// An audit that could not tell is not an audit that found a difference.
func TestExitCodes(t *testing.T) {
	for _, test := range []struct {
		verdicts    []Verdict
		audit, sync int
	}{
		{nil, 0, 0},
		{[]Verdict{Kept, Kept}, 0, 0},
		{[]Verdict{Kept, Waiting}, 2, 0},
		{[]Verdict{Kept, Broken}, 2, 1},
		{[]Verdict{Refused}, 2, 1},
		{[]Verdict{Held}, 2, 1},
		{[]Verdict{Unknown}, 1, 1},
		{[]Verdict{Broken, Unknown, Kept}, 1, 1},
	} {
		report := new(Report)
		for _, verdict := range test.verdicts {
			report.Promises = append(report.Promises, Promise{Verdict: verdict})
		}
		if report.AuditExit() != test.audit || report.SyncExit() != test.sync {
			t.Errorf("%v: audit %d, sync %d; want %d, %d", test.verdicts, report.AuditExit(), report.SyncExit(), test.audit, test.sync)
		}
	}
	failed := &Report{Certificates: []CertificateStatus{{Name: "example", Err: errors.New("the CA said no")}}}
	if failed.SyncExit() != ExitFailed {
		t.Error("a certificate that could not be obtained is no failure")
	}
}

func TestWords(t *testing.T) {
	report := &Report{Promises: []Promise{
		{Certificate: "example", Sink: "prod", Target: "web/example-tls", Verdict: Kept, Evidence: anycert.Exact},
		{Certificate: "example", Sink: "edge", Target: "c/example.com", Verdict: Kept, Evidence: anycert.Serial},
		{Certificate: "example", Sink: "prod", Target: "api/example-tls", Verdict: Broken, Action: Create, Reason: "nothing is there"},
		{Certificate: "example", Sink: "prod", Target: "x", Verdict: Kept, Action: Replace, Pushed: true, Because: "another certificate is there"},
		{Certificate: "example", Sink: "prod", Target: "y", Verdict: Broken, Action: Mend, Pushed: true, Because: "mode", Reason: "no \x1b[31mright\nsecond line"},
	}}
	var out strings.Builder
	report.WritePromises(&out, Plain)
	want := `CERTIFICATE   SINK   TARGET            VERDICT
example       prod   web/example-tls   kept
example       edge   c/example.com     kept      seen by serial only
example       prod   api/example-tls   broken    to create: nothing is there
example       prod   x                 kept      replaced (was: another certificate is there)
example       prod   y                 broken    could not mend: no ·[31mright second line
5 promises: 3 kept, 2 broken
`
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
	}
	out.Reset()
	report.WritePromises(&out, Colours)
	if got := strings.Count(out.String(), "\x1b[32mkept\x1b[0m"); got != 3 {
		t.Errorf("%d verdicts are green:\n%s", got, fmt.Sprintf("%q", out.String()))
	}
}

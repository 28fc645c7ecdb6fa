package reconcile

import (
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert"
)

func TestCertificates(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	expiry, renewal := now.Add(90*24*time.Hour), now.Add(60*24*time.Hour)
	report := &Report{
		Time: now,
		Certificates: []CertificateStatus{
			{Name: "example", Owner: "web team", Description: "the site", Domains: []string{"example.com", "*.example.com"},
				Version: 7, NotAfter: &expiry, Renewal: &renewal, Why: "a third of its lifetime is left"},
			{Name: "shop", Domains: []string{"shop.example.com"}, Owner: "\x1b[31mred\nteam",
				Problem: "permission denied", Err: anycert.ErrForbidden},
			{Name: "later", Domains: []string{"later.example.com"}, Suspended: true},
		},
		Promises: []Promise{
			{Certificate: "example", Verdict: Kept}, {Certificate: "example", Verdict: Broken}, {Certificate: "shop", Verdict: Unknown},
		},
		Suspended: []string{"edge"},
	}
	var out strings.Builder
	report.WriteCertificates(&out)
	report.WriteProblems(&out)
	want := `CERTIFICATE   VERSION   EXPIRES                       RENEWAL                                              PROMISES           OWNER           DESCRIPTION   NAMES
example       7         2030-04-01 00:00Z (90 days)   2030-03-02 00:00Z: a third of its lifetime is left   1 kept, 1 broken   web team        the site      example.com *.example.com
shop          -         -                             -                                                    1 unknown          ·[31mred team   -             shop.example.com
later         -         -                             suspended                                            -                  -               -             later.example.com
certificate shop (ask ·[31mred team): permission denied
`
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
	}
	out.Reset()
	report.writeRest(&out)
	if want := "suspended, not looked at: sink edge, certificate later\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("%q is missing from:\n%s", want, out.String())
	}
}

// A path or a name that steers a terminal is shown, not sent; a line stays a line.
func TestTablesAreOfWholeLines(t *testing.T) {
	report := &Report{Promises: []Promise{{Certificate: "example", Sink: "disk", Target: "/tmp/\x1b[2J\tx\ny\u202e", Verdict: Kept}}}
	var out strings.Builder
	report.WritePromises(&out, Plain)
	want := `CERTIFICATE   SINK   TARGET           VERDICT
example       disk   /tmp/·[2J x y·   kept
1 promise: 1 kept
`
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

// Places that lack a new certificate for one reason are told with it once.
func TestUnservedPlacesHaveOneReason(t *testing.T) {
	r := Renewed{Name: "example", Renewed: true, Unserved: []string{
		"prod web/example-tls: waiting: canary first has version 2: the others follow at 10:00", "edge *.example.com: broken",
		"prod api/example-tls: waiting: canary first has version 2: the others follow at 10:00", "far: no pass has ended: yet", "odd place"}}
	want := "renewed, but not seen served at prod web/example-tls, prod api/example-tls: waiting: canary first has version 2: the others follow at 10:00; " +
		"edge *.example.com: broken; far: no pass has ended: yet; odd place"
	if got := r.Words(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

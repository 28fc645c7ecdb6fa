package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anycert/anycert/reconcile"
)

// reports makes one report for each look, with a certificate more that has a problem from
// the third look on.
func reports(names ...string) func(context.Context) *reconcile.Report {
	looks := 0
	return func(context.Context) *reconcile.Report {
		looks++
		report := &reconcile.Report{Time: time.Now()}
		for i, name := range names {
			c := reconcile.CertificateStatus{Name: name, Version: 1, Domains: []string{name + ".example.com"}}
			if looks > 2 && i == len(names)-1 {
				c.Version, c.Err, c.Problem = 2, errors.New("the CA refuses"), "the CA refuses"
			}
			report.Certificates = append(report.Certificates, c)
			report.Promises = append(report.Promises, reconcile.Promise{Certificate: name, Verdict: reconcile.Kept})
		}
		return report
	}
}

func watchFor(t *testing.T, d time.Duration, w watching) string {
	t.Helper()
	var out bytes.Buffer
	w.out, w.every = &out, 10*time.Second
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := w.watch(ctx); err != nil {
		t.Error(err)
	}
	return out.String()
}

// Where there is no terminal, each certificate is told once, and again when it changes.
func TestWatchInLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := watchFor(t, 55*time.Second, watching{look: reports("one", "two")})
		want := "2000-01-01 00:00:00Z certificate one: version 1, 1 kept\n" +
			"2000-01-01 00:00:00Z certificate two: version 1, 1 kept\n" +
			"2000-01-01 00:00:20Z certificate two: version 2, 1 kept: the CA refuses\n"
		if got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
	})
}

// On a terminal only the lines that differ are drawn, the most urgent is the first, nothing
// is wider or higher than it, and at the end it is as it was.
func TestWatchOnATerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := watchFor(t, 25*time.Second, watching{look: reports("one", "two", "three", "four"),
			size: func() (int, int, error) { return 40, 7, nil }})
		frames := strings.Split(got, "\x1b[1;1H") // each begins with the clock
		if len(frames) != 4 || !strings.HasPrefix(got, "\x1b[?1049h\x1b[?25l\x1b[2J") || !strings.HasSuffix(got, "\x1b[?25h\x1b[?1049l") {
			t.Fatalf("%d frames: %q", len(frames)-1, got)
		}
		if strings.Contains(frames[2], "one") || !strings.HasPrefix(frames[2], "2000-01-01 00:00:10Z") {
			t.Errorf("nothing changed, and this was drawn: %q", frames[2])
		}
		if !strings.Contains(frames[3], "certificate four: the CA refuses") || strings.Index(frames[3], "\nfour") > strings.Index(frames[3], "\none") {
			t.Errorf("the change is not there: %q", frames[3])
		}
		for _, cell := range strings.Split(got, "\x1b[") {
			if _, text, ok := strings.Cut(cell, "H"); ok && len([]rune(text)) > 40 {
				t.Errorf("%q is wider than the terminal", text)
			}
			if strings.HasPrefix(cell, "8;") {
				t.Errorf("%q is below the terminal", cell)
			}
		}
	})
}

// What the world is served is told where it is not what it should be, and is urgent; the
// end of it is told as well.
func TestWatchTellsTheWire(t *testing.T) {
	looks := 0
	look := func(context.Context) *reconcile.Report {
		looks++
		report := reports("one", "two")(t.Context())
		if looks == 2 {
			report.Promises[0].Verdict = reconcile.Waiting                         // for a canary: what it serves follows from that
			report.Promises[0].Wire = &reconcile.Wire{State: reconcile.WireBehind} // at no address that differs from the target
			report.Promises[1].Sink, report.Promises[1].Target = "cdn", "two.example.com"
			report.Promises[1].Wire = &reconcile.Wire{State: reconcile.WireBehind, Text: "two.example.com:443: another certificate is served", Remedy: "look at the DNS",
				Addresses: []reconcile.WireAddress{{State: reconcile.WireBehind}}}
		}
		return report
	}
	synctest.Test(t, func(t *testing.T) {
		got := watchFor(t, 25*time.Second, watching{look: look})
		want := "2000-01-01 00:00:00Z certificate one: version 1, 1 kept\n" +
			"2000-01-01 00:00:00Z certificate two: version 1, 1 kept\n" +
			"2000-01-01 00:00:10Z certificate one: version 1, 1 waiting\n" +
			"2000-01-01 00:00:10Z certificate two: version 1, 1 kept, 1 behind on the wire; at cdn two.example.com: two.example.com:443: another certificate is served; look at the DNS\n" +
			"2000-01-01 00:00:20Z certificate one: version 1, 1 kept\n" +
			"2000-01-01 00:00:20Z certificate two: version 1, 1 kept\n"
		if got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
		looks = 1
		lines := page(look(t.Context()))
		text := strings.Join(lines, "\n")
		if !strings.Contains(text, "\nwire: certificate two at cdn two.example.com: two.example.com:443: another certificate is served; look at the DNS\n") ||
			strings.Index(text, "\ntwo ") > strings.Index(text, "\none ") {
			t.Error(text)
		}
	})
}

func TestWatchIsNotTooOften(t *testing.T) {
	err := watching{look: reports("one"), every: time.Millisecond}.watch(t.Context())
	if err == nil || !strings.Contains(err.Error(), "1s is the least") {
		t.Error(err)
	}
}

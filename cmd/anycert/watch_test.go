package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

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
		text := strings.Join(page(look(t.Context()), 200, 50), "\n")
		if !strings.Contains(text, "\nwire: certificate two at cdn two.example.com: two.example.com:443: another certificate is served; look at the DNS\n") ||
			strings.Index(text, "\ntwo ") > strings.Index(text, "\none ") {
			t.Error(text)
		}
	})
}

// unkept has certificates that are refused, for a reason that is longer than a line.
func unkept(n int) *reconcile.Report {
	report := &reconcile.Report{Time: time.Now()}
	end := time.Now().AddDate(0, 0, 90)
	for i := range n {
		name := fmt.Sprintf("example-%d", i)
		report.Certificates = append(report.Certificates, reconcile.CertificateStatus{Name: name, Issuer: "letsencrypt", Version: 1, NotAfter: &end,
			Renewal: &end, Why: "a third of its lifetime is left", Domains: []string{name + ".example.com"}})
		report.Promises = append(report.Promises, reconcile.Promise{Certificate: name, Sink: "prod", Target: "web/" + name + "-tls", Verdict: reconcile.Refused,
			Reason: "it belongs to someone else (last written by kubectl-create): name web/" + name + "-tls under adopt to take it over, or choose another name with secret"})
	}
	return report
}

// What is wrong can be read to its end in a terminal of the usual width, and how the
// promises stand is not cut off; many who are unwell leave room for the table.
func TestWatchCanBeReadInATerminal(t *testing.T) {
	text := strings.Join(page(unkept(2), 80, 24), "\n")
	for _, want := range []string{"\ncertificate example-1 is refused at prod web/example-1-tls: it belongs to", "\n  adopt to take it over, or choose another name with secret\n",
		"\nCERTIFICATE   PROMISES    VERSION   EXPIRES", "\nexample-0     1 refused   1         "} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing from\n%s", want, text)
		}
	}
	for _, height := range []int{2, 3, 5, 24} {
		lines := page(unkept(40), 80, height)
		if len(lines) > height {
			t.Errorf("%d lines in a terminal of %d", len(lines), height)
		}
		for _, line := range lines {
			if utf8.RuneCountInString(line) > 80 {
				t.Errorf("%q is wider than the terminal", line)
			}
		}
		if text := strings.Join(lines, "\n"); height == 24 && !(strings.Contains(text, "more lines: `anycert audit` shows all\nCERTIFICATE ") && strings.Contains(text, "\nexample-5 ")) {
			t.Error(text)
		}
	}
}

// Elsewhere the reason stands in the line.
func TestWatchTellsWhyInLines(t *testing.T) {
	var out bytes.Buffer
	if err := (&lines{out: &out, said: map[string]string{}}).show(unkept(1)); err != nil {
		t.Fatal(err)
	}
	if want := ", 1 refused; is refused at prod web/example-0-tls: it belongs to someone else "; !strings.Contains(out.String(), want) {
		t.Errorf("%q is missing from %s", want, out.String())
	}
}

func TestFold(t *testing.T) {
	got := fold([]string{"one two three four", "short", "averyveryverylongword x", "ä ö ü ä ö ü ä"}, 10)
	want := []string{"one two", "  three", "  four", "short", "averyveryv", "  erylongw", "  ord x", "ä ö ü ä ö", "  ü ä"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestWatchIsNotTooOften(t *testing.T) {
	err := watching{look: reports("one"), every: time.Millisecond}.watch(t.Context())
	if err == nil || !strings.Contains(err.Error(), "1s is the least") {
		t.Error(err)
	}
}

// A terminal that gets another size is drawn anew at once, and nobody is asked for that.
func TestWatchFollowsTheTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		width, looks := 40, 0
		resized := make(chan os.Signal)
		go func() {
			time.Sleep(3 * time.Second)
			width = 60
			resized <- os.Interrupt
		}()
		look := reports("one")
		got := watchFor(t, 5*time.Second, watching{resized: resized, size: func() (int, int, error) { return width, 7, nil },
			look: func(ctx context.Context) *reconcile.Report { looks++; return look(ctx) }})
		if frames := strings.Count(got, "\x1b[2J"); frames != 2 || looks != 1 {
			t.Errorf("drawn %d times after %d looks: %q", frames, looks, got)
		}
	})
}

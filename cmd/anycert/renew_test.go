package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert/reconcile"
)

// some is three of four certificates, two of which are served.
func some() []reconcile.Renewed {
	later := time.Now().Add(time.Hour)
	return []reconcile.Renewed{
		{Name: "a", Version: 2, Renewed: true, Served: true, Settled: true},
		{Name: "b", Version: 2, Renewed: true, Served: true, Settled: true},
		{Name: "c", Version: 2, Renewed: true, Unserved: []string{"prod web/c-tls: broken"}},
		{Name: "d", Version: 1, Waits: &later, WaitsFor: "the CA's limit"},
	}
}

// The bar fits into the terminal, whatever its width.
func TestBar(t *testing.T) {
	for width, want := range map[int]string{
		120: "[#######################..............] 3 of 4 certificates renewed, 2 served everywhere, 1 waiting for the CA's limits",
		100: "[###############..........] 3 of 4 certificates renewed, 2 served everywhere, 1 waiting for the CA's limits",
		40:  "3 of 4 certificates renewed, 2 served e",
		1:   "",
		0:   "",
	} {
		got := bar(some(), width)
		if got != want && width != 100 || len(got) > max(width-1, 0) {
			t.Errorf("in %d columns: %q", width, got)
		}
	}
	if got := bar(nil, 80); !strings.Contains(got, "0 of 0") {
		t.Errorf("%q", got)
	}
}

// What is logged stands above the bar, which is gone in the end.
func TestBarAndLog(t *testing.T) {
	var out bytes.Buffer
	p := &progress{out: &out, width: func() int { return 80 }, said: map[string]string{}}
	p.told(some())
	shown := p.bar
	if _, err := p.Write([]byte("a line of the log\n")); err != nil {
		t.Fatal(err)
	}
	p.told(some()) // nothing new is not drawn
	p.end()
	p.end()
	const clear = "\r\x1b[K"
	if want := clear + shown + clear + "a line of the log\n" + clear + shown + clear; out.String() != want {
		t.Errorf("written:\n%q\nwant\n%q", out.String(), want)
	}
}

// A bar is for a terminal that did not ask for none; elsewhere there are lines, each once,
// and nothing steers a terminal.
func TestProgressWithoutATerminal(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	for name, env := range map[string]map[string]string{
		"a terminal":      {"TERM": "xterm", "NO_COLOR": ""},
		"NO_COLOR":        {"TERM": "xterm", "NO_COLOR": "1"},
		"a dumb terminal": {"TERM": "dumb", "NO_COLOR": ""},
	} {
		t.Run(name, func(t *testing.T) {
			for name, value := range env {
				t.Setenv(name, value)
			}
			a := &app{errOut: terminal}
			p := a.progress()
			if (p.width != nil) != (name == "a terminal") || a.errOut != p {
				t.Errorf("a bar: %v", p.width != nil)
			}
			if p.width != nil && p.width() != 80 { // as in many containers
				t.Errorf("a terminal that knows no width has %d columns", p.width())
			}
		})
	}
	var out bytes.Buffer
	p := (&app{errOut: &out}).progress()
	p.told(some())
	p.told(some())
	p.end()
	if text := out.String(); strings.Count(text, "\n") != 4 || strings.Contains(text, "\x1b") || !strings.Contains(text, "[3/4] c: renewed, but not seen served at prod web/c-tls: broken\n") {
		t.Errorf("written:\n%s", text)
	}
}

// Whoever is told to give the same command again must not replace by it what is done.
func TestWhatIsLeft(t *testing.T) {
	begun := time.Date(2026, 3, 1, 12, 0, 5, 0, time.UTC)
	foreign := reconcile.Renewed{Name: "e", Version: 2, Renewed: true, Served: true, Settled: true, Problem: "have it revoked by the CA that issued it"}
	goesOn := "a running daemon goes on with what is left, and so does the same command; once that is done, add --since 2026-03-01T12:00:05Z, so that nothing is replaced twice"
	for name, test := range map[string]struct {
		all  []reconcile.Renewed
		want string
	}{
		"all is done":                   {some()[:2], ""},
		"something is under way":        {some(), goesOn},
		"a person has to do the rest":   {append(some()[:2], foreign), "what is left only a person can do, see above: the same command would replace it once more"},
		"and something is under way":    {append(some(), foreign), goesOn},
		"nobody here can see it served": {[]reconcile.Renewed{{Name: "f", Version: 2, Renewed: true}}, goesOn},
	} {
		if got := left(test.all, begun); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

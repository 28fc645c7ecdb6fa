package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/anycert/anycert/reconcile"
)

// watching is what `status --watch` needs: how to look, and where to show it.
type watching struct {
	look    func(context.Context) *reconcile.Report
	every   time.Duration
	out     io.Writer
	size    func() (width, height int, err error) // of the terminal; nil where there is none
	resized <-chan os.Signal                      // tells that the terminal has another size
}

// leastEvery is how often one may look: each look asks the store and every sink.
const leastEvery = time.Second

// watch looks again and again, and shows what is new, until ctx ends: that is no failure.
func (w watching) watch(ctx context.Context) error {
	if w.every < leastEvery {
		return fmt.Errorf("--every %s: each look asks the store and every sink, so %s is the least", w.every, leastEvery)
	}
	show := (&lines{out: w.out, said: make(map[string]string)}).show
	if w.size != nil {
		screen := &screen{out: w.out, size: w.size}
		defer screen.leave()
		show = screen.show
	}
	ticker := time.NewTicker(w.every)
	defer ticker.Stop()
	for {
		report := w.look(ctx)
		if ctx.Err() != nil { // it was broken off: it tells nothing
			return nil
		}
		if err := show(report); err != nil {
			return fmt.Errorf("showing the status: %w", err)
		}
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				return nil
			case <-w.resized:
				if err := show(report); err != nil {
					return fmt.Errorf("showing the status: %w", err)
				}
			case <-ticker.C:
				waiting = false
			}
		}
	}
}

// terminal is the size of the terminal that is written to, or nil where there is none.
func (a *app) terminal() func() (width, height int, err error) {
	file, ok := a.out.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) || os.Getenv("TERM") == "dumb" {
		return nil
	}
	return func() (int, int, error) { return term.GetSize(int(file.Fd())) }
}

// lines shows each certificate in one line, and then each that has changed: for a log, a
// pipe, or a terminal that cannot be drawn on.
type lines struct {
	out  io.Writer
	said map[string]string
}

func (l *lines) show(report *reconcile.Report) error {
	var text bytes.Buffer
	say := func(about, line string) {
		if l.said[about] != line {
			fmt.Fprintf(&text, "%s %s\n", report.Time.UTC().Format("2006-01-02 15:04:05Z"), reconcile.Clean(line))
		}
		l.said[about] = line
	}
	standing, why := promisesOf(report), make(map[string]string)
	for _, shortfall := range report.Shortfalls() {
		why[shortfall.Certificate] += "; " + shortfall.Text
	}
	for _, difference := range report.WireDifferences() {
		why[difference.Certificate] += "; " + difference.Text
	}
	for _, c := range report.Certificates {
		say(c.Name, "certificate "+c.Name+": "+oneLine(c, standing[c.Name])+why[c.Name])
	}
	for i, note := range report.Notes {
		say(fmt.Sprint("note ", i), "note: "+note)
	}
	_, err := l.out.Write(text.Bytes())
	return err
}

// oneLine is how a certificate is, without what changes by itself as time goes by.
func oneLine(c reconcile.CertificateStatus, promises string) string {
	parts := []string{"no version yet"}
	if c.Version > 0 {
		parts[0] = fmt.Sprintf("version %d", c.Version)
	}
	if c.NotAfter != nil {
		parts = append(parts, "expires "+c.NotAfter.UTC().Format("2006-01-02 15:04Z"))
	}
	if c.Suspended {
		parts = append(parts, "suspended")
	}
	if promises != "" {
		parts = append(parts, promises)
	}
	text := strings.Join(parts, ", ")
	if c.Problem != "" {
		text += ": " + c.Problem
	}
	return text
}

// promisesOf is "11 kept, 1 broken, 2 behind on the wire" for each certificate.
func promisesOf(report *reconcile.Report) map[string]string {
	counts := make(map[string]map[reconcile.Verdict]int)
	wires := make(map[string]map[reconcile.WireState]int)
	for _, p := range report.Promises {
		if counts[p.Certificate] == nil {
			counts[p.Certificate], wires[p.Certificate] = make(map[reconcile.Verdict]int), make(map[reconcile.WireState]int)
		}
		counts[p.Certificate][p.Verdict]++
		if astray(p) {
			wires[p.Certificate][p.Wire.State]++
		}
	}
	texts := make(map[string]string, len(counts))
	for name, count := range counts {
		var parts []string
		for _, verdict := range reconcile.Verdicts() {
			if n := count[verdict]; n > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", n, verdict))
			}
		}
		for _, state := range reconcile.WireStates() {
			if n := wires[name][state]; n > 0 {
				parts = append(parts, fmt.Sprintf("%d %s on the wire", n, state))
			}
		}
		texts[name] = strings.Join(parts, ", ")
	}
	return texts
}

// astray reports whether a promise is kept, and the world was seen to be served something
// else. One that is not kept is told as that.
func astray(p reconcile.Promise) bool {
	return p.Verdict == reconcile.Kept && p.Wire != nil && p.Wire.State != reconcile.WireServed
}

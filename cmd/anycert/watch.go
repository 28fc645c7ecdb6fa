package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/anycert/anycert/reconcile"
)

// watching is what `status --watch` needs: how to look, and where to show it.
type watching struct {
	look  func(context.Context) *reconcile.Report
	every time.Duration
	out   io.Writer
	size  func() (width, height int, err error) // of the terminal; nil where there is none
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
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
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
	standing, wires := promisesOf(report), make(map[string]string)
	for _, difference := range report.WireDifferences() {
		wires[difference.Certificate] += "; " + difference.Text
	}
	for _, c := range report.Certificates {
		say(c.Name, "certificate "+c.Name+": "+oneLine(c, standing[c.Name])+wires[c.Name])
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

// screen draws on a terminal. Only lines that differ are written, so that nothing
// flickers; what was on the terminal before is there again at the end.
type screen struct {
	out           io.Writer
	size          func() (width, height int, err error)
	entered       bool
	width, height int
	shown         []string
}

func (s *screen) show(report *reconcile.Report) error {
	width, height, err := s.size()
	if err != nil || width < 1 || height < 2 {
		return errors.Join(err, errors.New("the terminal has no size"))
	}
	var text bytes.Buffer
	if !s.entered {
		text.WriteString("\x1b[?1049h\x1b[?25l") // the other screen, without a cursor
	}
	if !s.entered || width != s.width || height != s.height {
		text.WriteString("\x1b[2J")
		s.shown = nil
	}
	s.entered, s.width, s.height = true, width, height
	lines := fit(page(report), width, height)
	for i := range max(len(lines), len(s.shown)) {
		line, had := at(lines, i), at(s.shown, i)
		if line != had {
			fmt.Fprintf(&text, "\x1b[%d;1H%s\x1b[K", i+1, line)
		}
	}
	s.shown = lines
	_, err = s.out.Write(text.Bytes())
	return err
}

// leave gives the terminal back.
func (s *screen) leave() {
	if s.entered {
		fmt.Fprint(s.out, "\x1b[?25h\x1b[?1049l")
	}
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return ""
}

// page is what status shows, the most urgent first.
func page(report *reconcile.Report) []string {
	shown := *report
	shown.Certificates = slices.Clone(report.Certificates)
	ill := make(map[string]bool)
	for _, p := range report.Promises {
		ill[p.Certificate] = ill[p.Certificate] || p.Verdict != reconcile.Kept && p.Verdict != reconcile.Waiting || astray(p)
	}
	concern := func(c reconcile.CertificateStatus) int {
		switch {
		case c.Problem != "":
			return 0
		case ill[c.Name]:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(shown.Certificates, func(a, b reconcile.CertificateStatus) int { return cmp.Compare(concern(a), concern(b)) })
	var text bytes.Buffer
	fmt.Fprintf(&text, "%s   %s   Ctrl-C ends\n\n", report.Time.UTC().Format("2006-01-02 15:04:05Z"), report.Summary())
	shown.WriteProblems(&text)
	for _, difference := range report.WireDifferences() {
		fmt.Fprintln(&text, difference)
	}
	shown.WriteRequests(&text)
	shown.WriteCertificates(&text)
	return strings.Split(strings.TrimRight(text.String(), "\n"), "\n")
}

// fit cuts lines to what a terminal shows, and says how many are left out.
func fit(lines []string, width, height int) []string {
	if left := len(lines) - height; left > 0 {
		lines = append(slices.Clone(lines[:height-1]), fmt.Sprintf("… and %d more lines: `anycert status` shows all", left+1))
	}
	for i, line := range lines {
		if utf8.RuneCountInString(line) > width {
			lines[i] = string([]rune(line)[:width-1]) + "…"
		}
	}
	return lines
}

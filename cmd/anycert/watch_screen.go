package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/anycert/anycert/reconcile"
)

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
	lines := page(report, width, height)
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

// page is what status shows in a terminal, the most urgent first: what is wrong in whole
// sentences, as far as they leave half of the room to the table.
func page(report *reconcile.Report, width, height int) []string {
	head := []string{fmt.Sprintf("%s   %s   Ctrl-C ends", report.Time.UTC().Format("2006-01-02 15:04:05Z"), report.Summary()), ""}
	var told, table bytes.Buffer
	report.WriteProblems(&told)
	report.WriteShortfalls(&told)
	for _, difference := range report.WireDifferences() {
		fmt.Fprintln(&told, difference)
	}
	report.WriteWaits(&told)
	report.WriteRequests(&told)
	urgentFirst(report).WriteCertificatesNarrow(&table)
	rows := split(&table)
	room := max(height-len(rows), height/2) - len(head)
	return fit(slices.Concat(head, atMost(fold(split(&told), width), room, "audit"), rows), width, height)
}

func split(text *bytes.Buffer) []string {
	return strings.FieldsFunc(text.String(), func(r rune) bool { return r == '\n' })
}

// urgentFirst is a report with those certificates first that somebody has to look at.
func urgentFirst(report *reconcile.Report) *reconcile.Report {
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
	return &shown
}

// fold breaks lines between words where they are wider than a terminal.
func fold(lines []string, width int) (folded []string) {
	for _, line := range lines {
		rest := []rune(line)
		for len(rest) > width && width > len(indent) {
			end, next := width, width
			if at := lastSpace(rest[:width+1]); at > len(indent) {
				end, next = at, at+1
			}
			folded = append(folded, string(rest[:end]))
			rest = append([]rune(indent), rest[next:]...)
		}
		folded = append(folded, string(rest))
	}
	return folded
}

// indent begins what continues a line.
const indent = "  "

func lastSpace(text []rune) int {
	for i := len(text) - 1; i >= 0; i-- {
		if text[i] == ' ' {
			return i
		}
	}
	return -1
}

// atMost are the first n lines, with how many are left out in the last of them, and the
// verb that shows all.
func atMost(lines []string, n int, verb string) []string {
	if left := len(lines) - max(n, 1); left > 0 {
		return append(slices.Clone(lines[:max(n, 1)-1]), fmt.Sprintf("… and %d more lines: `anycert %s` shows all", left+1, verb))
	}
	return lines
}

// fit cuts lines to what a terminal shows.
func fit(lines []string, width, height int) []string {
	lines = slices.Clone(atMost(lines, height, "status"))
	for i, line := range lines {
		if utf8.RuneCountInString(line) > width {
			lines[i] = string([]rune(line)[:width-1]) + "…"
		}
	}
	return lines
}

package reconcile

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"
)

// Paint colours the words of a verdict for a terminal. Plain leaves them.
type Paint func(verdict Verdict, words string) string

// Plain is the Paint of everything that is no terminal.
func Plain(_ Verdict, words string) string { return words }

// Colours is the Paint of a terminal: green is calm, red wants a hand.
func Colours(verdict Verdict, words string) string {
	code := "31" // red
	switch verdict {
	case Kept:
		code = "32" // green
	case Waiting, Held:
		code = "33" // yellow
	}
	return "\x1b[" + code + "m" + words + "\x1b[0m"
}

// WritePromises shows the promises to people, one a line with what was seen and what
// was or will be done, and a line that counts them.
func (r *Report) WritePromises(w io.Writer, paint Paint) {
	rows := make([][]string, len(r.Promises))
	for i, p := range r.Promises {
		rows[i] = []string{p.Certificate, p.Sink, p.Target, string(p.Verdict), p.Words()}
	}
	writeTable(w, []string{"CERTIFICATE", "SINK", "TARGET", "VERDICT", ""}, rows, func(row int, line string) string {
		verdict := r.Promises[row].Verdict
		return strings.Replace(line, " "+string(verdict)+" ", " "+paint(verdict, string(verdict))+" ", 1)
	})
	fmt.Fprintln(w, r.Summary())
	r.writeWire(w)
	r.writeRest(w)
}

// Words say what was seen of a promise and what is done about it: the same words in
// a plan, a table and a log.
func (p Promise) Words() string {
	var words string
	switch {
	case p.Pushed && p.Verdict == Kept, p.Pushed && p.Verdict == Waiting && p.Reason == "":
		words = past(p.Action) + " (was: " + p.Because + ")"
	case p.Pushed && p.Verdict == Waiting:
		words = past(p.Action) + " (was: " + p.Because + "); now: " + p.Reason
	case p.arrived() && p.Verdict == Unknown:
		words = past(p.Action) + " (was: " + p.Because + "), but not seen again: " + p.Reason
	case p.Pushed, p.Action != None && p.Err != nil:
		words = "could not " + string(p.Action) + ": " + p.Reason
	case p.Action != None:
		words = "to " + string(p.Action) + ": " + p.Reason
	case p.Verdict == Kept && p.Evidence != "" && p.Evidence != "exact":
		words = "seen by " + string(p.Evidence) + " only"
	default:
		words = p.Reason
	}
	return Clean(words)
}

func past(action Action) string {
	switch action {
	case Create:
		return "created"
	case Replace:
		return "replaced"
	case Mend:
		return "mended"
	}
	return string(action)
}

// Summary counts the promises in one line: "12 promises: 11 kept, 1 broken".
func (r *Report) Summary() string {
	switch {
	case len(r.Promises) == 0 && len(r.frozen()) > 0:
		return "no promises: what is declared is suspended"
	case len(r.Promises) == 0:
		return "no promises: no sink has a certificate"
	case len(r.Promises) == 1:
		return "1 promise: " + counts(r.Count())
	}
	return fmt.Sprintf("%d promises: %s", len(r.Promises), counts(r.Count()))
}

// counts is "11 kept, 1 broken".
func counts(count map[Verdict]int) string {
	var parts []string
	for _, verdict := range Verdicts() {
		if count[verdict] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count[verdict], verdict))
		}
	}
	return strings.Join(parts, ", ")
}

// writeRest names what a person must look after: certificates with a problem, what
// is left over, what could not be listed.
func (r *Report) writeRest(w io.Writer) {
	r.WriteProblems(w)
	for _, o := range r.Orphans {
		fmt.Fprintf(w, "orphan: %s at sink %s carries our mark of %s for certificate %s and is no longer declared: `anycert prune --yes` deletes it\n",
			Clean(o.Label), o.Sink, stamp(o.Time), Clean(o.Certificate))
	}
	for _, l := range r.Lookalikes {
		fmt.Fprintf(w, "look-alike: %s at sink %s is not ours and is for names of certificate %s: %s\n",
			Clean(l.Label), l.Sink, l.Certificate, Clean(l.about()))
	}
	if len(r.Undeclared) > 0 {
		fmt.Fprintf(w, "in the store but not declared, and pushed nowhere: %s\n", Clean(strings.Join(r.Undeclared, ", ")))
	}
	if frozen := r.frozen(); len(frozen) > 0 {
		fmt.Fprintf(w, "suspended, not looked at: %s\n", strings.Join(frozen, ", "))
	}
	r.WriteNotes(w)
}

// WriteNotes says what could not be listed, or not be known.
func (r *Report) WriteNotes(w io.Writer) {
	for _, note := range r.Notes {
		fmt.Fprintf(w, "note: %s\n", Clean(note))
	}
}

// frozen names what the configuration suspends.
func (r *Report) frozen() []string {
	var frozen []string
	for _, sink := range r.Suspended {
		frozen = append(frozen, "sink "+sink)
	}
	for _, c := range r.Certificates {
		if c.Suspended {
			frozen = append(frozen, "certificate "+c.Name)
		}
	}
	return frozen
}

// writeTable aligns rows under their heads; each finished line passes through change.
func writeTable(w io.Writer, head []string, rows [][]string, change func(row int, line string) string) {
	if len(rows) == 0 {
		return
	}
	var out bytes.Buffer
	table := tabwriter.NewWriter(&out, 0, 0, 3, ' ', 0)
	for _, row := range append([][]string{head}, rows...) {
		for i, cell := range row {
			row[i] = Clean(cell)
		}
		fmt.Fprintln(table, strings.Join(row, "\t"))
	}
	_ = table.Flush() // into memory
	for i, line := range strings.Split(strings.TrimRight(out.String(), "\n"), "\n") {
		line = strings.TrimRight(line, " ")
		if i > 0 && change != nil {
			line = change(i-1, line+" ")
		}
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
}

// Clean makes text from elsewhere fit for one line of a terminal: control
// characters and what steers a terminal are shown, not sent.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == unicode.ReplacementChar:
			return '·'
		}
		return r
	}, text)
}

// CleanLines is Clean for text of several lines.
func CleanLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = Clean(line)
	}
	return strings.Join(lines, "\n")
}

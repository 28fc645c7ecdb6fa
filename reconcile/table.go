package reconcile

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
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
	r.writeRest(w)
}

// Words say what was seen of a promise and what is done about it: the same words in
// a plan, a table and a log.
func (p Promise) Words() string {
	var words string
	switch {
	case p.Pushed && p.Verdict == Kept, p.Pushed && p.Verdict == Waiting && p.Reason == "":
		words = past(p.Action) + ": " + p.Because
	case p.Pushed && p.Verdict == Waiting:
		words = past(p.Action) + ": " + p.Because + "; now " + p.Reason
	case p.Pushed:
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
	count := r.Count()
	var parts []string
	for _, verdict := range Verdicts() {
		if count[verdict] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count[verdict], verdict))
		}
	}
	switch len(r.Promises) {
	case 0:
		return "no promises: no sink has a certificate"
	case 1:
		return "1 promise: " + strings.Join(parts, ", ")
	}
	return fmt.Sprintf("%d promises: %s", len(r.Promises), strings.Join(parts, ", "))
}

// writeRest names what a person must look after: certificates with a problem, what
// is left over, what could not be listed.
func (r *Report) writeRest(w io.Writer) {
	for _, c := range r.Certificates {
		if c.Problem != "" {
			fmt.Fprintf(w, "certificate %s: %s\n", c.Name, Clean(c.Problem))
		}
	}
	for _, o := range r.Orphans {
		fmt.Fprintf(w, "orphan: %s at sink %s carries our mark of %s for certificate %s and is no longer declared: `anycert prune` shows and deletes it\n",
			Clean(o.Label), o.Sink, stamp(o.Time), Clean(o.Certificate))
	}
	if len(r.Undeclared) > 0 {
		fmt.Fprintf(w, "in the store but not declared, and pushed nowhere: %s\n", Clean(strings.Join(r.Undeclared, ", ")))
	}
	if len(r.Suspended) > 0 {
		fmt.Fprintf(w, "suspended, not looked at: %s\n", strings.Join(r.Suspended, ", "))
	}
	for _, note := range r.Notes {
		fmt.Fprintf(w, "note: %s\n", Clean(note))
	}
}

// WriteCertificates shows every certificate: what it is, until when, and when and why
// it is next obtained.
func (r *Report) WriteCertificates(w io.Writer) {
	rows := make([][]string, len(r.Certificates))
	for i, c := range r.Certificates {
		rows[i] = []string{c.Name, strings.Join(c.Domains, " "), dash(c.Issuer), version(c), expiry(c, r.Time), renewal(c, r.Time), r.promisesOf(c.Name)}
	}
	writeTable(w, []string{"CERTIFICATE", "NAMES", "ISSUER", "VERSION", "EXPIRES", "RENEWAL", "PROMISES"}, rows, nil)
}

func version(c CertificateStatus) string {
	if c.Version == 0 {
		return "-"
	}
	return fmt.Sprint(c.Version)
}

func expiry(c CertificateStatus, now time.Time) string {
	if c.NotAfter == nil {
		return "-"
	}
	return c.NotAfter.UTC().Format("2006-01-02 15:04Z") + " (" + distance(c.NotAfter.Sub(now)) + ")"
}

func renewal(c CertificateStatus, now time.Time) string {
	switch {
	case c.Suspended:
		return "suspended"
	case c.Renewal == nil:
		return "-"
	case !now.Before(*c.Renewal):
		return "now: " + c.Why
	}
	return c.Renewal.UTC().Format("2006-01-02 15:04Z") + ": " + c.Why
}

// distance is a duration in the one unit that people think in.
func distance(d time.Duration) string {
	if d < 0 {
		return distance(-d) + " ago"
	}
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	}
	return fmt.Sprintf("%d minutes", int(d.Minutes()))
}

func (r *Report) promisesOf(certificate string) string {
	one := Report{}
	for _, p := range r.Promises {
		if p.Certificate == certificate {
			one.Promises = append(one.Promises, p)
		}
	}
	if len(one.Promises) == 0 {
		return "-"
	}
	_, counts, _ := strings.Cut(one.Summary(), ": ")
	return counts
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// writeTable aligns rows under their heads; each finished line passes through change.
func writeTable(w io.Writer, head []string, rows [][]string, change func(row int, line string) string) {
	if len(rows) == 0 {
		return
	}
	var out bytes.Buffer
	table := tabwriter.NewWriter(&out, 0, 0, 3, ' ', 0)
	for _, row := range append([][]string{head}, rows...) {
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

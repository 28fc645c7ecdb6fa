package reconcile

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// WriteCertificates shows every certificate: what it is, until when, when and why it
// is next obtained, and how its promises stand. A column that would be empty is left
// out. Names are the last: they may be a hundred, and none is left out for grep.
func (r *Report) WriteCertificates(w io.Writer) {
	r.writeCertificates(w, "CERTIFICATE", "ISSUER", "VERSION", "EXPIRES", "RENEWAL", "PROMISES", "OWNER", "DESCRIPTION", "NAMES")
}

// WriteCertificatesNarrow is WriteCertificates for a terminal that cuts what does not fit:
// how the promises stand comes first.
func (r *Report) WriteCertificatesNarrow(w io.Writer) {
	r.writeCertificates(w, "CERTIFICATE", "PROMISES", "VERSION", "EXPIRES", "RENEWAL", "ISSUER", "OWNER", "DESCRIPTION", "NAMES")
}

func (r *Report) writeCertificates(w io.Writer, columns ...string) {
	if len(r.Certificates) == 0 {
		fmt.Fprintln(w, "no certificates are declared")
		return
	}
	promises := make(map[string]map[Verdict]int)
	for _, p := range r.Promises {
		if promises[p.Certificate] == nil {
			promises[p.Certificate] = make(map[Verdict]int)
		}
		promises[p.Certificate][p.Verdict]++
	}
	rows := [][]string{columns}
	for _, c := range r.Certificates {
		cells := map[string]string{"CERTIFICATE": c.Name, "ISSUER": c.Issuer, "VERSION": version(c), "EXPIRES": expiry(c, r.Time),
			"RENEWAL": renewal(c, r.Time), "PROMISES": counts(promises[c.Name]), "OWNER": c.Owner, "DESCRIPTION": c.Description,
			"NAMES": strings.Join(c.Domains, " ")}
		row := make([]string, len(columns))
		for i, column := range columns {
			row[i] = cells[column]
		}
		rows = append(rows, row)
	}
	rows = withoutEmptyColumns(rows)
	for _, row := range rows {
		for i := range row {
			row[i] = dash(row[i])
		}
	}
	writeTable(w, rows[0], rows[1:], nil)
}

func withoutEmptyColumns(rows [][]string) [][]string {
	for i := len(rows[0]) - 1; i >= 0; i-- {
		if slices.ContainsFunc(rows[1:], func(row []string) bool { return row[i] != "" }) {
			continue
		}
		for j := range rows {
			rows[j] = slices.Delete(rows[j], i, i+1)
		}
	}
	return rows
}

// WriteProblems names each certificate that could not be read, obtained or served,
// what it is for and whom to ask, and why.
func (r *Report) WriteProblems(w io.Writer) {
	for _, c := range r.Certificates {
		if c.Problem == "" {
			continue
		}
		about := c.Description
		if c.Owner != "" {
			about = strings.TrimPrefix(about+"; ask "+c.Owner, "; ")
		}
		if about != "" {
			about = " (" + about + ")"
		}
		fmt.Fprintln(w, Clean("certificate "+c.Name+about+": "+c.Problem))
	}
}

// WriteWaits names what waits for a limit of a CA, and for which, and the promises that
// wait, and why.
func (r *Report) WriteWaits(w io.Writer) {
	for _, c := range r.Certificates {
		if c.Waits != nil && !c.Suspended {
			fmt.Fprintln(w, Clean("certificate "+c.Name+" waits: "+c.WaitsFor))
		}
	}
	for _, s := range r.Shortfalls() {
		if s.Verdict == Waiting {
			fmt.Fprintln(w, s)
		}
	}
}

// WriteShortfalls says of the promises that are neither kept nor waiting, why.
func (r *Report) WriteShortfalls(w io.Writer) {
	for _, s := range r.Shortfalls() {
		if s.Verdict != Waiting {
			fmt.Fprintln(w, s)
		}
	}
}

// WriteRequests names what people asked for and is not done, and how it stands.
func (r *Report) WriteRequests(w io.Writer) {
	for _, c := range r.Certificates {
		if c.Request != nil {
			fmt.Fprintln(w, Clean("certificate "+c.Name+": "+c.Request.Words(c.Version, r.Time)))
		}
	}
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
	case c.Waits != nil:
		return "waits until " + c.Waits.UTC().Format("2006-01-02 15:04Z") + ": see below"
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
	if minutes := int(d.Minutes()); minutes != 1 {
		return fmt.Sprintf("%d minutes", minutes)
	}
	return "1 minute"
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

package reconcile

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Words tell people how far one certificate has come.
func (r Renewed) Words() string {
	switch {
	case !r.Renewed && r.Waits != nil:
		return "waits until " + stamp(*r.Waits) + ": " + r.WaitsFor
	case !r.Renewed && r.Problem != "":
		return "not renewed: " + r.Problem
	case !r.Renewed:
		return "not renewed yet"
	}
	words := "renewed"
	switch {
	case r.nowhere:
		words += "; no sink of this configuration has it, so nobody here can tell where it is served"
	case r.Served:
		words += ", and served everywhere"
	default:
		words += ", but not seen served at " + strings.Join(together(r.Unserved), "; ")
	}
	return words + r.revocation()
}

// together puts places that lack something for the same reason before it, each being
// written as PLACE: REASON.
func together(lacks []string) []string {
	var reasons []string
	places := make(map[string][]string)
	for _, lack := range lacks {
		place, why, _ := strings.Cut(lack, ": ")
		if places[why] == nil {
			reasons = append(reasons, why)
		}
		places[why] = append(places[why], place)
	}
	for i, why := range reasons {
		reasons[i] = strings.TrimSuffix(strings.Join(places[why], ", ")+": "+why, ": ")
	}
	return reasons
}

// revocation tells what became, or becomes, of the old one.
func (r Renewed) revocation() string {
	old, revoked := fmt.Sprintf("version %d", r.request.Version), "revoked"
	if r.request.Compromised {
		old, revoked = "every certificate with the key of "+old, "revoked, and the key destroyed in the store"
	}
	switch {
	case !r.request.Revokes() && r.Problem != "":
		return "; " + r.Problem
	case !r.request.Revokes():
		return ""
	case r.Settled && r.Problem != "":
		return "; " + old + " is done with: " + r.Problem
	case r.Settled:
		return "; " + old + " is " + revoked
	case r.Problem != "":
		return "; " + old + " is not yet " + revoked + ": " + r.Problem
	}
	return fmt.Sprintf("; %s is to be %s, as soon as every place serves the new one, or at %s", old, revoked, stamp(r.request.Deadline))
}

// WriteRenewed shows people how far each certificate has come, and a line that counts.
func WriteRenewed(w io.Writer, all []Renewed) {
	var rows [][]string
	for _, r := range all {
		rows = append(rows, []string{r.Name, version(CertificateStatus{Version: r.Version}), r.Words()})
	}
	writeTable(w, []string{"CERTIFICATE", "VERSION", ""}, rows, nil)
	fmt.Fprintln(w, RenewedSummary(all))
}

// RenewedSummary is "14 certificates: 9 renewed, 8 of them served everywhere, 2 wait for
// the CA's limits".
func RenewedSummary(all []Renewed) string {
	var renewed, served, waiting int
	for _, r := range all {
		switch {
		case r.Renewed && r.Served:
			renewed, served = renewed+1, served+1
		case r.Renewed:
			renewed++
		case r.Waits != nil:
			waiting++
		}
	}
	text := fmt.Sprintf("%d of %s renewed, %d served everywhere", renewed, certificates(len(all)), served)
	if waiting > 0 {
		text += fmt.Sprintf(", %d waiting for the CA's limits", waiting)
	}
	return text
}

func certificates(n int) string {
	if n == 1 {
		return "1 certificate"
	}
	return fmt.Sprintf("%d certificates", n)
}

// WriteTurns shows people the order of work, and how long the CA's limits make it take.
func WriteTurns(w io.Writer, turns []Turn, now time.Time) {
	var rows [][]string
	var last Turn
	waiting := 0
	for i, t := range turns {
		begins := "at once"
		if t.At.After(now) {
			begins, waiting = stamp(t.At)+" (in "+distance(t.At.Sub(now))+")", waiting+1
		}
		if last.At.Before(t.At) {
			last = t
		}
		why := t.Why
		if t.Limit != "" {
			why += "; " + t.Limit
		}
		if t.Reason != "" {
			why += "; " + t.Reason
		}
		rows = append(rows, []string{fmt.Sprint(i + 1), t.Certificate, t.Issuer, t.Urgency, begins, why})
	}
	writeTable(w, []string{"", "CERTIFICATE", "ISSUER", "URGENCY", "BEGINS", "WHY THEN"}, rows, nil)
	switch {
	case len(turns) == 0:
		fmt.Fprintln(w, "nothing is to be renewed")
	case waiting == 0 && len(turns) == 1:
		fmt.Fprintln(w, "1 certificate: the CA's limits let it begin at once")
	case len(turns) == 1:
		fmt.Fprintf(w, "1 certificate: the CA's limits let it begin at %s: in %s\n", stamp(last.At), distance(last.At.Sub(now)))
	case waiting == 0:
		fmt.Fprintf(w, "%s: the CA's limits let all of them begin at once, %d at a time\n", certificates(len(turns)), ordersAtOnce)
	default:
		fmt.Fprintf(w, "%s: the CA's limits let %d begin at once, and the last one, %s, at %s: in %s\n",
			certificates(len(turns)), len(turns)-waiting, last.Certificate, stamp(last.At), distance(last.At.Sub(now)))
	}
}

// Renewing counts for a bar: how many of all are replaced, and how many are done with.
func Renewing(all []Renewed) (renewed, done int) {
	for _, r := range all {
		if r.Renewed {
			renewed++
		}
		if r.Done() {
			done++
		}
	}
	return renewed, done
}

// AllDone reports whether nothing is left to be done.
func AllDone(all []Renewed) bool {
	return !slices.ContainsFunc(all, func(r Renewed) bool { return !r.Done() || r.Problem != "" })
}

package web

import (
	"fmt"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/reconcile"
)

// failure is how the attempts to obtain a certificate failed, and what is to be done.
type failure struct {
	Turn string // whose it is
	Text string
	Past string
	Next string
}

func newFailure(c *reconcile.CertificateView, now time.Time) *failure {
	f := c.Failure
	if f == nil {
		return nil
	}
	shown := &failure{Text: f.Text, Past: fmt.Sprintf("%s since %s, the last %s", plural(f.Attempts, "attempt"), stamp(f.Since), ago(now.Sub(f.Last)))}
	switch f.Class {
	case anycert.ToMend:
		shown.Turn = "It fails until somebody mends this."
	case anycert.OfCA:
		shown.Turn = "The failure is on the CA's side; another issuer is asked where one is configured."
	default:
		shown.Turn = "It passes by itself, or is tried again."
	}
	if f.Next.After(now) {
		shown.Next = "It is tried again " + distance(f.Next.Sub(now)) + ", at " + stamp(f.Next) + "."
	}
	return shown
}

// changeRow is one change.
type changeRow struct {
	reconcile.Change
	Age string
}

func changeRows(changes []reconcile.Change, most int, now time.Time) []changeRow {
	var rows []changeRow
	for _, c := range changes[:min(len(changes), most)] {
		rows = append(rows, changeRow{c, ago(now.Sub(c.Time))})
	}
	return rows
}

// changesOf are the ones of a certificate.
func changesOf(name string, view *reconcile.View) []changeRow {
	var of []reconcile.Change
	for _, c := range view.Changes {
		if c.Certificate == name {
			of = append(of, c)
		}
	}
	return changeRows(of, changesOnPage, view.Time)
}

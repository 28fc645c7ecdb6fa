package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/reconcile"
)

// pulled is one line of what pull says, and how it counts.
type pulled struct {
	what, did, where, why string
	got, behind, failed   bool
}

// pullTable tells for each certificate and file what was done, or with check what would
// have to be. What policy denies is no failure, unless it was asked for by name or
// nothing else came.
type pullTable struct {
	dir   string
	named []string // asked for by name
	check bool

	rows                []pulled
	got, behind, failed int
}

func (t *pullTable) add(row pulled) {
	t.rows = append(t.rows, row)
	for count, is := range map[*int]bool{&t.got: row.got, &t.behind: row.behind, &t.failed: row.failed} {
		if is {
			*count++
		}
	}
}

func (t *pullTable) promise(p reconcile.Promise) {
	row := pulled{what: p.Certificate, where: "-"}
	switch {
	case p.Verdict == reconcile.Kept:
		row.got = true
		row.did, row.where, row.why = "unchanged", filepath.Join(t.dir, p.Certificate), fmt.Sprintf("version %d, %s", p.Version, until(p))
		if p.Pushed {
			row.did = "written"
		}
	case isDenied(p):
		row.did, row.why = "denied", cmp.Or(p.StoreErr(), p.Err).Error()
		row.failed = slices.Contains(t.named, p.Certificate)
	case errors.Is(p.StoreErr(), anycert.ErrNotFound) && p.Verdict == reconcile.Waiting:
		row.failed = true
		row.did, row.why = "missing", "the store has no certificate of this name yet"
	case t.check && p.Verdict == reconcile.Broken && p.Err == nil:
		row.behind = true
		row.did, row.where, row.why = "behind", filepath.Join(t.dir, p.Certificate), p.Reason
	default:
		row.failed = true
		row.did, row.why = string(p.Verdict), p.Words()
	}
	t.add(row)
}

// write shows the lines and tells the exit code by its error.
func (t *pullTable) write(w io.Writer) error {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 3, ' ', 0)
	for _, row := range t.rows {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", reconcile.Clean(row.what), row.did, reconcile.Clean(row.where), reconcile.Clean(row.why))
	}
	_ = table.Flush() // into memory
	for line := range strings.Lines(text.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	switch {
	case t.failed > 0 || t.got+t.behind == 0:
		return exit(reconcile.ExitFailed)
	case t.behind > 0:
		return exit(reconcile.ExitDiffers)
	}
	return nil
}

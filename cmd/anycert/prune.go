package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/anycert/anycert/reconcile"
)

func (a *app) pruneCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Show orphans, and delete them with --yes",
		Long: `Show the objects that carry this hub's mark and belong to no declared target any
more; with --yes, delete them. Each is looked at once more before it is deleted: one
that lost our mark or is in use stays. Nothing else in anycert deletes at a place.

Exit code: 0 all were listed and, with --yes, deleted; 1 otherwise.`,
		Example: `  anycert prune
  anycert prune --yes`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			hub, end, err := a.hub()
			if err != nil {
				return err
			}
			defer end()
			report := hub.Orphans(cmd.Context())
			for _, note := range report.Notes {
				fmt.Fprintf(a.errOut, "anycert: %s\n", reconcile.Clean(note))
			}
			if len(report.Orphans) == 0 && len(report.Notes) == 0 {
				fmt.Fprintln(a.out, "nothing is left over")
			}
			failed := len(report.Notes) > 0
			for _, orphan := range report.Orphans {
				what := fmt.Sprintf("%s at sink %s (certificate %s, version of %s)", reconcile.Clean(orphan.Label), orphan.Sink,
					reconcile.Clean(orphan.Certificate), orphan.Time.UTC().Format(time.RFC3339))
				if !yes {
					fmt.Fprintln(a.out, "would delete", what)
					continue
				}
				if err := hub.Remove(cmd.Context(), orphan); err != nil {
					failed = true
					fmt.Fprintf(a.errOut, "anycert: %s\n", reconcile.Clean(err.Error()))
					continue
				}
				fmt.Fprintln(a.out, "deleted", what)
			}
			if !yes && len(report.Orphans) > 0 {
				fmt.Fprintln(a.out, "nothing was deleted: `anycert prune --yes` deletes them")
			}
			if failed {
				return errors.New("not everything could be listed or deleted, see above")
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "delete what is shown")
	return cmd
}

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/anycert/anycert/reconcile"
)

func (a *app) statusCommand() *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show every certificate: version, expiry, next renewal and why, promises",
		Long: `Show every declared certificate with its names, issuer, version, expiry, when and
why it is next obtained, and how its promises stand. Like audit it changes nothing
and reads no key.

Exit code: 0 everything could be told and no certificate has a problem; 1 otherwise.`,
		Example: `  anycert status
  anycert status -o json | jq -r '.certificates[] | [.name, .not_after] | @tsv'`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			hub, end, err := a.hub()
			if err != nil {
				return err
			}
			defer end()
			report := hub.Status(cmd.Context())
			err = out.write(a.out, report, func() {
				report.WriteCertificates(a.out)
				report.WriteProblems(a.out)
				report.WriteWaits(a.out)
				report.WriteRequests(a.out)
				report.WriteNotes(a.out)
				if report.Has(reconcile.Broken, reconcile.Held, reconcile.Refused, reconcile.Unknown) {
					fmt.Fprintln(a.out, "why a promise is not kept: `anycert audit`")
				}
			})
			if err != nil {
				return err
			}
			return exit(report.StatusExit())
		},
	}
	out.flag(cmd)
	return cmd
}

package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/anycert/anycert/reconcile"
)

func (a *app) syncCommand() *cobra.Command {
	var (
		out     output
		only    *string
		options reconcile.SyncOptions
	)
	cmd := &cobra.Command{
		Use:   "sync",
		Short: "Issue what is due, make every place agree with the store, and stop",
		Long: `Obtain the certificates that are due, then do one pass: look at every target and
push the store's version where it differs. What was pushed is looked at again before
it is reported.

Beside a running daemon it is safe: an order that another process is at is left to it.

Exit code: 0 all promises are kept, or wait for something outside; 1 something
failed, was refused or is held.`,
		Example: `  anycert sync
  anycert sync --no-issue --only prod/web/example-tls
  anycert sync --yes                     # what the brake holds is right
  anycert sync --accept-store example    # the store went back on purpose`,
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
			if options.Only, err = parseOnly(*only, hub); err != nil {
				return err
			}
			if err := declared(hub, options.AcceptStore); err != nil {
				return fmt.Errorf("--accept-store: %w", err)
			}
			report := hub.Sync(cmd.Context(), options)
			if err := out.write(a.out, report, func() { report.WritePromises(a.out, a.paint()) }); err != nil {
				return err
			}
			if cmd.Context().Err() != nil {
				return fmt.Errorf("interrupted (%w): what was not reached is as it was, run it again", context.Cause(cmd.Context()))
			}
			return exit(report.SyncExit())
		},
	}
	out.flag(cmd)
	flags := cmd.Flags()
	only = a.onlyFlag(cmd, "obtain what belongs to one `SINK[/TARGET]`, and push there alone")
	flags.BoolVar(&options.NoIssue, "no-issue", false, "obtain nothing, push only")
	flags.DurationVar(&options.Timeout, "timeout", 10*time.Minute, "how long to wait for certificates that are being obtained")
	flags.BoolVar(&options.Unbraked, "yes", false, "let through what the brake holds: many valid certificates replaced at once")
	flags.StringSliceVar(&options.AcceptStore, "accept-store", nil, "believe the store about certificate `NAME` although it went back")
	_ = cmd.RegisterFlagCompletionFunc("accept-store", a.certificateNames)
	return cmd
}

// declared tells which of names is no certificate of the configuration.
func declared(hub *reconcile.Hub, names []string) error {
	var known []string
	for _, c := range hub.Certificates {
		known = append(known, c.Name)
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return fmt.Errorf("there is no certificate %q in the configuration%s", name, instead(name, known))
		}
	}
	return nil
}

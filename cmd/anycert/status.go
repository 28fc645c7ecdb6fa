package main

import (
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) statusCommand() *cobra.Command {
	var (
		out   output
		watch bool
		every time.Duration
	)
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show every certificate: version, expiry, next renewal and why, promises",
		Long: `Show every declared certificate with its names, issuer, version, expiry, when and
why it is next obtained, and how its promises stand, with the reason where one is not
kept. Like audit it changes nothing and reads no key; what the world is served is seen
by audit and --watch alone.

With --watch it looks again every 10 s until Ctrl-C, and shows on a terminal what is
so now, the most urgent first, and elsewhere a line for each change; and, as audit does,
what the world is served where that is not what it should be. The status page of
` + "`anycert run`" + ` shows the same, and more, in a browser.

Exit code: 0 everything could be told and no certificate has a problem, or --watch was
ended; 1 otherwise.`,
		Example: `  anycert status
  anycert status --watch
  anycert status -o json | jq -r '.certificates[] | [.name, .not_after] | @tsv'`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if watch && out.format != "text" {
				return errors.New("--watch is for people: leave out -o json, or ask /api/v1/ of `anycert run`")
			}
			hub, end, err := a.hub()
			if err != nil {
				return err
			}
			defer end()
			if watch {
				resized := make(chan os.Signal, 1)
				signal.Notify(resized, syscall.SIGWINCH)
				defer signal.Stop(resized)
				return watching{look: hub.StatusAgain(), every: every, out: a.out, size: a.terminal(), resized: resized}.watch(cmd.Context())
			}
			report := hub.Status(cmd.Context())
			err = out.write(a.out, report, func() {
				report.WriteCertificates(a.out)
				report.WriteProblems(a.out)
				report.WriteShortfalls(a.out)
				report.WriteWaits(a.out)
				report.WriteRequests(a.out)
				report.WriteNotes(a.out)
			})
			if err != nil {
				return err
			}
			return exit(report.StatusExit())
		},
	}
	out.flag(cmd)
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "look again and again, until Ctrl-C")
	cmd.Flags().DurationVar(&every, "every", 10*time.Second, "how often --watch looks")
	return cmd
}

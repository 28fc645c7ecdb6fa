package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/anycert/anycert/internal/config"
	"github.com/anycert/anycert/reconcile"
)

// probeTimeout is for each part that check --connect tries, but for those that take
// longer by their nature.
const probeTimeout = 30 * time.Second

func (a *app) checkCommand() *cobra.Command {
	var connect, noTrial bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the configuration; with --connect, try every part as well",
		Long: `Check the configuration file: every mistake is told at once, with its line and
column. With --connect, also try the store, each issuer and each sink with the rights
that they have, and look for what would make the CA refuse a certificate: in the
delegation and the name servers of its zones, in the CNAME at _acme-challenge, in CAA
records, in DNSSEC. Nothing is changed, but for one TXT record at each _acme-challenge
name, which is written, looked for and removed: only that tells whether the DNS
credential suffices. --no-trial leaves it out. Receivers of alarms are tried, and told
nothing.

Exit code: 0 all is well; 1 the configuration has a mistake, or a part cannot be used.`,
		Example: `  anycert check --config config.yaml
  anycert check --connect
  anycert check --connect --no-trial`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := a.path()
			if err != nil {
				return err
			}
			graph, err := a.open()
			if err != nil {
				return err
			}
			defer a.close(graph)
			warnings := graph.Warnings
			if warning := config.Exposed(path); warning != "" {
				warnings = append([]string{warning}, warnings...)
			}
			for _, warning := range warnings {
				fmt.Fprintf(a.errOut, "warning: %s\n", reconcile.Clean(warning))
			}
			fmt.Fprintf(a.out, "%s is good: %s, %s\n", reconcile.Clean(path),
				count(len(graph.Certificates), "certificate"), count(len(graph.Agents), "sink"))
			if !connect {
				return nil
			}
			return a.tryAll(cmd.Context(), graph.Probes(!noTrial))
		},
	}
	cmd.Flags().BoolVar(&connect, "connect", false, "try every part that the configuration names")
	cmd.Flags().BoolVar(&noTrial, "no-trial", false, "with --connect, write no trial records into the DNS")
	return cmd
}

func (a *app) tryAll(ctx context.Context, probes []config.Probe) error {
	failed := 0
	for _, probe := range probes {
		if !a.try(ctx, probe) {
			failed++
		}
	}
	if failed == 0 {
		return nil
	}
	return fmt.Errorf("%d of %s cannot be used, see above: where one was not reached, check its address, the network and that it runs; where it denied, the credential and its rights",
		failed, count(len(probes), "part"))
}

// try tries one part, says how it went, and reports whether it went well.
func (a *app) try(ctx context.Context, probe config.Probe) bool {
	ctx, cancel := context.WithTimeout(ctx, max(probeTimeout, probe.AtLeast))
	defer cancel()
	err := probe.Try(ctx)
	var warning config.Warning
	switch {
	case errors.As(err, &warning):
		fmt.Fprintf(a.out, "%s: ok, but %s\n", probe.Part, reconcile.Clean(warning.Error()))
		return true
	case err != nil:
		text := strings.TrimPrefix(err.Error(), probe.Part+": ") // some say it themselves
		fmt.Fprintf(a.out, "%s: %s\n", probe.Part, reconcile.Clean(text))
		return false
	}
	fmt.Fprintf(a.out, "%s: ok\n", probe.Part)
	return true
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

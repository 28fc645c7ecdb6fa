package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/reconcile"
)

// probeTimeout is for each part that check --connect tries.
const probeTimeout = 30 * time.Second

func (a *app) checkCommand() *cobra.Command {
	var connect bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the configuration; with --connect, try every part as well",
		Long: `Check the configuration file: every mistake is told at once, with its line and
column. With --connect, also try the store, each issuer and each sink with the rights
that they have. Nothing is changed.`,
		Example: `  anycert check --config config.yaml
  anycert check --connect`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := a.path()
			if err != nil {
				return err
			}
			graph, err := a.open()
			if err != nil {
				return err
			}
			parts := graph.Parts()
			fmt.Fprintf(a.out, "%s is good: %s, %s\n", path,
				count(len(parts.Certificates), "certificate"), count(len(parts.Agents), "sink"))
			if !connect {
				return nil
			}
			failed := a.probe(cmd.Context(), "store", parts.Store)
			if parts.Issuer != nil {
				failed = a.probe(cmd.Context(), "issuers", parts.Issuer) || failed
			}
			for _, agent := range parts.Agents {
				failed = a.probe(cmd.Context(), "sink "+agent.Name, agent.Sink) || failed
			}
			if failed {
				return exit(reconcile.ExitFailed)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&connect, "connect", false, "try every part that the configuration names")
	return cmd
}

// probe tries one part and reports whether it failed.
func (a *app) probe(ctx context.Context, what string, part any) bool {
	prober, ok := part.(anycert.Prober)
	if !ok {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if err := prober.Probe(ctx); err != nil {
		fmt.Fprintf(a.out, "%s: %s\n", what, reconcile.Clean(err.Error()))
		return true
	}
	fmt.Fprintf(a.out, "%s: ok\n", what)
	return false
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/anycert/anycert/reconcile"
)

func (a *app) auditCommand() *cobra.Command {
	var (
		out  output
		only *string
	)
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Compare every place with the store and change nothing",
		Long: `Compare four things for each promise, and change nothing: what is declared, what the
store holds, what the target holds, and, where the configuration says where that is
(verify) or it is derived, what the world is served, by a handshake with every
address. No key is read from the store; a token that may read metadata alone is
enough.

Listed as well: objects with our mark that are no longer declared (orphans),
certificates of others for our names (look-alikes), and entries of the store that
are not declared and pushed nowhere.

Exit code: 0 all promises are kept, and served where anybody looks; 2 something
differs (broken, refused, held, waiting; on the wire behind or unfit); 1 it could
not be told (unknown, unseen).`,
		Example: `  anycert audit
  anycert audit --only prod
  anycert audit --only prod/web/example-tls
  anycert audit -o json | jq '.promises[] | select(.verdict != "kept")'
  anycert audit -o json | jq '.promises[] | {declared, store, holds, wire}'`,
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
			narrowed, err := parseOnly(*only, hub)
			if err != nil {
				return err
			}
			report := hub.Audit(cmd.Context(), narrowed)
			if err := out.write(a.out, report, func() { a.writePlan(report) }); err != nil {
				return err
			}
			return exit(report.AuditExit())
		},
	}
	out.flag(cmd)
	only = a.onlyFlag(cmd, "look at one `SINK[/TARGET]` alone")
	return cmd
}

// writePlan shows an audit to people, and who would do what it says is to be done.
func (a *app) writePlan(report *reconcile.Report) {
	report.WritePromises(a.out, a.paint())
	if slices.ContainsFunc(report.Promises, func(p reconcile.Promise) bool { return p.Action != reconcile.None }) {
		fmt.Fprintln(a.out, "nothing was changed: `anycert sync` does what is to be done")
	}
}

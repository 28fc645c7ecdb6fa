// Command anycert obtains certificates into Vault and makes sure that every place
// that serves them agrees with it. Each verb has a file of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/anycert/anycert/reconcile"
)

func main() { os.Exit(run(os.Args[1:])) }

// run is main without the exit, for the tests of the command line.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	app := &app{out: os.Stdout, errOut: os.Stderr}
	root := app.command()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var exit exitError
	switch {
	case err == nil:
		return reconcile.ExitOK
	case errors.As(err, &exit):
		return exit.code
	}
	fmt.Fprintf(os.Stderr, "anycert: %s\n", reconcile.CleanLines(err.Error()))
	return reconcile.ExitFailed
}

// exitError ends the program with a code after everything was said.
type exitError struct{ code int }

func (e exitError) Error() string { return fmt.Sprintf("exit %d", e.code) }

// exit is nil for 0.
func exit(code int) error {
	if code == reconcile.ExitOK {
		return nil
	}
	return exitError{code}
}

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "anycert",
		Short: "One certificate, many places: from Vault to Kubernetes, Fastly, Fly.io and files",
		Long: `anycert obtains certificates by ACME DNS-01 into Vault, the only truth, and makes
sure every minute that Kubernetes, Fastly, Fly.io and plain files agree with it.

  issuer ──▶ store (Vault) ──▶ reconcile ──▶ sinks

Begin with a configuration and let it be checked:

  anycert check --config config.yaml            the file alone
  anycert check --config config.yaml --connect  and every part that it names
  anycert audit                                 how do the places differ? changes nothing
  anycert sync                                  issue what is due, push what differs, stop
  anycert run                                   the same, every minute`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
	}
	flags := root.PersistentFlags()
	flags.StringVarP(&a.configPath, "config", "c", "", "configuration `file` (default $ANYCERT_CONFIG, ./config.yaml, /etc/anycert/config.yaml)")
	flags.StringVar(&a.logLevel, "log-level", "info", "`level` of what is logged: debug, info, warn, error")
	flags.StringVar(&a.logFormat, "log-format", "text", "`format` of the log on stderr: text, json")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w: see `%s --help`", err, cmd.CommandPath())
	})
	root.AddCommand(a.runCommand(), a.syncCommand(), a.auditCommand(), a.pullCommand(),
		a.statusCommand(), a.checkCommand(), a.pruneCommand(), a.versionCommand())
	return root
}

// Command anycert obtains certificates into Vault and makes sure that every place
// that serves them agrees with it. Each verb has a file of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/anycert/anycert/internal/config"
	"github.com/anycert/anycert/reconcile"
)

func main() {
	// Package log is not ours: we say what we say by log/slog. Libraries use it, and
	// net/http prints by it all that HTTP/2 carries, tokens and keys among it, under
	// GODEBUG=http2debug=2.
	log.SetOutput(io.Discard)
	if err := forbidDumps(); err != nil {
		fmt.Fprintf(os.Stderr, "anycert: %v\n", err)
		os.Exit(reconcile.ExitFailed)
	}
	os.Exit(run(os.Args[1:]))
}

// run is main without the exit, for the tests of the command line.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends what does not heed the first
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
	app.explain(err)
	return reconcile.ExitFailed
}

// explain says why nothing, or not everything, was done. The mistakes of a
// configuration stand one a line, as editors and grep know them.
func (a *app) explain(err error) {
	var problems config.Problems
	if !errors.As(err, &problems) {
		fmt.Fprintf(a.errOut, "anycert: %s\n", reconcile.Clean(err.Error()))
		return
	}
	fmt.Fprintln(a.errOut, reconcile.CleanLines(problems.Error()))
	fmt.Fprintf(a.errOut, "anycert: %s in the configuration: nothing was done\n", count(len(problems), "mistake"))
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
		Args:          knownVerb,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },

		SuggestionsMinimumDistance: 2,
		Version:                    version(), // --version
	}
	flags := root.PersistentFlags()
	flags.StringVarP(&a.configPath, "config", "c", "", "configuration `file` (default $ANYCERT_CONFIG, ./config.yaml, /etc/anycert/config.yaml)")
	flags.StringVar(&a.logLevel, "log-level", "info", "`level` of what is logged: debug, info, warn, error")
	flags.StringVar(&a.logFormat, "log-format", "text", "`format` of the log on stderr: text, json")
	root.SetFlagErrorFunc(wrongFlag)
	_ = root.RegisterFlagCompletionFunc("config", cobra.FixedCompletions([]string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt))
	_ = root.RegisterFlagCompletionFunc("log-level", words("debug", "info", "warn", "error"))
	_ = root.RegisterFlagCompletionFunc("log-format", words("text", "json"))
	root.AddCommand(a.runCommand(), a.syncCommand(), a.renewCommand(), a.auditCommand(),
		a.historyCommand(), a.rollbackCommand(), a.revokeCommand(), a.csrCommand(), a.importCommand(), a.pullCommand(), a.diffCommand(),
		a.statusCommand(), a.checkCommand(), a.policyCommand(), a.pruneCommand(), a.versionCommand())
	return root
}

// wrongFlag says what is wrong with a flag, and what to write instead of a value that is
// none: what the standard library says of one is for programmers.
func wrongFlag(cmd *cobra.Command, err error) error {
	what, why, ok := strings.Cut(err.Error(), " flag: ")
	var number *strconv.NumError
	switch {
	case errors.As(err, &number) && number.Func == "ParseBool":
		why = "use true or false"
	case number != nil:
		why = "use a whole number"
	case ok && strings.HasPrefix(why, "time: "):
		why = "use a number with its unit, as in 90s, 30m or 6h"
	default:
		return fmt.Errorf("%w: see `%s --help`", err, cmd.CommandPath())
	}
	return fmt.Errorf("%s flag: %s: see `%s --help`", what, why, cmd.CommandPath())
}

// knownVerb is for the root alone, which is reached with arguments when the first of
// them is no verb.
func knownVerb(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if near := root.SuggestionsFor(args[0]); len(near) > 0 {
		return fmt.Errorf("there is no verb %q: did you mean %s?", args[0], strings.Join(near, " or "))
	}
	return fmt.Errorf("there is no verb %q: see `%s --help`", args[0], root.CommandPath())
}

// noArguments is for verbs that take flags alone.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("`%s` takes no arguments, there is %q: see `%[1]s --help`", cmd.CommandPath(), args[0])
}

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/config"
	"github.com/anycert/anycert/reconcile"
)

func (a *app) policyCommand() *cobra.Command {
	var options config.PolicyOptions
	var lock bool
	cmd := &cobra.Command{
		Use:   "policy [hub|follower|auditor|laptop]",
		Short: "Print the rights that the configuration needs, and no more",
		Long: `Print the rights that the configuration needs at every place, and no more: policies
of Vault in HCL, Roles of Kubernetes as YAML, lines for name servers, and what to ask
of the others. Whoever is given exactly these can do all that its role is for; with
any one taken away something fails, and says what is missing.

  hub        obtains certificates and pushes them: run, sync, renew, check
  follower   pushes what others obtain: run and sync, without issuers
  auditor    compares and changes nothing: audit, status, history
  laptop     a person who pulls

Without a role, all of them. What is not meant for a machine is behind '#', so that
one role and one part can be piped to where it belongs. With --lock, print instead
what makes the API server of Kubernetes refuse whoever else changes our Secrets. Only
the configuration is read: no file that it names, and nothing over the network.

Exit code: 0 it was printed; 1 the configuration, or what was asked for, is wrong.`,
		Example: `  anycert policy
  anycert policy hub --only vault | vault policy write anycert-hub -
  anycert policy hub --only prod | kubectl --context prod apply -f -
  anycert policy hub --only prod --prune old-name | kubectl --context prod apply -f -
  anycert policy hub --only dns --delegate acme.example.net
  anycert policy --lock | kubectl --context prod apply -f -`,
		Args:      oneRole,
		ValidArgs: roleNames(),
		RunE: func(_ *cobra.Command, args []string) error {
			for _, name := range args {
				options.Roles = append(options.Roles, anycert.Role(name))
			}
			return a.policy(options, lock)
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&options.Only, "only", nil, "print one `part`: vault, dns, a type of sinks, or the name of a sink or issuer")
	flags.StringSliceVar(&options.Subjects, "subject", nil, "`account` in Kubernetes that anycert comes with: NAMESPACE/NAME of a service account, user:NAME or group:NAME (default anycert/anycert)")
	flags.StringSliceVar(&options.Retired, "prune", nil, "also what prune needs to delete the copies of a `certificate` that is no longer declared")
	flags.StringVar(&options.Delegate, "delegate", "", "`zone` that the _acme-challenge names lead into by CNAMEs")
	flags.BoolVar(&lock, "lock", false, "print what makes our Secrets read-only for everybody else")
	_ = cmd.RegisterFlagCompletionFunc("only", a.partNames)
	for _, name := range []string{"subject", "prune", "delegate"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	return cmd
}

func roleNames() []string {
	var names []string
	for _, role := range anycert.Roles() {
		names = append(names, string(role))
	}
	return names
}

func oneRole(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) > 1:
		return fmt.Errorf("`%s` takes one role, there are %q: see `%[1]s --help`", cmd.CommandPath(), args)
	case len(args) == 1 && !slices.Contains(roleNames(), args[0]):
		return fmt.Errorf("there is no role %q: use one of %s, and --only for one part", args[0], strings.Join(roleNames(), ", "))
	}
	return nil
}

func (a *app) policy(options config.PolicyOptions, lock bool) error {
	for _, name := range options.Retired {
		if err := anycert.CheckName(name); err != nil {
			return fmt.Errorf("--prune: %w", err)
		}
	}
	if options.Delegate != "" {
		if err := anycert.CheckDomain("a." + options.Delegate); err != nil {
			return fmt.Errorf("--delegate: %w", err)
		}
	}
	_, loaded, err := a.configuration()
	if err != nil {
		return err
	}
	list := loaded.Policy
	switch {
	case lock && len(options.Roles)+len(options.Retired)+len(options.Delegate) > 0:
		return errors.New("--lock is for no role, and goes with --only and --subject alone")
	case lock:
		list = loaded.Lock
	}
	sections, err := list(options)
	if err != nil {
		return err
	}
	for i, section := range sections {
		if i > 0 {
			fmt.Fprintln(a.out)
		}
		fmt.Fprintf(a.out, "# %s %s\n%s", section.Title, strings.Repeat("-", max(4, 90-len(section.Title))), reconcile.CleanLines(string(section.Text)))
	}
	return nil
}

// partNames completes what --only takes.
func (a *app) partNames(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	names := []string{"vault", "dns"}
	loaded := a.declared()
	for _, issuer := range loaded.Issuers {
		names = append(names, issuer.Name())
	}
	for _, sink := range loaded.Sinks {
		names = append(names, sink.Name, sink.Type)
	}
	slices.Sort(names)
	return slices.Compact(names), cobra.ShellCompDirectiveNoFileComp
}

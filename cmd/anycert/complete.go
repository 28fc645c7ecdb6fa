package main

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/anycert/anycert/internal/config"
	"github.com/anycert/anycert/reconcile"
)

// words completes a flag that takes one of a few.
func words(choices ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(choices, cobra.ShellCompDirectiveNoFileComp)
}

// sinkNames completes SINK, and leaves the cursor there, since /TARGET may follow.
func (a *app) sinkNames(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for _, sink := range a.declared().Sinks {
		names = append(names, cobra.CompletionWithDesc(sink.Name, sink.Type))
	}
	return names, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// certificateNames completes names of certificates, those that are not given yet.
func (a *app) certificateNames(_ *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for _, certificate := range a.declared().Certificates {
		if slices.Contains(given, certificate.Name) {
			continue
		}
		names = append(names, cobra.CompletionWithDesc(certificate.Name, reconcile.Clean(certificate.Description)))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// declared is the configuration as far as a person at a prompt wants to hear of it:
// what is wrong with it is said by the verbs. Nobody is asked over the network.
func (a *app) declared() *config.Config {
	path, err := a.path()
	if err != nil {
		return new(config.Config)
	}
	loaded, err := config.Load(path)
	if err != nil {
		return new(config.Config)
	}
	return loaded
}

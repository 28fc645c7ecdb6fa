package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/anycert/anycert/internal/config/strict"
	"github.com/anycert/anycert/reconcile"
)

// onlyFlag is the --only flag of the verbs that look at sinks.
func (a *app) onlyFlag(cmd *cobra.Command, usage string) *string {
	only := cmd.Flags().String("only", "", usage)
	_ = cmd.RegisterFlagCompletionFunc("only", a.sinkNames)
	return only
}

// parseOnly reads SINK or SINK/TARGET; a target's label may hold slashes itself. What
// it names must be there: a pass that looks at nothing must not look like success.
func parseOnly(text string, hub *reconcile.Hub) (reconcile.Only, error) {
	if text == "" {
		return reconcile.Only{}, nil
	}
	var only reconcile.Only
	only.Sink, only.Target, _ = strings.Cut(text, "/")
	i := slices.IndexFunc(hub.Agents, func(agent reconcile.Agent) bool { return agent.Name == only.Sink })
	if i < 0 {
		return only, fmt.Errorf("--only %q: there is no sink %q in the configuration%s", text, only.Sink, instead(only.Sink, names(hub.Agents)))
	}
	agent := hub.Agents[i]
	if agent.Suspended {
		return only, fmt.Errorf("--only %q: sink %s is suspended: take `suspend: true` from it in the configuration first", text, agent.Name)
	}
	if only.Target == "" {
		return only, nil
	}
	labels, err := targets(agent)
	if err == nil && !slices.Contains(labels, only.Target) {
		err = fmt.Errorf("sink %s has no target %q%s", agent.Name, only.Target, instead(only.Target, labels))
	}
	if err != nil {
		return only, fmt.Errorf("--only %q: %w", text, err)
	}
	return only, nil
}

func names(agents []reconcile.Agent) []string {
	names := make([]string, len(agents))
	for i, agent := range agents {
		names[i] = agent.Name
	}
	return names
}

// targets are the labels of the targets that an agent looks at.
func targets(agent reconcile.Agent) ([]string, error) {
	var labels []string
	for _, certificate := range agent.Certificates {
		if certificate.Suspended {
			continue
		}
		found, err := agent.Sink.Targets(certificate.Name, certificate.Domains)
		if err != nil {
			return nil, err
		}
		for _, target := range found {
			labels = append(labels, target.Label)
		}
	}
	return labels, nil
}

// enough is how many names help a person who mistyped one.
const enough = 20

// instead goes on from "there is no X": with the name that was probably meant, and those
// that there are.
func instead(name string, known []string) string {
	if near := strict.Nearest(name, known); near != "" {
		return ": did you mean " + near + "? There " + enumerate(known)
	}
	return "; there " + enumerate(known)
}

// enumerate goes on from "there": "are: a, b", or "is none".
func enumerate(names []string) string {
	switch {
	case len(names) == 0:
		return "is none"
	case len(names) > enough:
		return fmt.Sprintf("are %d: %s, …", len(names), strings.Join(names[:enough], ", "))
	case len(names) == 1:
		return "is: " + names[0]
	}
	return "are: " + strings.Join(names, ", ")
}

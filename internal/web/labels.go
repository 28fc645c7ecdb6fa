package web

import (
	"slices"

	"github.com/anycert/anycert/reconcile"
)

// ClosedSets are the values of the labels that do not come from the configuration.
type ClosedSets struct {
	Verdicts                   []string
	Results                    []string
	Success, Failure, Deferred []string // reasons, by result
	States                     []string // of entries in the store
	Wires                      []string // what the world is served
}

// Labels lists them.
func Labels() ClosedSets {
	var sets ClosedSets
	for _, verdict := range reconcile.Verdicts() {
		sets.Verdicts = append(sets.Verdicts, string(verdict))
	}
	reasons := map[reconcile.Result]*[]string{reconcile.Success: &sets.Success, reconcile.Failure: &sets.Failure, reconcile.Deferred: &sets.Deferred}
	for _, tally := range []reconcile.Tally{reconcile.NewPushTally(), reconcile.NewOrderTally()} {
		for outcome := range tally {
			*reasons[outcome.Result] = append(*reasons[outcome.Result], string(outcome.Reason))
		}
	}
	for result, of := range reasons {
		sets.Results = append(sets.Results, string(result))
		slices.Sort(*of)
		*of = slices.Compact(*of)
	}
	sets.Results = append(sets.Results, string(reconcile.Dropped))
	slices.Sort(sets.Results)
	sets.States = storeStates()
	for _, state := range reconcile.WireStates() {
		sets.Wires = append(sets.Wires, string(state))
	}
	return sets
}

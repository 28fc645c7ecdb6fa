package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/anycert/anycert"
)

// listLookalikes asks each sink that can tell for objects of others that are for names
// of ours: who looks for a certificate by its name finds them beside ours, and takes one
// for the other. Nothing is done about them.
func (h *Hub) listLookalikes(ctx context.Context, only Only, report *Report) {
	for _, agent := range h.Agents {
		lister, ok := agent.Sink.(anycert.LookalikeLister)
		if !ok || agent.Suspended || !only.sink(agent.Name) || only.Target != "" {
			continue
		}
		declared, err := h.declaredTargets(agent.Type)
		var found []anycert.Lookalike
		if err == nil {
			found, err = lookalikesOf(ctx, agent, lister, declared)
		}
		switch {
		case errors.Is(err, anycert.ErrForbidden): // it is a right that nobody has to give
			report.Notes = append(report.Notes, fmt.Sprintf("sink %s: what looks like ours is not looked for: %v", agent.Name, err))
		case err != nil:
			report.Notes = append(report.Notes, fmt.Sprintf("sink %s: what looks like ours could not be listed: %v", agent.Name, err))
		}
		for _, one := range found {
			report.Lookalikes = append(report.Lookalikes, lookalike(agent, one))
		}
	}
	slices.SortFunc(report.Lookalikes, func(a, b Lookalike) int {
		return cmp.Or(cmp.Compare(a.Sink, b.Sink), cmp.Compare(a.Label, b.Label))
	})
}

func lookalikesOf(ctx context.Context, agent Agent, lister anycert.LookalikeLister, declared []anycert.Target) (found []anycert.Lookalike, err error) {
	defer recovered("listing sink "+agent.Name, &err)
	ctx, cancel := context.WithTimeout(ctx, surveyTimeout)
	defer cancel()
	var domains []string
	for _, certificate := range agent.Certificates {
		domains = append(domains, certificate.Domains...)
	}
	return lister.Lookalikes(ctx, domains, declared)
}

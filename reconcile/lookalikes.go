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
	if only.Target != "" {
		return
	}
	eachLister(ctx, h, only, func(ctx context.Context, agent Agent, lister anycert.LookalikeLister, declared []anycert.Target) error {
		var domains []string
		for _, certificate := range agent.Certificates {
			domains = append(domains, certificate.Domains...)
		}
		found, err := lister.Lookalikes(ctx, domains, declared)
		for _, one := range found {
			report.Lookalikes = append(report.Lookalikes, lookalike(agent, one))
		}
		return err
	}, func(sink string, err error) {
		if errors.Is(err, anycert.ErrForbidden) { // it is a right that nobody has to give
			report.Notes = append(report.Notes, fmt.Sprintf("sink %s: what looks like ours is not looked for: %v", sink, err))
			return
		}
		report.Notes = append(report.Notes, fmt.Sprintf("sink %s: what looks like ours could not be listed: %v", sink, err))
	})
	slices.SortFunc(report.Lookalikes, func(a, b Lookalike) int {
		return cmp.Or(cmp.Compare(a.Sink, b.Sink), cmp.Compare(a.Label, b.Label))
	})
}

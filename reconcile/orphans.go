package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/anycert/anycert"
)

// Orphans lists the objects with our mark that belong to no declared target. A
// certificate or sink that is suspended is declared.
func (h *Hub) Orphans(ctx context.Context) *Report {
	report := &Report{Schema: reportSchema}
	h.listOrphans(ctx, Only{}, report)
	return report
}

// Remove deletes one orphan of a report of this hub. The sink looks once more that
// it still carries our mark and is not in use.
func (h *Hub) Remove(ctx context.Context, orphan Orphan) (err error) {
	defer recovered("deleting "+orphan.Label, &err)
	remover, ok := orphan.sink.(anycert.OrphanRemover)
	if !ok {
		return fmt.Errorf("sink %s: deleting %s: this type of sink cannot delete", orphan.Sink, orphan.Label)
	}
	if err := remover.Remove(ctx, orphan.orphan); err != nil {
		return fmt.Errorf("sink %s: deleting %s: %w", orphan.Sink, orphan.Label, err)
	}
	return nil
}

func (h *Hub) listOrphans(ctx context.Context, only Only, report *Report) {
	eachLister(ctx, h, only, func(ctx context.Context, agent Agent, lister anycert.OrphanLister, declared []anycert.Target) error {
		found, err := lister.Orphans(ctx, declared)
		if err != nil {
			return err
		}
		for _, orphan := range found {
			report.Orphans = append(report.Orphans, Orphan{Sink: agent.Name, Label: orphan.Label,
				Certificate: orphan.Mark.Certificate, Time: orphan.Mark.Time, orphan: orphan, sink: agent.Sink})
		}
		return nil
	}, func(sink string, err error) {
		report.Notes = append(report.Notes, fmt.Sprintf("sink %s: what is no longer declared could not be listed: %v", sink, err))
	})
	slices.SortFunc(report.Orphans, func(a, b Orphan) int {
		return cmp.Or(cmp.Compare(a.Sink, b.Sink), cmp.Compare(a.Label, b.Label))
	})
}

// eachLister has every sink that takes part and can, being an L, list something, one after
// the other. Each is told what all sinks of its type declare: two may share a cluster or
// an account, and what serves the one is no stranger to the other.
func eachLister[L any](ctx context.Context, h *Hub, only Only,
	list func(context.Context, Agent, L, []anycert.Target) error, failed func(sink string, err error)) {
	for _, agent := range h.Agents {
		lister, ok := agent.Sink.(L)
		if !ok || agent.Suspended || !only.sink(agent.Name) {
			continue
		}
		declared, err := h.declaredTargets(agent.Type)
		if err == nil {
			err = func() (err error) {
				defer recovered("listing sink "+agent.Name, &err)
				ctx, cancel := context.WithTimeout(ctx, surveyTimeout)
				defer cancel()
				return list(ctx, agent, lister, declared)
			}()
		}
		if err != nil {
			failed(agent.Name, err)
		}
	}
}

// declaredTargets are the targets of all sinks of a type, of what is suspended too.
func (h *Hub) declaredTargets(kind string) ([]anycert.Target, error) {
	var declared []anycert.Target
	for _, agent := range h.Agents {
		if agent.Type != kind {
			continue
		}
		for _, certificate := range agent.Certificates {
			targets, err := agent.targets(certificate)
			if err != nil {
				return nil, err
			}
			declared = append(declared, targets...)
		}
	}
	return declared, nil
}

// listUndeclared names what is in the store and not in the configuration. It is
// pushed nowhere. A follower that may not list is told nothing: it does not need to.
func (h *Hub) listUndeclared(ctx context.Context, report *Report) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	names, err := h.Store.Names(ctx)
	if err != nil {
		if h.Issuer != nil || !errors.Is(err, anycert.ErrForbidden) {
			report.Notes = append(report.Notes, fmt.Sprintf("undeclared entries of the store could not be listed: %v", err))
		}
		return
	}
	declared := make(map[string]bool, len(h.Certificates))
	for _, c := range h.Certificates {
		declared[c.Name] = true
	}
	for _, name := range names {
		if !declared[name] {
			report.Undeclared = append(report.Undeclared, name)
		}
	}
	slices.Sort(report.Undeclared)
}

package issuer

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-acme/lego/v4/acme"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/issuer/dns01"
)

// examine finds out before an order is made whether it would fail: by a preflight
// before the first order for these names and after a failure, and at the CA's staging
// directory after one at the CA.
func (w *work) examine(ctx context.Context, s *session, solver Prover) error {
	last, failed := w.known.failure(w.ca.Name, w.entry)
	first := w.entry == nil || !sameNames(w.entry.Leaf.DNSNames, w.want.Domains)
	if first || failed {
		if err := w.preflight(ctx, s, solver); err != nil {
			return err
		}
	}
	// What the staging directory sees may differ for ever, so the CA itself decides at times.
	if failed && !last.Early && last.Class != anycert.OfCA && w.ca.staging != nil && last.Attempts%patient != 0 {
		return w.rehearse(ctx, solver)
	}
	return nil
}

// preflight fails with what is certain to stop the order, a sentence for each domain.
func (w *work) preflight(ctx context.Context, s *session, solver Prover) error {
	findings := solver.Preflight(ctx, dns01.About{
		Domains: w.want.Domains,
		CAs:     s.core.GetDirectory().Meta.CaaIdentities,
		Account: s.account.URL,
		Trial:   true,
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := dns01.Refusal(findings); err != nil {
		return early{mend{fmt.Errorf("the CA was not asked, since it would fail: %w", err)}}
	}
	return nil
}

// rehearse proves the domains at the CA's staging directory, whose limits cost nothing.
// Nothing is issued there. Only domains that cannot be proven stop the order: that the
// staging directory itself does not serve us says nothing about the other one.
func (w *work) rehearse(ctx context.Context, solver Prover) error {
	err := w.prove(ctx, solver)
	if err == nil || ctx.Err() == nil && ofItself(err) {
		return nil
	}
	return rehearsed{fmt.Errorf("proving the domains at the staging directory %s first: %w", w.ca.staging.directory, err)}
}

// prove is an order that is not finalized.
func (w *work) prove(ctx context.Context, solver Prover) error {
	s, err := w.ca.staging.connect(ctx, account{})
	if err != nil {
		return staging{err}
	}
	s.bound.guard = w.fence
	profile := w.want.Profile
	if _, ok := s.core.GetDirectory().Meta.Profiles[profile]; !ok {
		profile = ""
	}
	order, err := s.newOrder(w.want.Domains, profile, "")
	if err != nil {
		return staging{err}
	}
	if order.Status != acme.StatusPending {
		return nil // it remembers that the domains are ours
	}
	return s.authorize(ctx, solver, w.want.Domains, order, false)
}

// rehearsed is a failure at the staging directory: it counts nowhere.
type rehearsed struct{ error }

func (e rehearsed) Unwrap() error { return e.error }

// staging is what a staging directory answers before any domain is to be proven.
type staging struct{ error }

func (e staging) Unwrap() error { return e.error }

// ofItself reports whether a rehearsal failed for reasons of the staging directory's own:
// that is all that it says, but for what it saw of the domains.
func ofItself(err error) bool {
	if errors.As(err, new(staging)) {
		return true
	}
	return errors.As(err, new(*caError)) && (len(invalidated(err)) == 0 || classOf(err) == anycert.OfCA)
}

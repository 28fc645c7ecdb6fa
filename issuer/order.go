package issuer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-acme/lego/v4/acme"
	"github.com/go-acme/lego/v4/acme/api"

	"github.com/anycert/anycert"
)

// pollTime bounds the wait for the CA to decide one thing.
const pollTime = 5 * time.Minute

// order leads the journal's order to its certificate, from wherever it stands. One that
// a process before this one has ended, and whose certificate is of no use any more, is
// replaced at once: that is no failure of this attempt.
func (w *work) order(ctx context.Context, s *session, solver Prover) (*anycert.Bundle, error) {
	order, resumed, err := w.current(ctx, s, solver)
	if err != nil {
		return nil, err
	}
	ended := resumed && (order.Status == acme.StatusProcessing || order.Status == acme.StatusValid)
	if order.Status == acme.StatusPending {
		if err := s.authorize(ctx, solver, w.want.Domains, order, resumed); err != nil {
			return nil, err
		}
		if order, err = s.await(ctx, w.begun().Order, acme.StatusReady, acme.StatusProcessing, acme.StatusValid); err != nil {
			return nil, err
		}
		w.at(Authorized)
	}
	if order.Status == acme.StatusReady {
		if err := w.finalize(ctx, s, order); err != nil {
			return nil, err
		}
	}
	if order, err = s.await(ctx, w.begun().Order, acme.StatusValid); err != nil {
		return nil, err
	}
	bundle, err := w.download(s, order)
	rejected := new(unusable)
	if errors.As(err, &rejected) {
		_ = w.ca.issued(ctx, w.spending(w.begun()), w.now()) // the CA counts it all the same
	}
	if !ended || !errors.As(err, new(withheld)) && (rejected.error == nil || rejected.key) {
		return bundle, err
	}
	if err := w.drop(ctx); err != nil {
		return nil, err
	}
	return w.order(ctx, s, solver)
}

// drop takes an order that is of no use any more out of the journal. Its key stays.
func (w *work) drop(ctx context.Context) error {
	w.restore(ctx, w.begun())
	return w.update(ctx, func(j *journal) { j.Order, j.Taken = "", false })
}

// current is the order that the journal names, if it is still of use, or a new
// one. A CA that has an open order for the same names and account may return that
// one again (Boulder does), so that an order whose URL was lost is found.
func (w *work) current(ctx context.Context, s *session, solver Prover) (order acme.ExtendedOrder, resumed bool, err error) {
	if w.begun().Order != "" {
		order, err := s.order(w.begun().Order)
		switch {
		case err == nil && slices.Contains([]string{acme.StatusPending, acme.StatusReady, acme.StatusProcessing, acme.StatusValid}, order.Status):
			return order, true, nil
		case err != nil && (!isRefusal(err) || isKind(err, "accountDoesNotExist")):
			return acme.ExtendedOrder{}, false, fmt.Errorf("asking for the order: %w", err)
		case err == nil:
			w.tellFailed(ctx, s, order)
		}
		if err := w.drop(ctx); err != nil {
			return acme.ExtendedOrder{}, false, err
		}
	}
	if err := s.checkProfile(); err != nil {
		return acme.ExtendedOrder{}, false, err
	}
	if err := w.examine(ctx, s, solver); err != nil {
		return acme.ExtendedOrder{}, false, err
	}
	if err := w.take(ctx); err != nil {
		return acme.ExtendedOrder{}, false, err
	}
	if order, err = w.newOrder(ctx, s); err != nil {
		return acme.ExtendedOrder{}, false, fmt.Errorf("making the order: %w", err)
	}
	if order.Location == "" {
		return acme.ExtendedOrder{}, false, errors.New("making the order: the CA does not tell the order's URL")
	}
	w.at(OrderCreated)
	if err := w.update(ctx, func(j *journal) { j.Order = order.Location }); err != nil {
		return acme.ExtendedOrder{}, false, err
	}
	w.at(OrderWritten)
	return order, false, nil
}

// tellFailed lets the limits know which domains of a failed order the CA could not validate:
// the process that asked for it may have died before it could. Who did know counts them
// twice, which is on the safe side.
func (w *work) tellFailed(ctx context.Context, s *session, order acme.ExtendedOrder) {
	_, err := s.openAuthorizations(order.Authorizations)
	if names := invalidated(err); len(names) > 0 {
		_ = w.ca.failedAuthorization(ctx, names, w.now())
	}
}

// newOrder makes the order. A CA that will not have it replace a certificate is asked
// for it without: it may have done so for an order of ours whose URL was lost in a
// crash. Boulder counts an open order as the replacement and answers 409, and gives the
// same order to a request without replaces; Pebble counts an order once it was
// finalized, and makes a second one. Pebble also answers serverInternal for a
// certificate that it does not find again.
func (w *work) newOrder(ctx context.Context, s *session) (acme.ExtendedOrder, error) {
	order, err := s.newOrder(w.want.Domains, w.want.Profile, w.begun().ReplacesID)
	if err == nil || w.begun().ReplacesID == "" || isKind(err, "accountDoesNotExist") || !isRefusal(err) && !isKind(err, "serverInternal") {
		return order, err
	}
	w.restore(ctx, w.begun())
	if err := w.takeAs(ctx, "", false); err != nil {
		return acme.ExtendedOrder{}, err
	}
	return s.newOrder(w.want.Domains, w.want.Profile, "")
}

func (s *session) newOrder(domains []string, profile, replaces string) (acme.ExtendedOrder, error) {
	order, err := s.core.Orders.NewWithOptions(domains, &api.OrderOptions{Profile: profile, ReplacesCertID: replaces})
	if errors.Is(err, errConflict) {
		return acme.ExtendedOrder{}, &caError{kind: "alreadyReplaced", status: http.StatusConflict, error: errConflict}
	}
	return order, s.problem(err)
}

// checkProfile tells the profiles that there are, which a CA's refusal does not.
func (s *session) checkProfile() error {
	offered := s.core.GetDirectory().Meta.Profiles
	if _, ok := offered[s.Profile]; ok || s.Profile == "" {
		return nil
	}
	if len(offered) == 0 {
		return mend{fmt.Errorf("the CA offers no profiles: remove profile %s from the issuer", s.Profile)}
	}
	return mend{fmt.Errorf("the CA offers no profile %s: use one of %s", s.Profile, problem(errors.New(strings.Join(slices.Sorted(maps.Keys(offered)), ", "))))}
}

// finalize hands in the CSR.
func (w *work) finalize(ctx context.Context, s *session, order acme.ExtendedOrder) error {
	if err := w.update(ctx, func(*journal) {}); err != nil {
		return err
	}
	w.at(FinalizeBefore)
	_, err := s.core.Orders.UpdateForCSR(order.Finalize, w.begun().CSR)
	failure := s.problem(err)
	switch {
	case err == nil, isKind(failure, "orderNotReady"): // then a request before this one has arrived
		w.at(Finalized)
		return nil
	case isKind(failure, "badCSR", "badPublicKey"):
		return &unusable{error: fmt.Errorf("finalizing the order: %w", failure), key: true}
	}
	return fmt.Errorf("finalizing the order: %w", failure)
}

func (s *session) order(url string) (acme.ExtendedOrder, error) {
	order, err := s.core.Orders.Get(url)
	return order, s.problem(err)
}

// await polls an order until its status is one of wanted.
func (s *session) await(ctx context.Context, url string, wanted ...string) (order acme.ExtendedOrder, err error) {
	err = s.poll(ctx, url, "the order", func() (bool, error) {
		if order, err = s.order(url); err != nil {
			return false, fmt.Errorf("asking for the order: %w", err)
		}
		if order.Status == acme.StatusInvalid {
			return false, &unusable{error: fmt.Errorf("the order failed: %w", reason(order.Error))}
		}
		return slices.Contains(wanted, order.Status), nil
	})
	return order, err
}

// reason is the problem document of an object that is invalid.
func reason(details *acme.ProblemDetails) error {
	if details == nil {
		return errors.New("the CA does not say why")
	}
	return problem(details)
}

// poll calls done until it is true or fails: after as long as the CA asked for at
// url, otherwise after pauses that grow from a quarter of a second to five.
func (s *session) poll(ctx context.Context, url, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, pollTime, slow(what))
	defer cancel()
	pause := 250 * time.Millisecond
	for {
		ended, err := done()
		if ended || err != nil {
			return err
		}
		wait := pause
		if asked := s.bound.retryAfter(url); asked > 0 {
			wait = asked
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
		pause = min(2*pause, 5*time.Second)
	}
}

// slow is a CA that does not decide.
func slow(what string) error {
	return &caError{theirs: true, error: fmt.Errorf("the CA did not decide about %s within %s", what, pollTime)}
}

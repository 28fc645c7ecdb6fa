package reconcile

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/anycert/anycert"
)

// Renewed is how far one certificate has come that a person asked to be replaced.
type Renewed struct {
	Name     string         `json:"name"`
	Request  *RequestStatus `json:"request,omitempty"` // nil: there is nothing more to be asked for
	Version  int            `json:"version,omitempty"` // the store's current one
	Renewed  bool           `json:"renewed"`           // the store has a newer one than was to be replaced
	Served   bool           `json:"served"`            // every place was seen to serve it
	Settled  bool           `json:"settled"`           // nothing is left to be done; what was to be revoked is
	Unserved []string       `json:"unserved,omitempty"`
	Waits    *time.Time     `json:"waits_until,omitempty"`
	WaitsFor string         `json:"waits_for,omitempty"`
	Problem  string         `json:"problem,omitempty"`

	certificate anycert.Certificate
	request     anycert.Request
	nowhere     bool // no sink of this configuration has it
	looks       int  // in a row that saw it neither served nor waiting for a provider
	given       bool // up: what is left to do takes longer than there is time
}

// Done reports whether it was replaced and nothing is left that can be done here: it is
// served, or no place of this configuration serves it.
func (r Renewed) Done() bool { return r.Renewed && r.Settled && (r.Served || r.nowhere) }

// enoughLooks is how often in a row a place is looked at that does not serve what was
// pushed, and does not wait for its provider either.
const enoughLooks = 3

// Renew works on requests that are kept until each is done, cannot be done in time, or ctx
// ends: it obtains, pushes to the places of what was obtained, and ends the request. What
// it leaves, a daemon goes on with. told is called after each round, never twice at once.
func (h *Hub) Renew(ctx context.Context, asked []Asked, timeout time.Duration, told func([]Renewed)) []Renewed {
	ctx, cancel := withTimeout(ctx, timeout)
	defer cancel()
	w := &renewing{Hub: h, wake: make(chan struct{}, 1)}
	for _, a := range asked {
		w.all = append(w.all, Renewed{Name: a.Certificate.Name, Request: requestStatus(a.Request), certificate: a.Certificate, request: a.Request, Settled: a.Before})
	}
	var orders sync.WaitGroup
	const soon, late = time.Second, 15 * time.Second
	for pause := soon; ; pause = min(pause*3/2, late) {
		w.round(ctx, &orders)
		told(slices.Clone(w.all))
		if ctx.Err() != nil || w.over() {
			break
		}
		select {
		case <-ctx.Done():
		case <-w.wake:
			pause = soon
		case <-time.After(pause):
		}
	}
	orders.Wait() // they give their claims back
	w.endOrders(ctx)
	for i := range w.all {
		r := &w.all[i]
		if err := w.orders.failure(r.Name); err != nil && !r.Renewed && r.Waits == nil { // it ended since the last round
			r.Problem = err.Error()
		}
	}
	return w.all
}

// endOrders ends the orders that somebody left of what is done. A round begins that, but
// where it waited behind the orders of others the next round did not ask for it again.
func (w *renewing) endOrders(ctx context.Context) {
	done := w.certificates(Renewed.Done)
	if ctx.Err() != nil || len(done) == 0 {
		return
	}
	truth := w.truth(ctx, done)
	w.orders.all(ctx, w.Issuer, w.plan(ctx, done, truth), truth, func() {})
}

// renewing is the work on the requests of one command.
type renewing struct {
	*Hub
	all  []Renewed
	wake chan struct{} // a certificate was obtained
}

// over reports whether nothing is left that is worth to be waited for.
func (w *renewing) over() bool {
	return !slices.ContainsFunc(w.all, func(r Renewed) bool { return !r.Done() && !r.given })
}

// round looks at how far all has come, begins what can be begun and pushes what is there.
func (w *renewing) round(ctx context.Context, orders *sync.WaitGroup) {
	open := w.certificates(func(r Renewed) bool { return !r.Done() })
	truth := w.truth(ctx, open)
	if ctx.Err() != nil {
		return
	}
	w.see(truth)
	due := w.plan(ctx, open, truth) // also of what is renewed: whoever did it may have died before its order was ended
	orders.Go(func() { w.orders.all(ctx, w.Issuer, due, truth, func() { offer(w.wake, struct{}{}) }) })
	if push := w.certificates(func(r Renewed) bool { return r.Renewed && !r.Served }); len(push) > 0 {
		w.pushAll(ctx, push, truth)
	}
	for i := range w.all {
		if ctx.Err() == nil {
			w.end(ctx, &w.all[i], truth)
		}
	}
}

// certificates are those of which is says so.
func (w *renewing) certificates(is func(Renewed) bool) (some []anycert.Certificate) {
	for _, r := range w.all {
		if is(r) {
			some = append(some, r.certificate)
		}
	}
	return some
}

// see takes note of what the store has.
func (w *renewing) see(truth Truth) {
	for i := range w.all {
		r := &w.all[i]
		known, read := truth[r.Name]
		switch {
		case !read:
		case known.Entry != nil:
			r.Version = known.Entry.Version
			r.Renewed = r.Version > r.request.Version
		case !errors.Is(known.Err, anycert.ErrNotFound):
			r.Problem = known.Err.Error()
		}
	}
}

// pushAll does a pass over the sinks of some certificates, for these alone.
func (w *renewing) pushAll(ctx context.Context, some []anycert.Certificate, truth Truth) {
	among := func(c anycert.Certificate) bool {
		return slices.ContainsFunc(some, func(other anycert.Certificate) bool { return other.Name == c.Name })
	}
	parts := w.Parts
	parts.Certificates, parts.Agents = some, nil
	for _, agent := range w.Agents {
		agent.Certificates = selected(agent.Certificates, among)
		if len(agent.Certificates) > 0 {
			parts.Agents = append(parts.Agents, agent)
		}
	}
	narrow := w.With(parts)
	narrow.first = newFirstLook(parts.Agents)
	look := narrow.assessment(truth, Only{}, nil)
	narrow.second(ctx, look, narrow.each(Only{}, func(agent Agent) []Promise { return narrow.pass(ctx, agent, look) }))
}

// end judges how far one has come, and ends its request if it is time to.
func (w *renewing) end(ctx context.Context, r *Renewed, truth Truth) {
	if _, looked := truth[r.Name]; !looked || r.Done() {
		return
	}
	r.Waits, r.WaitsFor, r.given = nil, "", false
	if !r.Renewed {
		w.held(ctx, r, truth[r.Name])
		return
	}
	r.Problem = ""
	r.serves(w.lacks(r.certificate, r.request.Version))
	if !r.Settled {
		done, err := w.settleOne(ctx, r.certificate, r.request)
		if r.Settled = done; err != nil {
			r.Problem = err.Error()
		}
	}
	left := !r.Settled && (r.nowhere || r.Problem != "") // it is waited for the deadline, or for a CA
	r.given = left || r.looks >= enoughLooks
}

// serves judges what the places were seen to lack. A suspended sink is nobody's business,
// but for whoever wants to know that a key is of no use any more.
func (r *Renewed) serves(lacks []lack, nowhere bool) {
	r.Unserved, r.nowhere = nil, nowhere
	calm := true
	for _, l := range lacks {
		if l.suspended && !r.request.Revokes() {
			continue
		}
		r.Unserved = append(r.Unserved, l.String())
		calm = calm && l.calm
	}
	r.Served = len(r.Unserved) == 0 && !nowhere
	if r.looks++; r.Served || calm {
		r.looks = 0
	}
}

// held tells why one was not obtained yet, and whether that takes longer than there is
// time.
func (w *renewing) held(ctx context.Context, r *Renewed, known Known) {
	deadline, bounded := ctx.Deadline()
	if slot, waits := w.orders.waiting(r.Name); waits {
		r.Waits, r.WaitsFor, r.Problem = &slot.At, slot.Reason, ""
		r.given = bounded && slot.At.After(deadline)
		return
	}
	if known.Err != nil && !errors.Is(known.Err, anycert.ErrNotFound) {
		return // the store may answer the next time
	}
	err := w.orders.failure(r.Name) // what is kept of before this command is no reason not to wait for its own order
	if err == nil {
		r.Problem = ""
		return
	}
	r.Problem = err.Error()
	renewal := w.renewal(r.certificate, known, time.Now())
	next := time.Time{}
	if postponed := new(anycert.PostponedError); errors.As(err, &postponed) {
		next = postponed.Until
	}
	if renewal.Failure != nil {
		next = renewal.Failure.Next
		r.given = renewal.Failure.Class == anycert.ToMend
	}
	r.given = r.given || bounded && next.After(deadline)
}

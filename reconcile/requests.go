package reconcile

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/anycert/anycert"
)

const (
	recallTimeout  = 2 * time.Minute // for what is kept about renewals, and the CAs' advice
	recallPatience = 5 * time.Second // of a daemon's orders with that
	settleTimeout  = 2 * time.Minute // for the end of one request
)

// plan lists what is to be obtained now, by all that the store keeps about renewals and
// that the CAs advise.
func (h *Hub) plan(ctx context.Context, certificates []anycert.Certificate, truth Truth) []anycert.Wanted {
	all := wanted(certificates, truth)
	if h.Issuer == nil || len(all) == 0 {
		return nil
	}
	h.log.recalled(h.recall(ctx, all, true, recallTimeout))
	return h.orders.due(ctx, h.Issuer, h.orders.current(all, truth), time.Now())
}

// obtain has what is due obtained, calls done for each certificate that was, and ends
// requests that are done. While an earlier call is still finding out what is due, there is
// nothing to be found out.
//
// A CA that is slow or dead, to give advice or to revoke, holds back no order of another
// (law 8): what it says late is heeded by the next call. What the store keeps about the
// renewal of a certificate is read again by its order.
func (h *Hub) obtain(ctx context.Context, truth Truth, done func()) {
	if h.Issuer == nil || !h.orders.planning.CompareAndSwap(false, true) {
		return
	}
	all := wanted(h.Certificates, truth)
	recalled := alone(&h.orders.recalling, func() { h.log.recalled(h.recall(ctx, all, true, recallTimeout)) })
	select {
	case <-recalled:
	case <-time.After(recallPatience):
	}
	h.log.stranded(h.stranded(truth))
	settled := alone(&h.orders.settling, func() { h.settle(ctx, h.Certificates, truth) })
	due := h.orders.due(ctx, h.Issuer, h.orders.current(all, truth), time.Now())
	h.orders.planning.Store(false)
	h.orders.all(ctx, h.Issuer, due, truth, done)
	<-recalled
	<-settled
}

// alone begins do, unless an earlier one is under way. The channel is closed when there is
// nothing to be waited for.
func alone(busy *atomic.Bool, do func()) <-chan struct{} {
	ended := make(chan struct{})
	if !busy.CompareAndSwap(false, true) {
		close(ended)
		return ended
	}
	go func() {
		defer close(ended)
		defer busy.Store(false)
		do()
	}()
	return ended
}

// recall lets the issuer read what it knows, within a time.
func (h *Hub) recall(ctx context.Context, all []anycert.Wanted, ask bool, timeout time.Duration) (err error) {
	if h.Issuer == nil || len(all) == 0 {
		return nil
	}
	defer recovered("recalling what is kept about renewals", &err)
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err = h.Issuer.Recall(limited, all, ask)
	if ctx.Err() != nil {
		return nil // the end was asked for
	}
	return err
}

// requests are what people asked for, as it was recalled last.
func (h *Hub) requests() map[string]anycert.Request {
	requester, ok := h.Issuer.(anycert.Requester)
	if !ok {
		return nil
	}
	return requester.Requests()
}

// settle ends the requests whose certificates were replaced: served, by what the last
// passes saw.
func (h *Hub) settle(ctx context.Context, certificates []anycert.Certificate, truth Truth) {
	requests := h.requests()
	if len(requests) == 0 {
		return
	}
	var group errgroup.Group
	group.SetLimit(ordersAtOnce)
	for _, c := range certificates {
		request, asked := requests[c.Name]
		known := truth[c.Name]
		if !asked || known.Entry == nil || known.Entry.Version <= request.Version {
			continue
		}
		group.Go(func() error {
			_, _ = h.settleOne(ctx, c, request)
			return nil
		})
	}
	_ = group.Wait()
}

// settleOne ends one request, if it is time to. What went wrong is logged as well.
func (h *Hub) settleOne(ctx context.Context, c anycert.Certificate, request anycert.Request) (done bool, err error) {
	requester, ok := h.Issuer.(anycert.Requester)
	if !ok {
		return false, nil
	}
	lacks, nowhere := h.lacks(c, request.Version)
	served := len(lacks) == 0 && !nowhere
	if request.Revokes() && !served && time.Now().Before(request.Deadline) {
		return false, nil
	}
	limited, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	defer recovered("ending what was asked for about certificate "+c.Name, &err)
	done, err = requester.Settle(limited, c, served)
	if ctx.Err() != nil && err != nil {
		return false, nil // the end was asked for: whoever comes next goes on
	}
	if !request.Revokes() {
		lacks = nil
	}
	h.log.request(c.Name, request, lacks, done, err)
	return done, err
}

// lack is a place that was not seen to serve what it should.
type lack struct {
	place, why string
	suspended  bool
	calm       bool // it waits for its provider
}

func (l lack) String() string { return l.place + ": " + l.why }

// lacks are the places that were not seen to serve a version of c above version. What is
// suspended, or was not looked at, counts as such: nobody knows. nowhere: no sink of this
// configuration has c, so that nobody here can tell.
func (h *Hub) lacks(c anycert.Certificate, version int) (lacks []lack, nowhere bool) {
	nowhere = true
	for _, agent := range h.Agents {
		if !slices.ContainsFunc(agent.Certificates, func(belongs anycert.Certificate) bool { return belongs.Name == c.Name }) {
			continue
		}
		nowhere = false
		if agent.Suspended {
			lacks = append(lacks, lack{place: agent.Name, why: "it is suspended", suspended: true})
			continue
		}
		promises := h.seen.of(agent.Name, c.Name)
		if len(promises) == 0 {
			lacks = append(lacks, lack{place: agent.Name, why: "it was not looked at yet"})
		}
		for _, p := range promises {
			if p.Verdict == Kept && p.Version > version {
				continue
			}
			why := string(p.Verdict)
			if p.Reason != "" {
				why += ": " + p.Reason
			}
			lacks = append(lacks, lack{place: agent.Name + " " + p.Target, why: why, calm: p.Verdict == Waiting})
		}
	}
	return lacks, nowhere
}

// RequestStatus is what a person asked for about a certificate, and is not done.
type RequestStatus struct {
	Time        time.Time  `json:"time"`
	By          string     `json:"by,omitempty"`
	Version     int        `json:"version"` // the versions up to this one are to be replaced
	RotateKey   bool       `json:"rotate_key,omitempty"`
	Compromised bool       `json:"compromised,omitempty"`
	Superseded  bool       `json:"superseded,omitempty"`
	Deadline    *time.Time `json:"deadline,omitempty"`
}

func requestStatus(r anycert.Request) *RequestStatus {
	status := &RequestStatus{Time: firstAsked(r), By: r.By, Version: r.Version, RotateKey: r.RotateKey, Compromised: r.Compromised, Superseded: r.Superseded}
	if r.Revokes() {
		status.Deadline = &r.Deadline
	}
	return status
}

// Words tell how it stands, when the store has a version (0: none).
func (r RequestStatus) Words(version int, now time.Time) string {
	text := fmt.Sprintf("asked for by %s at %s", r.By, stamp(r.Time))
	switch {
	case version <= r.Version && r.Deadline != nil && !now.Before(*r.Deadline):
		return text + fmt.Sprintf(": to be replaced; the deadline passed at %s, and version %d is revoked as soon as there is another one", stamp(*r.Deadline), r.Version)
	case version <= r.Version && r.Deadline != nil:
		return text + fmt.Sprintf(": to be replaced, and version %d revoked when every place serves the new one, or at %s", r.Version, stamp(*r.Deadline))
	case version <= r.Version:
		return text + ": to be replaced"
	case r.Deadline != nil && now.Before(*r.Deadline):
		return text + fmt.Sprintf(": replaced by version %d; version %d is revoked when every place was seen to serve the new one, or at %s", version, r.Version, stamp(*r.Deadline))
	case r.Deadline != nil:
		return text + fmt.Sprintf(": replaced by version %d; version %d is to be revoked now: run `anycert renew` or the daemon", version, r.Version)
	}
	return text + fmt.Sprintf(": replaced by version %d", version)
}

package reconcile

import (
	"context"
	"time"

	"github.com/anycert/anycert"
)

// Turn is when the order of one certificate can begin.
type Turn struct {
	Certificate string    `json:"certificate"`
	Issuer      string    `json:"issuer"`
	Urgency     string    `json:"urgency"`
	At          time.Time `json:"at"`
	Why         string    `json:"why"`              // it is to be obtained
	Limit       string    `json:"limit,omitempty"`  // why not at once
	Reason      string    `json:"failed,omitempty"` // how the last attempts failed
}

// Rehearse tells in which order Renew would obtain certificates under requests, and when
// the CA's limits let each begin. It asks nothing of a CA and writes nothing.
func (h *Hub) Rehearse(ctx context.Context, asked []Asked) ([]Turn, error) {
	turns := []Turn{}
	requester, ok := h.Issuer.(anycert.Requester)
	if !ok || len(asked) == 0 {
		return turns, nil
	}
	certificates := make([]anycert.Certificate, len(asked))
	for i, a := range asked {
		certificates[i] = a.Certificate
	}
	truth := readTruth(ctx, h.Store, certificates)
	all := wanted(certificates, truth)
	if err := h.recall(ctx, all, false, recallTimeout); err != nil {
		return nil, err
	}
	for _, a := range asked {
		requester.Suppose(a.Certificate, a.Request)
	}
	now := time.Now()
	byName := make(map[string]anycert.Wanted, len(all))
	for _, w := range all {
		byName[w.Certificate.Name] = w
	}
	for _, slot := range h.Issuer.Plan(all, now) {
		w := byName[slot.Certificate]
		renewal := h.Issuer.Renewal(w.Certificate, w.Entry, now)
		if !renewal.Due(now) { // it was replaced, and its request is only to be ended
			continue
		}
		turn := Turn{Certificate: slot.Certificate, Issuer: w.Certificate.Issuer, Urgency: renewal.Urgency.String(), At: slot.At, Why: renewal.Reason, Limit: slot.Reason}
		if renewal.Failure != nil && !afterFailure(renewal, slot) {
			turn.Reason = failedError{*renewal.Failure}.Error()
		}
		turns = append(turns, turn)
	}
	return turns, nil
}

package reconcile

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/certs"
)

// looker is an issuer that looks in each pass, as one that bubbles up does.
type looker struct {
	err   error
	looks int
}

func (l *looker) Renewal(_ anycert.Certificate, _ *anycert.Entry, now time.Time) anycert.Renewal {
	return anycert.Renewal{At: now, Reason: "it is looked at in each pass"}
}

func (l *looker) Obtain(context.Context, anycert.Certificate) (anycert.Entry, error) {
	l.looks++
	return anycert.Entry{}, l.err
}

func (l *looker) Unfinished(context.Context) ([]string, error) { return nil, nil }

func (*looker) Recall(context.Context, []anycert.Wanted, bool) error { return nil }

func (*looker) Plan(wanted []anycert.Wanted, now time.Time) (slots []anycert.Slot) {
	for _, w := range wanted {
		slots = append(slots, anycert.Slot{Certificate: w.Certificate.Name, At: now})
	}
	return slots
}

// To look and find nothing newer is no order: it is not counted, said or waited for,
// and what went wrong before is over.
func TestUnchangedIsNoOrder(t *testing.T) {
	w := bareWorld(t, []anycert.Certificate{example}, nil, "one")
	w.put("example", certs.Options{})
	issuer := &looker{err: errors.New("no route to the cluster")}
	w.hub.Issuer = issuer
	for range 2 {
		if report := w.hub.Sync(t.Context(), SyncOptions{}); report.SyncExit() != ExitFailed {
			t.Error("that it could not look is no failure")
		}
	}
	if said := strings.Count(w.log.String(), "order failed"); said != 1 {
		t.Errorf("one failure is said %d times", said)
	}
	issuer.err = anycert.ErrUnchanged
	for range 2 {
		if report := w.hub.Sync(t.Context(), SyncOptions{}); report.SyncExit() != ExitOK {
			t.Errorf("%+v", report.Certificates)
		}
	}
	if tally := w.hub.orders.tally("test"); tally[Outcome{Success, NoReason}] != 0 || tally[Outcome{Failure, Other}] != 2 {
		t.Errorf("counted as orders: %v", tally)
	}
	if log := w.log.String(); strings.Contains(log, "obtained") || strings.Count(log, "looked at again") != 1 {
		t.Errorf("the log says:\n%s", log)
	}
	issuer.err = errors.New("no route to the cluster")
	w.hub.Sync(t.Context(), SyncOptions{})
	if said := strings.Count(w.log.String(), "order failed"); said != 2 {
		t.Errorf("a second failure is said %d times", said-1)
	}
	if issuer.looks != 5 {
		t.Errorf("%d looks in five passes", issuer.looks)
	}
}

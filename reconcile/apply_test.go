package reconcile

import (
	"context"
	"testing"

	"github.com/anycert/anycert"
)

// A push that failed and left the target as promised has kept the promise: an answer
// was lost, or a sync beside the daemon was quicker. One that left it otherwise has
// not.
func TestFailedPushIsSeenAgain(t *testing.T) {
	for name, test := range map[string]struct {
		writes bool
		want   Verdict
		exit   int
	}{
		"carried out all the same": {true, Kept, ExitOK},
		"not carried out":          {false, Broken, ExitFailed},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "prod")
			agent := w.hub.Agents[0]
			agent.Sink = unanswered{agent.Sink, test.writes}
			w.hub.Agents = []Agent{agent}
			report := w.sync()
			wantVerdicts(t, report, test.want)
			for _, p := range report.Promises {
				if p.Action != Create || !p.Pushed || (p.Err == nil) != (test.want == Kept) {
					t.Errorf("%s: %s, pushed %t, %v", p.Target, p.Action, p.Pushed, p.Err)
				}
			}
			if got := report.SyncExit(); got != test.exit {
				t.Errorf("exit code %d, want %d", got, test.exit)
			}
		})
	}
}

// unanswered is a sink whose pushes all fail, after writing or before.
type unanswered struct {
	anycert.Sink
	writes bool
}

func (s unanswered) Push(ctx context.Context, target anycert.Target, entry anycert.Entry, bundle *anycert.Bundle) error {
	if s.writes {
		if err := s.Sink.Push(ctx, target, entry, bundle); err != nil {
			return err
		}
	}
	return errBroken
}

// What a sink could not finish stays broken, however the target looks.
func TestUnfinishedIsNotKept(t *testing.T) {
	w := newWorld(t, "prod")
	agent := w.hub.Agents[0]
	agent.Sink = unfinished{agent.Sink}
	w.hub.Agents = []Agent{agent}
	wantVerdicts(t, w.sync(), Broken)
}

// unfinished is a sink that cannot do what comes after its pushes.
type unfinished struct{ anycert.Sink }

func (unfinished) Finish(context.Context) error { return errBroken }

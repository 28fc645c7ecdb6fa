package truth

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/anycert/anycert/internal/testenv/world"
)

// in lets a test within the test speak for itself.
func (w *scene) in(t *testing.T) *scene {
	within := *w
	within.World = w.In(t)
	return &within
}

// run runs a verb and expects an exit code.
func (w *scene) run(code int, verb string, args ...string) world.Report {
	w.T.Helper()
	return w.Report(code, w.config, verb, args...)
}

// verdicts expects those of a certificate's promises, by sink, and that each that
// is not kept says something.
func (w *scene) verdicts(r world.Report, certificate string, want map[string]string, says string) {
	w.T.Helper()
	seen := map[string]bool{}
	for _, p := range r.Promises {
		if p.Certificate != certificate {
			continue
		}
		seen[p.Sink] = true
		if p.Verdict != want[p.Sink] {
			w.T.Errorf("%s at %s %s is %s, want %s: %s", certificate, p.Sink, p.Target, p.Verdict, want[p.Sink], p.Reason)
		}
		if p.Verdict != "kept" && p.Verdict != "waiting" && !strings.Contains(p.Reason, says) {
			w.T.Errorf("%s at %s %s: %q does not say %q", certificate, p.Sink, p.Target, p.Reason, says)
		}
	}
	if len(seen) != len(want) {
		w.T.Errorf("the report speaks of %v, want %v", slices.Sorted(maps.Keys(seen)), want)
	}
}

// everywhere is one verdict for all sinks of bought.
func everywhere(verdict string) map[string]string {
	return map[string]string{"prod": verdict, "edge": verdict, "app": verdict, "nginx": verdict}
}

// daemon is `anycert run` in a scene.
type daemon struct {
	*scene
	*world.Daemon
}

func (w *scene) startDaemon() *daemon {
	w.T.Helper()
	return &daemon{w, w.Daemon(w.config)}
}

// awaitServed waits until every promise is kept and no place holds nothing: what is
// being issued is waited for.
func (d *daemon) awaitServed() {
	d.T.Helper()
	d.Await("is ready and every place is served", func() error {
		status, text, err := d.Get(d.T.Context(), "/health/ready")
		switch {
		case err != nil:
			return err
		case status != http.StatusOK:
			return errors.New(text)
		case slices.Contains(slices.Collect(maps.Values(d.served())), "nothing"):
			return errors.New("something is still to be issued")
		}
		return nil
	})
}

package e2e

import (
	"os/exec"

	"github.com/anycert/anycert/internal/testenv/world"
)

// run runs anycert to its end under the scene's configuration.
func (w *scene) run(args ...string) world.Result {
	w.T.Helper()
	return w.Run(w.config, args...)
}

// command prepares such a run.
func (w *scene) command(args ...string) *exec.Cmd { return w.Command(w.config, args...) }

// report runs a verb with -o json and expects an exit code.
func (w *scene) report(code int, verb string, args ...string) world.Report {
	w.T.Helper()
	return w.Report(code, w.config, verb, args...)
}

// only returns the one promise of a report that something is or was to be done
// about, which must be that of a place; all others must be kept.
func (w *scene) only(p world.Place, who string, r world.Report) world.Promise {
	w.T.Helper()
	acted := r.Acted()
	if len(acted) != 1 || acted[0].Place() != p {
		w.T.Fatalf("%s names %v, want %v alone", who, acted, p)
	}
	for _, other := range r.NotKept() {
		if other.Place() != p {
			w.T.Errorf("%s: %v", who, other)
		}
	}
	return acted[0]
}

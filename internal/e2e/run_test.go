package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// promise is one of a report in JSON, as machines read it.
type promise struct {
	Certificate string `json:"certificate"`
	Sink        string `json:"sink"`
	Target      string `json:"target"`
	Verdict     string `json:"verdict"`
	Action      string `json:"action"`
	Reason      string `json:"reason"`
	Pushed      bool   `json:"pushed"`
	Because     string `json:"because"`
	Version     int    `json:"version"`
}

func (p promise) place() place { return place{p.Certificate, p.Sink, p.Target} }

func (p promise) String() string {
	return fmt.Sprintf("%s at %s %s: %s %s %s%s", p.Certificate, p.Sink, p.Target, p.Verdict, p.Action, p.Reason, p.Because)
}

// report is what audit and sync print with -o json.
type report struct {
	Schema   int       `json:"schema"`
	Promises []promise `json:"promises"`
}

// notKept are the promises with another verdict.
func (r report) notKept() []promise {
	return slices.DeleteFunc(slices.Clone(r.Promises), func(p promise) bool { return p.Verdict == "kept" })
}

// acted are the promises that something is, or was, to be done about.
func (r report) acted() []promise {
	return slices.DeleteFunc(slices.Clone(r.Promises), func(p promise) bool { return p.Action == "" && !p.Pushed })
}

// result is how a run of anycert ended.
type result struct {
	code           int
	stdout, stderr string
}

// environment of every run: nothing of ours reaches anycert by accident.
func (w *world) environment(more ...string) []string {
	return append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "TMPDIR=" + w.dir}, more...)
}

// command prepares a run under the world's configuration.
func (w *world) command(args ...string) *exec.Cmd {
	return w.commandUnder(filepath.Join(w.dir, "config.yaml"), args...)
}

func (w *world) commandUnder(config string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(w.t.Context(), binary, append([]string{"--config", config}, args...)...)
	cmd.Env, cmd.Dir = w.environment(), w.dir
	return cmd
}

// run runs anycert to its end.
func (w *world) run(args ...string) result {
	w.t.Helper()
	return w.end(w.command(args...))
}

func (w *world) end(cmd *exec.Cmd) result {
	w.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// report runs a verb with -o json and expects an exit code.
func (w *world) report(code int, verb string, args ...string) report {
	w.t.Helper()
	return w.reportUnder(filepath.Join(w.dir, "config.yaml"), code, verb, args...)
}

// reportUnder is report under another configuration.
func (w *world) reportUnder(config string, code int, verb string, args ...string) report {
	w.t.Helper()
	return w.reportOf(code, w.commandUnder(config, append([]string{verb, "-o", "json"}, args...)...))
}

func (w *world) reportOf(code int, cmd *exec.Cmd) report {
	w.t.Helper()
	got := w.end(cmd)
	verb := strings.Join(cmd.Args[1:], " ")
	if got.code != code {
		w.t.Fatalf("anycert %s ended with exit code %d, want %d\n%s%s", verb, got.code, code, got.stdout, got.stderr)
	}
	var r report
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil || r.Schema != 1 {
		w.t.Fatalf("anycert %s: schema %d, %v\n%s", verb, r.Schema, err, got.stdout)
	}
	return r
}

// only returns the one promise of a report that something is or was to be done
// about, which must be that of a place; all others must be kept.
func (w *world) only(p place, who string, r report) promise {
	w.t.Helper()
	acted := r.acted()
	if len(acted) != 1 || acted[0].place() != p {
		w.t.Fatalf("%s names %v, want %v alone", who, acted, p)
	}
	for _, other := range r.notKept() {
		if other.place() != p {
			w.t.Errorf("%s: %v", who, other)
		}
	}
	return acted[0]
}

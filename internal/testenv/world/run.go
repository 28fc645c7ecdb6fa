package world

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/anycert/anycert/internal/testenv/parts"
)

// patience is more than any verb takes on a machine that is busy.
const patience = 2 * time.Minute

// Result is how a run of a program ended.
type Result struct {
	Command        string // as it was called
	Code           int    // exit code
	Stdout, Stderr string
}

// String tells everything of it.
func (r Result) String() string {
	return fmt.Sprintf("%s ended with exit code %d\n%s%s", r.Command, r.Code, r.Stdout, r.Stderr)
}

// Says reports whether stdout or stderr holds a text, in which runs of blanks
// count as one.
func (r Result) Says(text string) bool {
	return strings.Contains(strings.Join(strings.Fields(r.Stdout+r.Stderr), " "), text)
}

// Run runs anycert to its end under the configuration at a path.
func (w *World) Run(config string, args ...string) Result {
	w.T.Helper()
	return w.Do(w.Command(config, args...))
}

// Command prepares a run of anycert. Its Env may be added to and its Stdin set
// before Do; nothing of the environment of the test reaches it.
func (w *World) Command(config string, args ...string) *exec.Cmd {
	return w.Program(w.Binary, append([]string{"--config", config}, args...)...)
}

// Program prepares a run of any program, in the same way.
func (w *World) Program(path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(w.T.Context(), path, args...)
	cmd.Dir, cmd.Env = w.Dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.Dir, "TMPDIR=" + w.Dir}
	return cmd
}

// Do runs a command to its end, whatever its exit code, for two minutes at most.
func (w *World) Do(cmd *exec.Cmd) Result {
	w.T.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = 10 * time.Second // a child that was left behind may hold stdout
	w.Must(cmd.Start())
	late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	r := Result{filepath.Base(cmd.Path) + " " + strings.Join(cmd.Args[1:], " "), cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	if !late.Stop() {
		w.T.Fatalf("killed after %s: %v", patience, r)
	}
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		w.T.Fatal(err)
	}
	return r
}

// Kubectl runs the real kubectl as the administrator of a cluster. What stdin
// says it may read as "-f -".
func (w *World) Kubectl(cluster, stdin string, args ...string) Result {
	w.T.Helper()
	cmd := w.part(parts.Kubectl, append([]string{"--kubeconfig", w.Clusters[cluster].Kubeconfig}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	return w.Do(cmd)
}

// Helm runs the real helm.
func (w *World) Helm(args ...string) Result {
	w.T.Helper()
	return w.Do(w.part(parts.Helm, args...))
}

func (w *World) part(part parts.Part, args ...string) *exec.Cmd {
	w.T.Helper()
	path, err := parts.Find(part)
	w.Must(err)
	return w.Program(path, args...)
}

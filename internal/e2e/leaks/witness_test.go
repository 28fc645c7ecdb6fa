//go:build linux

package leaks

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anycert/anycert/internal/testenv/leak"
)

// witness runs programs and keeps all that they say, and all that others on the
// machine could see of them meanwhile.
type witness struct {
	t                *testing.T
	work, home, temp string // working directory, HOME and TMPDIR of each program

	mu    sync.Mutex
	kept  map[string][]byte // by where it was seen
	files []string          // that were made in the three
}

func newWitness(t *testing.T) *witness {
	t.Helper()
	dir := t.TempDir()
	w := &witness{t: t, kept: map[string][]byte{},
		work: filepath.Join(dir, "work"), home: filepath.Join(dir, "home"), temp: filepath.Join(dir, "temp")}
	for _, dir := range w.dirs() {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.watchFiles(); err != nil {
		t.Fatal("watching for files:", err)
	}
	return w
}

func (w *witness) dirs() []string { return []string{w.work, w.home, w.temp} }

// keep keeps what was seen somewhere. A second seeing of another text is kept
// beside the first.
func (w *witness) keep(where string, what []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for n, at := 1, where; ; n++ {
		old, seen := w.kept[at]
		if !seen || bytes.Equal(old, what) {
			w.kept[at] = bytes.Clone(what)
			return
		}
		at = fmt.Sprintf("%s (%d)", where, n+1)
	}
}

// program is one that was started.
type program struct {
	cmd            *exec.Cmd
	name           string
	stdout, stderr output
	ended          chan struct{} // closed to end the watching
	watched        sync.WaitGroup
}

// start starts a program with an environment of its own, and follows it.
func (w *witness) start(name string, cmd *exec.Cmd, environment ...string) *program {
	w.t.Helper()
	p := &program{cmd: cmd, name: name, ended: make(chan struct{})}
	cmd.Dir, cmd.Stdout, cmd.Stderr = w.work, &p.stdout, &p.stderr
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.home, "TMPDIR=" + w.temp}, environment...)
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	p.watched.Go(func() { w.follow(p) })
	return p
}

// wait waits for the program's end and returns its exit code.
func (w *witness) wait(p *program) int {
	w.t.Helper()
	err := p.cmd.Wait()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	}
	close(p.ended)
	p.watched.Wait()
	w.keep("stdout of "+p.name, p.stdout.Bytes())
	w.keep("stderr of "+p.name, p.stderr.Bytes())
	return p.cmd.ProcessState.ExitCode()
}

// follow looks at the program and its descendants until it ends: their arguments
// and environments. The program's own environment is left out, for it is ours.
func (w *witness) follow(p *program) {
	ticker := time.NewTicker(3 * time.Millisecond)
	defer ticker.Stop()
	for {
		w.keepProc(p.name, p.cmd.Process.Pid, "cmdline")
		for _, pid := range descendants(p.cmd.Process.Pid) {
			if !sameProgram(pid, p.cmd.Process.Pid) {
				w.keepProc("a child of "+p.name, pid, "cmdline", "environ")
			}
		}
		select {
		case <-p.ended:
			return
		case <-ticker.C:
		}
	}
}

// sameProgram tells whether a child has not become another program yet: until then
// its environment is that of its parent.
func sameProgram(child, parent int) bool {
	of := func(pid int) string {
		path, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)) // gone: no program
		return path
	}
	return of(child) == of(parent)
}

func (w *witness) keepProc(whose string, pid int, names ...string) {
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), name))
		if err == nil && len(text) > 0 { // else it has just ended
			w.keep(fmt.Sprintf("%s of %s (%d)", name, whose, pid), text)
		}
	}
}

func descendants(pid int) (all []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		text, _ := os.ReadFile(list) // gone: it has no children
		for field := range strings.FieldsSeq(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				all = append(append(all, child), descendants(child)...)
			}
		}
	}
	return all
}

// made are the files that were made in the program's folders so far.
func (w *witness) made() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.files)
}

// search looks for secrets in all that was kept.
func (w *witness) search(secrets ...leak.Secret) (findings []leak.Finding) {
	w.t.Helper()
	search, err := leak.New(secrets...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for where, what := range w.kept {
		findings = append(findings, search.Bytes(where, what)...)
	}
	for _, dir := range w.dirs() {
		found, err := search.Dir(dir)
		if err != nil {
			w.t.Fatal(err)
		}
		findings = append(findings, found...)
	}
	return findings
}

// output keeps what is written to it, and may be read meanwhile.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

var _ io.Writer = (*output)(nil)

func (o *output) Write(text []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(text)
}

func (o *output) Bytes() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Clone(o.text.Bytes())
}

func (o *output) String() string { return string(o.Bytes()) }

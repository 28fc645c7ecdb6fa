package truth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// report is what audit and sync print with -o json.
type report struct {
	Promises []struct {
		Certificate, Sink, Target, Verdict, Action, Reason string
		Pushed                                             bool
	}
	Certificates []struct{ Name, Problem string }
	Undeclared   []string
	Notes        []string
}

// command prepares a run under the world's configuration.
func (w *world) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(w.Context(), binary, append([]string{"--config", w.path("config.yaml")}, args...)...)
	cmd.Dir, cmd.Env = w.dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "TMPDIR=" + w.dir}
	return cmd
}

// run runs a verb and expects an exit code.
func (w *world) run(code int, args ...string) report {
	w.Helper()
	cmd := w.command(append(args, "-o", "json")...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err, exit := cmd.Run(), new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		w.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		w.Fatalf("anycert %v: %v\n%s%s", args, err, &stdout, &stderr)
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		w.Errorf("anycert %s ended with exit code %d, want %d: %s%s", strings.Join(args, " "), got, code, r.notKept(), &stderr)
	}
	return r
}

// verdicts expects those of a certificate's promises, by sink, and that each that
// is not kept says something.
func (r report) verdicts(w *world, certificate string, want map[string]string, says string) {
	w.Helper()
	seen := map[string]bool{}
	for _, p := range r.Promises {
		if p.Certificate != certificate {
			continue
		}
		seen[p.Sink] = true
		if p.Verdict != want[p.Sink] {
			w.Errorf("%s at %s %s is %s, want %s: %s", certificate, p.Sink, p.Target, p.Verdict, want[p.Sink], p.Reason)
		}
		if p.Verdict != "kept" && p.Verdict != "waiting" && !strings.Contains(p.Reason, says) {
			w.Errorf("%s at %s %s: %q does not say %q", certificate, p.Sink, p.Target, p.Reason, says)
		}
	}
	if len(seen) != len(want) {
		w.Errorf("the report speaks of %v, want %v", slices.Sorted(maps.Keys(seen)), want)
	}
}

func (r report) notKept() string {
	var text strings.Builder
	for _, p := range r.Promises {
		if p.Verdict != "kept" {
			fmt.Fprintf(&text, "\n%s at %s %s: %s: %s", p.Certificate, p.Sink, p.Target, p.Verdict, p.Reason)
		}
	}
	return text.String()
}

// everywhere is one verdict for all sinks of bought.
func everywhere(verdict string) map[string]string {
	return map[string]string{"prod": verdict, "edge": verdict, "app": verdict, "nginx": verdict}
}

// daemon is `anycert run`.
type daemon struct {
	*world
	cmd   *exec.Cmd
	log   *output
	url   string
	ended chan struct{}
}

var listening = regexp.MustCompile(`listen=(\S+)`)

func (w *world) startDaemon() *daemon {
	w.Helper()
	d := &daemon{world: w, cmd: w.command("run"), log: new(output), ended: make(chan struct{})}
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	w.must(d.cmd.Start())
	go func() {
		_ = d.cmd.Wait()
		close(d.ended)
	}()
	w.Cleanup(func() {
		_ = d.cmd.Process.Kill()
		<-d.ended
	})
	d.await("it listens", func() bool { return listening.MatchString(d.log.String()) })
	d.url = "http://" + listening.FindStringSubmatch(d.log.String())[1]
	return d
}

// await waits until something is so. The daemon must not end meanwhile.
func (d *daemon) await(what string, so func() bool) {
	d.Helper()
	deadline := time.After(time.Minute)
	for !so() {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-d.ended:
			d.Fatalf("waiting until %s: the daemon ended\n%s", what, d.log)
		case <-deadline:
			d.Fatalf("waited a minute until %s\n%s", what, d.log)
		}
	}
}

// ask asks for a health page.
func (d *daemon) ask(page string) (status int, text string) {
	d.Helper()
	ctx, cancel := context.WithTimeout(d.Context(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url+page, nil)
	d.must(err)
	response, err := http.DefaultClient.Do(request)
	d.must(err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	d.must(err)
	return response.StatusCode, string(body)
}

// awaitReady waits until every promise is kept; what is being issued is waited for.
func (d *daemon) awaitReady() {
	d.Helper()
	d.await("it is ready", func() bool {
		status, _ := d.ask("/health/ready")
		return status == http.StatusOK && !slices.Contains(slices.Collect(maps.Values(d.served())), "nothing")
	})
}

// awaitUnready waits until the page says that something is wrong, in these words.
func (d *daemon) awaitUnready(words string) {
	d.Helper()
	d.await("it is not ready: "+words, func() bool {
		status, text := d.ask("/health/ready")
		return status == http.StatusServiceUnavailable && strings.Contains(text, words)
	})
	d.lives()
}

func (d *daemon) lives() {
	d.Helper()
	if status, text := d.ask("/health/live"); status != http.StatusOK {
		d.Errorf("/health/live: %d %s", status, text)
	}
}

// end expects the daemon to end well and soon.
func (d *daemon) end() {
	d.Helper()
	d.must(d.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-d.ended:
	case <-time.After(10 * time.Second):
		d.Fatalf("it did not end within 10 s of SIGTERM\n%s", d.log)
	}
	if code := d.cmd.ProcessState.ExitCode(); code != 0 {
		d.Errorf("it ended with exit code %d\n%s", code, d.log)
	}
}

// output keeps what is written to it, and may be read meanwhile.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(text []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(text)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Package program builds anycert as it is shipped and runs its daemon, for
// tests, the demo and the bench.
package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"syscall"
	"time"

	"github.com/anycert/anycert/internal/testenv/parts"
	"github.com/anycert/anycert/internal/testenv/process"
)

// Build builds the program at path, as `make build` does and the release, whatever
// the environment says. With Go's cache warm it takes about a second.
func Build(ctx context.Context, path string) error {
	checkout, err := parts.Checkout()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "./cmd/anycert")
	cmd.Dir, cmd.Env = checkout, append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building anycert: %w\n%s", err, text)
	}
	return nil
}

// Spec says how to run the daemon.
type Spec struct {
	Binary string   // see Build
	Config string   // path
	Flags  []string // global flags
	Env    []string // beside PATH, HOME and TMPDIR, all that it sees
	Dir    string   // working folder, HOME, TMPDIR, and of its log
}

// Daemon is a running `anycert run`.
type Daemon struct {
	*process.Process
	URL string // of its health pages: http://127.0.0.1:PORT
}

// Start starts the daemon and waits until it listens.
func Start(ctx context.Context, spec Spec) (*Daemon, error) {
	args := append([]string{"--config", spec.Config}, spec.Flags...)
	child, err := process.Start(process.Spec{Name: "anycert", Path: spec.Binary, Args: append(args, "run"),
		Env: append([]string{"TMPDIR=" + spec.Dir}, spec.Env...), Dir: spec.Dir})
	if err != nil {
		return nil, err
	}
	d := &Daemon{Process: child}
	if err := d.WaitUntil(ctx, "listens", d.findURL); err != nil {
		d.Kill()
		return nil, err
	}
	return d, nil
}

// listens is in the first line of the log, in either format.
var listens = regexp.MustCompile(`\blisten"?[=:]"?([^\s"]+)`)

func (d *Daemon) findURL(context.Context) error {
	log, err := d.Log()
	if err != nil {
		return err
	}
	match := listens.FindSubmatch(log)
	if match == nil {
		return errors.New("it has not said where")
	}
	_, port, err := net.SplitHostPort(string(match[1]))
	d.URL = "http://127.0.0.1:" + port
	return err
}

// Get asks for a page, such as "/health/ready".
func (d *Daemon) Get(ctx context.Context, page string) (status int, body string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.URL+page, nil)
	if err != nil {
		return 0, "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// WaitReady waits until every promise is kept, by the daemon's own word.
func (d *Daemon) WaitReady(ctx context.Context) error {
	return d.WaitUntil(ctx, "is ready", func(ctx context.Context) error {
		status, body, err := d.Get(ctx, "/health/ready")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("/health/ready: %d: %s", status, body)
		}
		return err
	})
}

// Terminate sends SIGTERM, waits until the daemon has ended, at most the ten
// seconds that it promises, and fails unless it ended well.
func (d *Daemon) Terminate() error {
	if err := d.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-d.Done():
	case <-time.After(10 * time.Second):
		d.Kill()
		return errors.New("anycert did not end within 10 s of SIGTERM")
	}
	if code := d.ExitCode(); code != 0 {
		return fmt.Errorf("anycert ended with exit code %d at SIGTERM", code)
	}
	return nil
}

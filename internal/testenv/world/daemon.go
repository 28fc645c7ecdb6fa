package world

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/anycert/anycert/internal/testenv/program"
)

// Daemon is a running `anycert run`, with a folder and a log of its own.
type Daemon struct {
	*program.Daemon
	t *testing.T
}

// Daemon starts the daemon and waits until it listens; the configuration should
// say so on "127.0.0.1:0". It logs JSON. Its end is the test's, whose failure
// shows the log.
func (w *World) Daemon(config string, env ...string) *Daemon {
	w.T.Helper()
	started, err := program.Start(w.T.Context(), program.Spec{Binary: w.Binary, Config: config,
		Flags: []string{"--log-format", "json"}, Env: env, Dir: w.T.TempDir()})
	w.Must(err)
	d := &Daemon{started, w.T}
	w.T.Cleanup(func() {
		d.Kill()
		if w.T.Failed() {
			w.T.Logf("the log of the daemon under %s:\n%s", config, d.Logged())
		}
	})
	return d
}

// Logged is what the daemon has said so far.
func (d *Daemon) Logged() []byte {
	d.t.Helper()
	text, err := d.Log()
	if err != nil {
		d.t.Fatal(err)
	}
	return text
}

// Said returns the fields of the last line with a message, or nil.
func (d *Daemon) Said(message string) map[string]string {
	d.t.Helper()
	var last map[string]string
	for line := range bytes.Lines(d.Logged()) {
		var fields map[string]any
		if json.Unmarshal(line, &fields) != nil || fields["msg"] != message {
			continue
		}
		last = map[string]string{}
		for key, value := range fields {
			last[key] = fmt.Sprint(value)
		}
	}
	return last
}

// Await asks until the answer is nil, while the daemon lives, for two minutes at
// most. What completes "waiting until anycert …".
func (d *Daemon) Await(what string, ask func() error) {
	d.t.Helper()
	if err := d.WaitUntil(d.t.Context(), what, func(context.Context) error { return ask() }); err != nil {
		d.t.Fatal(err)
	}
}

// Answers waits until a page has a status and says something.
func (d *Daemon) Answers(page string, status int, text string) {
	d.t.Helper()
	d.Await(fmt.Sprintf("answers %s with %d %q", page, status, text), func() error {
		got, body, err := d.Get(d.t.Context(), page)
		if err == nil && (got != status || !strings.Contains(body, text)) {
			err = fmt.Errorf("it answers %d: %s", got, body)
		}
		return err
	})
}

// AwaitReady waits until every promise is kept; what is being issued for the
// first time is not waited for.
func (d *Daemon) AwaitReady() {
	d.t.Helper()
	d.Answers("/health/ready", http.StatusOK, "")
}

// AwaitUnready waits until the page says that something is wrong, in these
// words, and expects the daemon to live on.
func (d *Daemon) AwaitUnready(words string) {
	d.t.Helper()
	d.Answers("/health/ready", http.StatusServiceUnavailable, words)
	d.Lives()
}

// Lives expects that the loop turns.
func (d *Daemon) Lives() {
	d.t.Helper()
	if status, text, err := d.Get(d.t.Context(), "/health/live"); err != nil || status != http.StatusOK {
		d.t.Errorf("/health/live: %d %s (%v)", status, text, err)
	}
}

// HangUp sends SIGHUP, at which it reads its configuration and makes a pass.
func (d *Daemon) HangUp() {
	d.t.Helper()
	if err := d.Signal(syscall.SIGHUP); err != nil {
		d.t.Fatal(err)
	}
}

// End sends SIGTERM and expects the daemon to end well within ten seconds.
func (d *Daemon) End() {
	d.t.Helper()
	if err := d.Terminate(); err != nil {
		d.t.Errorf("%v\n%s", err, d.Logged())
	}
}

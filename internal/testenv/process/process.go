// Package process runs the rig's servers: each is a child on loopback with its
// own log file, dies with the program that started it, and is waited for by
// asking it, never by sleeping.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// Spec says what to run.
type Spec struct {
	Name string   // in errors, and of the log file
	Path string   // of the binary
	Args []string // without the program's name
	Env  []string // beside PATH and HOME, all that the child sees
	Dir  string   // working folder, HOME, and where NAME.log is written
}

// Process is a running child.
type Process struct {
	name string
	log  string
	cmd  *exec.Cmd
	done chan struct{} // closed when the child was waited for
	err  error         // how it ended; read after done
}

// Start runs the child and returns at once: see WaitUntil.
func Start(spec Spec) (*Process, error) {
	p := &Process{name: spec.Name, log: filepath.Join(spec.Dir, spec.Name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", spec.Name, err)
	}
	defer log.Close()
	p.cmd = exec.Command(spec.Path, spec.Args...)
	p.cmd.Dir = spec.Dir
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + spec.Dir}, spec.Env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = attributes()
	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", spec.Name, err)
	}
	return p, nil
}

// run owns an operating system thread for the child's life: the signal that
// ends a child with its parent is tied to the thread that made it.
func (p *Process) run(started chan<- error) {
	runtime.LockOSThread()
	if err := p.cmd.Start(); err != nil {
		started <- err
		return
	}
	started <- nil
	p.err = p.cmd.Wait()
	close(p.done)
}

// PID returns the child's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the child has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// ExitCode returns how the child ended, once Done is closed; -1 says by a signal.
func (p *Process) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

// Log returns what the child has written so far to stdout and stderr.
func (p *Process) Log() ([]byte, error) { return os.ReadFile(p.log) }

// Signal sends a signal to the child.
func (p *Process) Signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("signalling %s: %w", p.name, err)
	}
	return nil
}

// Stop ends the child: SIGTERM, and after five seconds SIGKILL. It may be
// called more than once.
func (p *Process) Stop() { p.stop(5 * time.Second) }

// Kill ends the child with SIGKILL, as a crash would.
func (p *Process) Kill() { p.stop(0) }

func (p *Process) stop(grace time.Duration) {
	if grace > 0 {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
			return
		case <-time.After(grace):
		}
	}
	_ = p.cmd.Process.Kill()
	<-p.done
}

// patience is more than any child takes on a machine that is busy.
const patience = 2 * time.Minute

// WaitUntil asks probe again and again until it returns nil. It gives up when
// ctx ends, when the child does, or after two minutes if ctx has no deadline: its
// error begins with "waiting until NAME " and what, such as "is ready", and
// quotes the end of the child's log.
func (p *Process) WaitUntil(ctx context.Context, what string, probe func(context.Context) error) error {
	if _, has := ctx.Deadline(); !has {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := probe(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-p.done:
			return p.quote(fmt.Errorf("waiting until %s %s: it ended: %w", p.name, what, errors.Join(p.err, err)))
		case <-ctx.Done():
			return p.quote(fmt.Errorf("waiting until %s %s: %w: %w", p.name, what, context.Cause(ctx), err))
		}
	}
}

func (p *Process) quote(err error) error {
	const most = 2000
	log, readErr := p.Log()
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	if len(log) > most {
		log = log[len(log)-most:]
	}
	return fmt.Errorf("%w\nthe end of %s:\n%s", err, p.log, log)
}

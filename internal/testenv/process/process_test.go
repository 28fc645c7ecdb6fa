package process_test

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anycert/anycert/internal/testenv/process"
)

func shell(t *testing.T, script string) *process.Process {
	t.Helper()
	p, err := process.Start(process.Spec{Name: "child", Path: "/bin/sh", Args: []string{"-c", script}, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

func TestWaitUntilQuotesAChildThatEnds(t *testing.T) {
	p := shell(t, "echo no such option >&2; exit 3")
	never := errors.New("not yet")
	err := p.WaitUntil(t.Context(), "is ready", func(context.Context) error { return never })
	for _, want := range []string{"waiting until child is ready", "exit status 3", "not yet", "no such option"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\ndoes not tell of %q", err, want)
		}
	}
	if !errors.Is(err, never) {
		t.Error("the probe's error is lost")
	}
}

func TestWaitUntilEndsWithItsContext(t *testing.T) {
	p := shell(t, "exec sleep 60")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := p.WaitUntil(ctx, "is ready", func(context.Context) error { return errors.New("not yet") })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want the deadline", err)
	}
}

func TestStopTerminatesInOrder(t *testing.T) {
	p := shell(t, `trap 'echo ended in order; exit' TERM; echo ready; while :; do sleep 0.01; done`)
	waitForLog(t, p, "ready")
	p.Stop()
	waitForLog(t, p, "ended in order")
	p.Stop() // again is harmless
	if err := p.Signal(os.Interrupt); err == nil {
		t.Error("a signal reached a child that has ended")
	}
}

func waitForLog(t *testing.T, p *process.Process, text string) {
	t.Helper()
	err := p.WaitUntil(t.Context(), "says "+text, func(context.Context) error {
		log, err := p.Log()
		if err == nil && !strings.Contains(string(log), text) {
			err = errors.New("it has not said so")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFreeAddrIsNobodyElses(t *testing.T) {
	seen := map[string]bool{}
	for range 50 {
		addr, err := process.FreeAddr()
		if err != nil {
			t.Fatal(err)
		}
		if seen[addr] {
			t.Fatalf("%s was given twice", addr)
		}
		seen[addr] = true
	}
	for addr := range seen {
		listener, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatalf("nobody can listen on it: %v", err)
		}
		listener.Close()
	}
}

// At an address that is held nobody answers, but who it is held for; nobody else is
// given it.
func TestHoldRefuses(t *testing.T) {
	addr, release, err := process.Hold()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	refused := func(when string) {
		t.Helper()
		if _, err := net.Dial("tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: %v", when, err)
		}
	}
	refused("at first")
	for range 2 {
		listener, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatalf("nobody can listen on it: %v", err)
		}
		client, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		client.Close()
		listener.Close()
		refused("closed again")
	}
}

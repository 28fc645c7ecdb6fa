package file

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/sinks/sinktest"
)

// childVariable makes the test binary do one pass and end: for what can be shown of
// another process alone.
const childVariable = "ANYCERT_FILE_CHILD"

// order is what a child is to do. The pair goes through files: the tests of keys in
// environments look at children too.
type order struct {
	Config     Config
	UID        int    // to become first; 0: stay
	KillAt     int    // the step before which it is killed; 0: none
	KillBefore string // or the name of that step
	Dir        string // holds the pair
	Time       time.Time
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childVariable); text != "" {
		if err := obey(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child runs an order in a process of its own and returns what it printed.
func child(t testing.TB, o order, pair sinktest.Pair) (string, error) {
	t.Helper()
	o.Dir, o.Time = t.TempDir(), pair.Entry.Time
	must(t, os.WriteFile(filepath.Join(o.Dir, "chain"), pair.Bundle.FullChainPEM(), 0o600))
	must(t, os.WriteFile(filepath.Join(o.Dir, "key"), []byte(pair.Bundle.KeyPEM().Reveal()), 0o600))
	text, err := json.Marshal(o)
	must(t, err)
	program, err := os.Executable()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	output, err := cmd.CombinedOutput()
	return string(output), err
}

// killed reports whether a child ended by SIGKILL.
func killed(err error) bool {
	exit, ok := err.(*exec.ExitError)
	return ok && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
}

func obey(text string) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	chain, err := os.ReadFile(filepath.Join(o.Dir, "chain"))
	if err != nil {
		return err
	}
	key, err := os.ReadFile(filepath.Join(o.Dir, "key"))
	if err != nil {
		return err
	}
	bundle, err := anycert.ParseBundle(chain, key)
	if err != nil {
		return err
	}
	if o.UID != 0 {
		if err := cmp.Or(syscall.Setgroups(nil), syscall.Setgid(o.UID), syscall.Setuid(o.UID)); err != nil {
			return err
		}
	}
	return pass(o, anycert.Entry{Name: "example", Version: 1, Time: o.Time, Digest: bundle.Digest(), Leaf: bundle.Leaf()}, bundle)
}

// pass is what reconcile does with one target. It prints what it met.
func pass(o order, entry anycert.Entry, bundle *anycert.Bundle) error {
	opened, err := o.Config.Open(testEnv(sinktest.Owner))
	if err != nil {
		return err
	}
	s := opened.(*Sink)
	s.step = func(name string) error {
		if o.KillAt--; o.KillAt == 0 || name == o.KillBefore {
			return syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		return nil
	}
	ctx, target := context.Background(), targetOf(s, entry.Name)
	_, observeErr := s.Observe(ctx, target)
	pushErr := s.Push(ctx, target, entry, bundle)
	probeErr := s.Probe(ctx)
	if err := errors.Join(observeErr, pushErr, probeErr); err != nil {
		return err
	}
	return s.Finish(ctx)
}

func targetOf(s *Sink, certificate string) anycert.Target {
	targets, err := s.Targets(certificate, nil)
	if err != nil {
		panic(err)
	}
	return targets[0]
}

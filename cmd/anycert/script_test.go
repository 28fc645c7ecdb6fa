package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/store/local"
)

// TestMain makes this test's binary stand for anycert in the sessions.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"anycert": main})
}

// TestSessions types the sessions of testdata/script and compares what comes back.
// Each begins with a sentence of what it promises, and needs nothing but this
// machine. Beside the commands of testscript they have the ones below.
func TestSessions(t *testing.T) {
	ca, err := certs.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
			"plant": func(ts *testscript.TestScript, neg bool, args []string) { plant(ts, ca, neg, args) },
			"hold":  hold,
			"await": await,
		},
	})
}

// exits runs a command and expects its exit code: exits CODE COMMAND...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	got := 0
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// plant puts a certificate into a local store, as the next version:
// plant [-expired] STORE NAME DOMAIN...
func plant(ts *testscript.TestScript, ca *certs.CA, neg bool, args []string) {
	options := certs.Options{Intermediate: true}
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		switch args[0] {
		case "-expired":
			options.NotBefore = time.Now().Add(-48 * time.Hour)
			options.NotAfter = time.Now().Add(-time.Hour)
		default:
			ts.Fatalf("plant: what is %s?", args[0])
		}
		args = args[1:]
	}
	if neg || len(args) < 3 {
		ts.Fatalf("usage: plant [-expired] STORE NAME DOMAIN...")
	}
	options.Names = args[2:]
	pair, err := ca.Issue(options)
	ts.Check(err)
	bundle, err := anycert.ParseBundle(pair.ChainPEM, pair.KeyPEM)
	ts.Check(err)
	store := openStore(ts, args[0])
	entry, err := store.Stat(context.Background(), args[1])
	if err != nil && !errors.Is(err, anycert.ErrNotFound) {
		ts.Check(err)
	}
	_, err = store.Put(context.Background(), args[1], entry.Version, bundle, anycert.Origin{})
	ts.Check(err)
}

func openStore(ts *testscript.TestScript, path string) *local.Store {
	store, err := local.Config{Path: ts.MkAbs(path)}.Open()
	ts.Check(err)
	return store
}

// hold takes the lock of a local store's file and keeps it until the session ends:
// hold STORE
func hold(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: hold STORE")
	}
	file, err := os.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Defer(func() { _ = file.Close() }) // and with it the lock
	ts.Check(unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB))
	ts.Setenv("HOLDER", strconv.Itoa(os.Getpid()))
}

// await waits until a file is there: await FILE
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: await FILE")
	}
	path := ts.MkAbs(args[0])
	for deadline := time.Now().Add(time.Minute); ; {
		if _, err := os.Stat(path); err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s did not appear within a minute", args[0])
		}
		time.Sleep(10 * time.Millisecond)
	}
}

package issuer_test

import (
	"bytes"
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
	"github.com/anycert/anycert/internal/testenv/dnsserver"
	"github.com/anycert/anycert/issuer"
	"github.com/anycert/anycert/issuer/dns01"
	"github.com/anycert/anycert/store"
	"github.com/anycert/anycert/store/local"
)

// task is what a child process is told on stdin: to obtain one certificate, and to
// die on the way.
type task struct {
	Local       string // path of the store's file, or
	Vault       string // address of a Vault whose token is in VAULT_TOKEN
	ACME, Roots string
	DNS, Secret string
	Certificate anycert.Certificate
	DieAt       issuer.Point
}

const childVariable = "ANYCERT_ISSUER_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		os.Exit(child())
	}
	os.Exit(m.Run())
}

// child works as a daemon would, and exits with 3 when another process is at it.
func child() int {
	var t task
	if err := json.NewDecoder(os.Stdin).Decode(&t); err != nil {
		return fail(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	i, err := t.issuer()
	if err != nil {
		return fail(err)
	}
	_, err = i.Obtain(ctx, t.Certificate)
	if errors.Is(err, anycert.ErrClaimed) {
		return 3
	}
	if err != nil {
		return fail(err)
	}
	return 0
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func (t task) issuer() (*issuer.Issuer, error) {
	o := issuer.Options{
		Issuers: []issuer.Config{{
			Name: "pebble", Directory: t.ACME, CABundle: t.Roots,
			DNS: dns01.Config{updates(t.DNS, "env", "TSIG_SECRET", dnsserver.Algorithm)},
		}},
		Credential: secrets{"env TSIG_SECRET": t.Secret}.credential,
		At: func(point issuer.Point) {
			if point == t.DieAt {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {} // until the signal arrives
			}
		},
	}
	if t.Vault != "" {
		vault, err := store.Config{Address: t.Vault}.Open(store.Env{Getenv: os.Getenv, UserAgent: "anycert/test"})
		if err != nil {
			return nil, err
		}
		o.Store, o.Records = vault, vault
		return issuer.New(o)
	}
	file, err := local.Config{Path: t.Local}.Open()
	if err != nil {
		return nil, err
	}
	o.Store, o.Records = file, file
	return issuer.New(o)
}

// start runs the task in a process of its own.
func (t task) start(tb testing.TB, environment ...string) *exec.Cmd {
	tb.Helper()
	text, err := json.Marshal(t)
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append([]string{childVariable + "=1", "HOME=" + tb.TempDir()}, environment...)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(text), new(bytes.Buffer)
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd
}

// code waits for a child and returns how it ended: -1 by a signal.
func code(tb testing.TB, cmd *exec.Cmd) int {
	tb.Helper()
	_ = cmd.Wait()
	if said := cmd.Stderr.(*bytes.Buffer).String(); said != "" {
		tb.Logf("the child said: %s", said)
	}
	return cmd.ProcessState.ExitCode()
}

func (w *world) task(c anycert.Certificate) task {
	return task{
		Local: filepath.Join(w.t.TempDir(), "store.db"), ACME: w.acme.URL, Roots: w.roots,
		DNS: w.dns.Addr, Secret: w.dns.Secret, Certificate: c,
	}
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
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
			"exits":      exits,
			"plant":      func(ts *testscript.TestScript, neg bool, args []string) { plant(ts, ca, neg, args) },
			"sign":       func(ts *testscript.TestScript, neg bool, args []string) { sign(ts, ca, neg, args) },
			"destroy":    destroy,
			"revoked":    revoked,
			"hold":       hold,
			"json":       checkJSON,
			"denying":    denying,
			"nextsecond": nextsecond,
			"answers":    answers,
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
// plant [-expired] [-issued] STORE NAME DOMAIN...
//
// One that was -issued is as if the issuer letsencrypt had obtained it.
func plant(ts *testscript.TestScript, ca *certs.CA, neg bool, args []string) {
	options, origin := certs.Options{Intermediate: true}, anycert.Origin{}
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		switch args[0] {
		case "-expired":
			options.NotBefore = time.Now().Add(-48 * time.Hour)
			options.NotAfter = time.Now().Add(-time.Hour)
		case "-issued":
			origin = anycert.Origin{Issuer: "letsencrypt", Directory: "https://acme-v02.api.letsencrypt.org/directory"}
		default:
			ts.Fatalf("plant: what is %s?", args[0])
		}
		args = args[1:]
	}
	if neg || len(args) < 3 {
		ts.Fatalf("usage: plant [-expired] [-issued] STORE NAME DOMAIN...")
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
	_, err = store.Put(context.Background(), args[1], entry.Version, bundle, origin)
	ts.Check(err)
}

// sign has the CA that plants certificates sign a request: sign REQUEST CERTIFICATE
func sign(ts *testscript.TestScript, ca *certs.CA, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sign REQUEST CERTIFICATE")
	}
	chain, err := ca.Sign([]byte(ts.ReadFile(args[0])))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), certs.ChainPEM(chain...), 0o600))
}

// destroy destroys a version in a local store: destroy STORE NAME VERSION
func destroy(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: destroy STORE NAME VERSION")
	}
	version, err := strconv.Atoi(args[2])
	ts.Check(err)
	ts.Check(openStore(ts, args[0]).Destroy(context.Background(), args[1], []int{version}))
}

// revoked notes in a local store that a version was revoked: revoked STORE NAME VERSION
func revoked(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: revoked STORE NAME VERSION")
	}
	version, err := strconv.Atoi(args[2])
	ts.Check(err)
	note := anycert.Revocation{Time: time.Date(2026, 3, 1, 12, 0, 5, 0, time.UTC), By: "ops@laptop", Reason: "superseded"}
	ts.Check(openStore(ts, args[0]).NoteRevoked(context.Background(), args[1], []int{version}, note))
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

// nextsecond waits for the next second of the clock: marks are of whole seconds.
func nextsecond(*testscript.TestScript, bool, []string) {
	now := time.Now()
	time.Sleep(now.Truncate(time.Second).Add(time.Second).Sub(now))
}

// denying makes VAULT_ADDR that of a Vault that answers every request with 403.
func denying(ts *testscript.TestScript, _ bool, _ []string) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"errors":["permission denied"]}`)
	}))
	ts.Defer(server.Close)
	ts.Setenv("VAULT_ADDR", server.URL)
}

// answers waits until a daemon that logs to LOG answers with CODE, and writes what it
// says to a file: answers LOG PATH CODE FILE
func answers(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: answers LOG PATH CODE FILE")
	}
	var said string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		log, _ := os.ReadFile(ts.MkAbs(args[0])) // it may not be there yet
		_, address, _ := strings.Cut(string(log), " listen=")
		address, _, _ = strings.Cut(address, "\n")
		response, err := http.Get("http://" + address + args[1])
		if err != nil {
			said = err.Error()
			continue
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if said = string(body); err == nil && strconv.Itoa(response.StatusCode) == args[2] {
			ts.Check(os.WriteFile(ts.MkAbs(args[3]), body, 0o600))
			return
		}
		said = response.Status + "\n" + said
	}
	ts.Fatalf("%s is not answered with %s: %s", args[1], args[2], said)
}

// checkJSON expects a value in the JSON that the last command printed, and nothing
// after it: json .PATH.TO.IT VALUE
func checkJSON(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: json .PATH VALUE")
	}
	var at any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &at))
	for step := range strings.SplitSeq(strings.TrimPrefix(args[0], "."), ".") {
		switch value := at.(type) {
		case map[string]any:
			at = value[step]
		case []any:
			i, err := strconv.Atoi(step)
			ts.Check(err)
			if i >= len(value) {
				ts.Fatalf("%s: there are %d", args[0], len(value))
			}
			at = value[i]
		default:
			at = nil
		}
	}
	if got := fmt.Sprint(at); got != args[1] {
		ts.Fatalf("%s is %s, want %s", args[0], got, args[1])
	}
}

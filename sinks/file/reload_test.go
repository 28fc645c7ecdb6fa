package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anycert/anycert/sinks/sinktest"
)

// script writes a shell script and returns the reload that runs it.
func script(t testing.TB, text string) []string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "reload.sh")
	must(t, os.WriteFile(name, []byte(text), 0o600))
	return []string{"sh", name}
}

// swapped makes a sink to which one certificate was pushed: a reload is owed.
func swapped(t testing.TB, config Config) (*Sink, sinktest.Pair) {
	t.Helper()
	config.Dir = filepath.Join(t.TempDir(), "certificates")
	pair := sinktest.Issue(t, "example", []string{"example.com"}, 1)[0]
	s := open(t, config, sinktest.Owner, nil)
	must(t, s.Push(t.Context(), targetOf(s, "example"), pair.Entry, pair.Bundle))
	return s, pair
}

func TestReloadOnceForAPass(t *testing.T) {
	count := filepath.Join(t.TempDir(), "count")
	config := Config{
		Dir:    filepath.Join(t.TempDir(), "certificates"),
		Reload: script(t, `echo reloaded >> "$1"`),
	}
	config.Reload = append(config.Reload, count)
	s := open(t, config, sinktest.Owner, nil)
	reloads := func() int {
		data, _ := os.ReadFile(count)
		return strings.Count(string(data), "\n")
	}
	must(t, s.Finish(t.Context()))
	if n := reloads(); n != 0 {
		t.Fatalf("%d reloads before anything was pushed", n)
	}
	for _, name := range []string{"one", "two", "three"} {
		pair := sinktest.Issue(t, name, []string{"example.com"}, 1)[0]
		must(t, s.Push(t.Context(), targetOf(s, name), pair.Entry, pair.Bundle))
		must(t, s.Push(t.Context(), targetOf(s, name), pair.Entry, pair.Bundle))
	}
	must(t, s.Finish(t.Context()))
	must(t, s.Finish(t.Context()))
	if n := reloads(); n != 1 {
		t.Errorf("%d reloads for a pass with three pushes and one without, want 1", n)
	}
}

// A mode that was widened is mended without disturbing the server.
func TestMendedModeNeedsNoReload(t *testing.T) {
	reloaded := filepath.Join(t.TempDir(), "reloaded")
	s, pair := swapped(t, Config{Reload: []string{"touch", reloaded}})
	must(t, s.Finish(t.Context()))
	must(t, os.Remove(reloaded))
	must(t, os.Chmod(filepath.Join(s.path("example"), keyFile), 0o644))
	doPass(t, s, pair)
	agree(t, s, pair)
	if exists(reloaded) {
		t.Error("the server was told of a mode")
	}
}

func TestFailedReloadStaysOwed(t *testing.T) {
	flag := filepath.Join(t.TempDir(), "flag")
	config := Config{Reload: append(script(t, `test -e "$1" || { echo "cannot load, file 'x'	is missing"; exit 3; }`), flag)}
	s, pair := swapped(t, config)
	for range 2 {
		err := s.Finish(t.Context())
		if err == nil {
			t.Fatal("a reload that failed was returned as nil")
		}
		for _, want := range []string{s.path("example"), "exit status 3", "it printed: cannot load, file 'x' is missing"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("the error does not say %q: %v", want, err)
			}
		}
		observed, err := s.Observe(t.Context(), targetOf(s, "example"))
		must(t, err)
		if len(observed.Deviations) != 1 || observed.Deviations[0].Kind != "reload" {
			t.Errorf("the deviations are %v, want one reload", observed.Deviations)
		}
	}
	must(t, os.WriteFile(flag, nil, 0o600))
	must(t, s.Finish(t.Context()))
	agree(t, s, pair)
}

// A push during a reload is not covered by it.
func TestPushDuringReload(t *testing.T) {
	s, _ := swapped(t, Config{Reload: []string{"true"}})
	younger := sinktest.Issue(t, "example", []string{"example.com"}, 2)[0]
	debts, err := s.debts()
	must(t, err)
	must(t, s.Push(t.Context(), targetOf(s, "example"), younger.Entry, younger.Bundle))
	must(t, s.settle(t.Context(), debts))
	if debts, err := s.debts(); err != nil || len(debts) != 1 {
		t.Errorf("after a push during the reload the debts are (%v, %v), want one", debts, err)
	}
	must(t, s.Finish(t.Context()))
	agree(t, s, younger)
}

func TestReloadSeesNothingOfUs(t *testing.T) {
	t.Setenv("FASTLY_API_TOKEN", "a token that is nobody's business")
	output := filepath.Join(t.TempDir(), "output")
	config := Config{Reload: append(script(t, `{ env; echo "arguments: $*"; pwd; } > "$1"`), output, "$HOME; touch /tmp/never `id`")}
	s, _ := swapped(t, config)
	must(t, s.Finish(t.Context()))
	data, err := os.ReadFile(output)
	must(t, err)
	text := string(data)
	if !strings.Contains(text, "arguments: "+output+" $HOME; touch /tmp/never `id`\n") {
		t.Errorf("the arguments went through a shell:\n%s", text)
	}
	for line := range strings.Lines(text) {
		name, _, isVariable := strings.Cut(line, "=")
		if isVariable && name != "PATH" && name != "LANG" && name != "PWD" && name != "_" && name != "OLDPWD" && name != "SHLVL" {
			t.Errorf("the command sees the variable %s", name)
		}
	}
}

// The command, and what it started, are ended with the time limit.
func TestReloadTimeout(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	s, _ := swapped(t, Config{
		Reload:        append(script(t, `sleep 600 & echo $! > "$1"; echo $$ >> "$1"; echo waiting; wait`), pids),
		ReloadTimeout: 3 * time.Second, // for a shell to start and to write
	})
	err := s.Finish(t.Context())
	if err == nil || !strings.Contains(err.Error(), "did not end within 3s and was killed") || !strings.Contains(err.Error(), "waiting") {
		t.Errorf("Finish returned %v", err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		t.Error("the command's own limit is taken for the end of the pass")
	}
	data, err := os.ReadFile(pids)
	must(t, err)
	for _, text := range strings.Fields(string(data)) {
		pid, err := strconv.Atoi(text)
		must(t, err)
		eventually(t, fmt.Sprintf("process %d is gone", pid), func() bool { return !alive(pid) })
	}
}

func TestReloadEndsWithThePass(t *testing.T) {
	started := filepath.Join(t.TempDir(), "started")
	s, _ := swapped(t, Config{Reload: append(script(t, `touch "$1"; exec sleep 600`), started)})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Finish(ctx) }()
	eventually(t, "the command runs", func() bool { return exists(started) })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Finish returned %v, want context.Canceled", err)
	}
}

// A server that the command leaves behind keeps our pipe open: that is no failure.
func TestReloadLeavesAServer(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	s, pair := swapped(t, Config{Reload: append(script(t, `sleep 600 & echo $! > "$1"`), pids)})
	t.Cleanup(func() {
		data, _ := os.ReadFile(pids)
		if pid, err := strconv.Atoi(strings.TrimSpace(string(data))); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	must(t, s.Finish(t.Context()))
	agree(t, s, pair)
}

func TestReloadOutput(t *testing.T) {
	for name, test := range map[string]struct {
		script   string
		want     string
		withhold bool
	}{
		"long":              {`i=0; while [ $i -lt 5000 ]; do echo "line $i"; i=$((i+1)); done; exit 1`, "line 4999", false},
		"control signs":     {`printf 'a\033[31mred\033[0m\r\nb\000c'; exit 1`, "it printed: a [31mred [0m b c", false},
		"the key":           {`cat "$1/privkey.pem"; exit 1`, "left out", true},
		"a part of it":      {`sed -n 2p "$1/privkey.pem" | cut -c 5-40; exit 1`, "left out", true},
		"broken over lines": {`sed -n 2p "$1/privkey.pem" | fold -w 5; exit 1`, "left out", true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "certificates")
			pair := sinktest.Issue(t, "example", []string{"example.com"}, 1)[0]
			s := open(t, Config{Dir: dir, Reload: append(script(t, test.script), filepath.Join(dir, "example"))}, sinktest.Owner, nil)
			must(t, s.Push(t.Context(), targetOf(s, "example"), pair.Entry, pair.Bundle))
			err := s.Finish(t.Context())
			if err == nil {
				t.Fatal("Finish returned nil")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error does not say %q: %v", test.want, err)
			}
			if len(err.Error()) > 2048 || strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) {
				t.Errorf("the error is long or has control signs: %q", err)
			}
			if err := sinktest.Leaks(err.Error(), pair.Bundle); err != nil {
				t.Error(err)
			}
			if strings.Contains(err.Error(), "it printed") == test.withhold {
				t.Errorf("withheld: want %t: %v", test.withhold, err)
			}
		})
	}
}

func TestReloadNotFound(t *testing.T) {
	s, _ := swapped(t, Config{Reload: []string{"no-such-server", "reload"}})
	for name, err := range map[string]error{"Finish": s.Finish(t.Context()), "Probe": s.Probe(t.Context())} {
		if err == nil || !strings.Contains(err.Error(), "give the command's full path") {
			t.Errorf("%s returned %v", name, err)
		}
	}
}

func alive(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(data), ") ")
	return !strings.HasPrefix(after, "Z") // a zombie waits for whoever adopted it
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10s: %s", what)
		}
	}
}

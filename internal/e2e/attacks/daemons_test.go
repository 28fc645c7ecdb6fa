package attacks

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/world"
)

const asAnybody = "it is answered as anybody is, and shows nothing of the request; all else is 404, or a redirect to the path without the climbing"

// daemons are attacked at their port, and by processes beside them.
func daemons() []attack {
	return []attack{
		{"http-slow", "two hundred connections to the health port send a byte now and then, and never end their request", "the page answers 200 meanwhile; after 5 s the connections are closed", slow},
		{"http-methods", "POST, PUT, DELETE, TRACE and CONNECT to the health pages", "405 or 400 each", func(s *scene) string {
			d := s.Daemon(s.config(toFiles))
			for _, method := range []string{"POST", "PUT", "DELETE", "TRACE", "CONNECT", "PATCH"} {
				if status, _ := s.raw(d, method+" /health/live HTTP/1.1\r\nHost: x\r\n\r\n"); status != 405 && status != 400 {
					return fmt.Sprintf("%s: %d", method, status)
				}
			}
			return "405 or 400 each"
		}},
		{"http-host", "a page of a browser asks by another name (DNS rebinding), and for paths that climb or show the program: `/../etc/passwd`, `/debug/pprof/`", asAnybody, func(s *scene) string {
			d := s.Daemon(s.config(toFiles))
			status, text := s.raw(d, "GET /health/live HTTP/1.1\r\nHost: evil<script>.example\r\nOrigin: https://evil.example\r\n\r\n")
			if status != 200 && status != 400 || strings.Contains(text, "evil") || strings.Contains(text, "Access-Control") {
				return text
			}
			if status, text := s.raw(d, "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"); status != 421 || strings.Contains(text, "evil") {
				return "/: " + text
			}
			for path, want := range map[string]int{"/../etc/passwd": 307, "/debug/pprof/": 404, "/debug/vars": 404, "/%2e%2e/x": 307, "//": 307} {
				if status, text := s.raw(d, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n"); status != want && status != 404 && status != 301 {
					return path + ": " + text
				}
			}
			return asAnybody
		}},
		{"http-header", "a request whose header has a megabyte", "431, and the connection is closed", func(s *scene) string {
			d := s.Daemon(s.config(toFiles))
			status, text := s.raw(d, "GET /health/live HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 1<<20)+"\r\n\r\n")
			if status != 431 {
				return text
			}
			return "431, and the connection is closed"
		}},
		{"core-dump", "the daemon is made to crash where core dumps are on and unlimited (`ulimit -c unlimited`, SIGABRT)", "it ends without a core dump", crash},
		{"proc", "a process of the same user reads its memory and environment: `/proc/PID/environ`, `/proc/PID/mem`", "permission denied", peek},
		{"trace", "SIGQUIT makes it print all its stacks", "it is not shown", func(s *scene) string {
			pair := s.issued("example", certs.Options{})
			d := s.Daemon(s.config(toFiles), "VAULT_TOKEN="+s.Vault.RootToken)
			d.AwaitReady()
			s.Must(d.Signal(syscall.SIGQUIT))
			<-d.Done()
			r := world.Result{Stderr: string(d.Logged())}
			if !r.Says("goroutine 1") {
				return "no stacks: " + r.String()
			}
			return strings.TrimPrefix(s.unseen(r, string(pair.KeyPEM), s.Vault.RootToken), "; ")
		}},
	}
}

// raw sends bytes to the daemon and returns the status and text of the answer.
func (s *scene) raw(d *world.Daemon, request string) (status int, text string) {
	s.T.Helper()
	connection, err := net.Dial("tcp", strings.TrimPrefix(d.URL, "http://"))
	s.Must(err)
	defer connection.Close()
	s.Must(connection.SetDeadline(time.Now().Add(15 * time.Second)))
	go func() { _, _ = io.WriteString(connection, request) }()
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	s.Must(err)
	defer response.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return response.StatusCode, fmt.Sprint(response.Status, response.Header, string(body))
}

func slow(s *scene) string {
	d := s.Daemon(s.config(toFiles))
	begin := time.Now()
	var open []net.Conn
	for range 200 {
		connection, err := net.Dial("tcp", strings.TrimPrefix(d.URL, "http://"))
		s.Must(err)
		defer connection.Close()
		_, err = io.WriteString(connection, "GET /health/live HTTP/1.1\r\nHost: x\r\nX: ")
		s.Must(err)
		open = append(open, connection)
	}
	for time.Since(begin) < 2*time.Second {
		for _, connection := range open {
			_, _ = connection.Write([]byte("x"))
		}
		if status, text, err := d.Get(s.T.Context(), "/health/live"); err != nil || status != 200 {
			return fmt.Sprint(status, text, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	for _, connection := range open {
		s.Must(connection.SetReadDeadline(time.Now().Add(20 * time.Second)))
		if _, err := io.Copy(io.Discard, connection); os.IsTimeout(err) {
			return "a connection stays open"
		}
	}
	if took := time.Since(begin); took < 4*time.Second || took > 25*time.Second {
		return fmt.Sprint("the connections are closed after ", took)
	}
	return "the page answers 200 meanwhile; after 5 s the connections are closed"
}

// beside prepares a shell script of an ordinary user, which is given anycert and a
// configuration, in a folder that others may enter.
func (s *scene) beside(script string, env ...string) *exec.Cmd {
	s.T.Helper()
	s.open()
	home := s.Path("home")
	s.Must(os.MkdirAll(home, 0o700))
	s.Must(os.Chown(home, stranger, stranger))
	if _, err := os.Stat(s.Path("anycert")); err != nil {
		s.Must(os.Link(s.Binary, s.Path("anycert")))
	}
	config := s.File("config.yaml", "version: 1\nowner: hub\nstore: {local: {path: "+home+"/anycert.db}}\nhttp: {listen: \"127.0.0.1:0\"}\n")
	s.Must(os.Chmod(config, 0o644))
	cmd := s.Program("/bin/sh", "-c", script, "sh", s.Path("anycert"), config)
	cmd.Dir, cmd.Env = home, append(cmd.Env, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
	return cmd
}

// crash makes the daemon crash, and something else as well, which shows that a dump
// would be seen.
func crash(s *scene) string {
	dumps := func(script string) bool {
		cmd := s.beside("ulimit -c unlimited; echo >started; exec "+script, "GOTRACEBACK=crash")
		s.Must(cmd.Start())
		s.eventually("it has started", func() bool {
			log, err := os.ReadFile(filepath.Join(cmd.Dir, "started"))
			return err == nil && (!strings.Contains(script, "run") || bytes.Contains(log, []byte("msg=started")))
		})
		s.Must(cmd.Process.Signal(syscall.SIGABRT))
		_ = cmd.Wait()
		status := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if status.Signal() != syscall.SIGABRT {
			s.T.Fatalf("%s ended with %v, not with the signal", script, cmd.ProcessState)
		}
		return status.CoreDump()
	}
	if !dumps("sleep 60") {
		s.T.Fatal("this machine writes no core dump of anything: see `ulimit -H -c` and /proc/sys/kernel/core_pattern")
	}
	if dumps(`"$1" --config "$2" run 2>started`) {
		return "it dumps core"
	}
	return "it ends without a core dump"
}

// eventually waits until something is done.
func (s *scene) eventually(what string, done func() bool) {
	s.T.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.T.Fatalf("waited in vain until %s", what)
		}
	}
}

// await waits until the daemon says that it has started.
const await = `i=0; until grep -q msg=started log; do i=$((i+1)); [ $i -lt 300 ] || { cat log; exit 9; }; sleep 0.1; done; `

func peek(s *scene) string {
	r := s.Do(s.beside(`"$1" --config "$2" run 2>log & pid=$!; `+await+
		`cat /proc/$pid/environ; dd if=/proc/$pid/mem bs=1 count=1 2>&1; kill $pid; wait $pid; sleep 60 & `+
		`i=0; until grep -z -q TOKEN /proc/$!/environ && echo control || [ $((i += 1)) -gt 100 ]; do sleep 0.1; done; kill $!`,
		"VAULT_TOKEN=hvs.t0ps3cr3t-of-the-test"))
	if !strings.Contains(r.Stdout, "control") || strings.Count(r.Stdout+r.Stderr, "Permission denied") != 2 || strings.Contains(r.Stdout, "t0ps3cr3t") {
		return r.String()
	}
	return "permission denied"
}

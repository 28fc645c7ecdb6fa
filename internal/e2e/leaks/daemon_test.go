//go:build linux

package leaks

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/anycert/anycert/internal/testenv/leak"
)

var listening = regexp.MustCompile(`"?listen"?[=:]"?(127\.0\.0\.1:\d+)`)

// daemon runs the loop through a push, a wrong configuration and its end with all
// stacks printed, and asks it what it answers.
func (w *scene) daemon() {
	w.plant()
	config := w.configure(settings{Issued: []string{"example"}, Sinks: true})
	cmd, environment := w.command(config, "run")
	p := w.start("anycert run", cmd, environment...)
	defer w.wait(p)
	w.await(p, "to listen", func() bool { return listening.Match(p.stderr.Bytes()) })
	url := "http://" + string(listening.FindSubmatch(p.stderr.Bytes())[1])
	w.await(p, "to be ready", func() bool { return w.ask(url+"/health/ready") == http.StatusOK })
	w.searchProcesses()
	w.Must(os.RemoveAll(filepath.Join(w.Files, "planted-ec")))
	w.plant()
	e := echo{false, http.StatusBadRequest, asFly}
	w.fly.echo.Store(&e)
	w.await(p, "not to be ready", func() bool { return w.ask(url+"/health/ready") == http.StatusServiceUnavailable })
	w.fly.echo.Store(nil)
	wrong, err := os.ReadFile(w.Path("wrong.yaml"))
	w.Must(err)
	w.Must(os.WriteFile(config, wrong, 0o600))
	w.Must(cmd.Process.Signal(syscall.SIGHUP))
	w.await(p, "to see the wrong file", func() bool { return strings.Contains(p.stderr.String(), "not taken over") })
	for _, path := range []string{"/", "/health/live", "/health/ready", "/healthz", "/readyz", "/metrics", "/debug/pprof/", "/debug/vars", "/debug/pprof/heap"} {
		w.ask(url + path)
	}
	w.Must(cmd.Process.Signal(syscall.SIGQUIT))
}

func (w *scene) await(p *program, what string, done func() bool) {
	w.T.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			_ = p.cmd.Process.Kill()
			w.T.Fatalf("waited a minute for %s %s\n%s", p.name, what, &p.stderr)
		}
	}
}

// ask keeps a whole answer of the daemon and returns its status.
func (w *scene) ask(url string) int {
	w.T.Helper()
	ctx, cancel := context.WithTimeout(w.T.Context(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	w.Must(err)
	response, err := http.DefaultClient.Do(request)
	w.Must(err)
	defer response.Body.Close()
	var text bytes.Buffer
	w.Must(response.Write(&text))
	w.keep("the answer for "+request.URL.Path, text.Bytes())
	return response.StatusCode
}

// searchProcesses looks into every process of the machine. anycert's own
// environment is excepted, for we put a token there.
func (w *scene) searchProcesses() {
	w.T.Helper()
	var secrets []leak.Secret
	for _, secret := range w.secrets {
		if secret.Token != w.FastlyToken {
			secrets = append(secrets, secret)
		}
	}
	search, err := leak.New(secrets...)
	w.Must(err)
	findings, err := search.Processes()
	w.Must(err)
	for _, finding := range findings {
		w.T.Error(finding)
	}
}

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
	w.await(p, "to be ready", func() bool { return w.ask(url+"/health/ready", "") == http.StatusOK })
	w.pages(url)
	w.searchProcesses()
	w.Must(os.RemoveAll(filepath.Join(w.Files, "planted-ec")))
	w.plant()
	e := echo{false, http.StatusBadRequest, asFly}
	w.fly.echo.Store(&e)
	w.await(p, "not to be ready", func() bool { return w.ask(url+"/health/ready", "") == http.StatusServiceUnavailable })
	w.await(p, "to tell an alarm", func() bool { return len(w.hook.Events()) > 0 })
	w.pages(url)
	w.fly.echo.Store(nil)
	wrong, err := os.ReadFile(w.Path("wrong.yaml"))
	w.Must(err)
	w.Must(os.WriteFile(config, wrong, 0o600))
	w.Must(cmd.Process.Signal(syscall.SIGHUP))
	w.await(p, "to see the wrong file", func() bool { return strings.Contains(p.stderr.String(), "not taken over") })
	for _, path := range []string{"/", "/health/live", "/health/ready", "/healthz", "/readyz", "/metrics", "/debug/pprof/", "/debug/vars", "/debug/pprof/heap"} {
		w.ask(url+path, "")
	}
	w.pages(url)
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

// pages asks for all that is shown to people, and what they are told who may not see it.
func (w *scene) pages(url string) {
	w.T.Helper()
	for _, path := range []string{"/", "/?q=planted", "/?state=failing", "/certificates/planted-ec", "/certificates/nothing",
		"/api/v1/status", "/api/v1/certificates", "/api/v1/certificates/planted-rsa", "/api/v1/nothing"} {
		want := http.StatusOK
		if strings.HasSuffix(path, "nothing") {
			want = http.StatusNotFound
		}
		for token, want := range map[string]int{statusToken: want, "": http.StatusUnauthorized, statusToken[1:]: http.StatusUnauthorized} {
			if got := w.ask(url+path, token); got != want {
				w.T.Errorf("%s: %d, want %d", path, got, want)
			}
		}
	}
}

// ask keeps a whole answer of the daemon and returns its status.
func (w *witness) ask(url, token string) int {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	must(w.t, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	must(w.t, err)
	defer response.Body.Close()
	var text bytes.Buffer
	must(w.t, response.Write(&text))
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

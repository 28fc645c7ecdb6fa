package web_test

import (
	"bytes"
	"context"
	"errors"
	"html"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/parts"
	"github.com/anycert/anycert/internal/web"
	"github.com/anycert/anycert/internal/web/webtest"
	"github.com/anycert/anycert/sinks/sinktest"
)

var build = web.Build{Version: "v1.2.3", Commit: "0123456789ab", Time: time.Unix(1_700_000_000, 0)}

func ask(t *testing.T, handler http.Handler, method, path string) (int, http.Header, string) {
	t.Helper()
	recorder := httptest.NewRecorder()
	request := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	request.Host = "localhost"
	handler.ServeHTTP(recorder, request)
	return recorder.Code, recorder.Header(), recorder.Body.String()
}

// loopback is where a daemon listens when nothing else is said.
var loopback = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080}

// handler is that of a daemon on loopback that asks nobody.
func handler(health web.Health) http.Handler {
	return web.Handler(health, build, web.NewGate(loopback, web.Access{}, slog.New(slog.DiscardHandler)))
}

func pushesFail(err error) sinktest.Fault {
	return func(_ context.Context, op string, _ anycert.Target) error {
		if op == "push" {
			return err
		}
		return nil
	}
}

func TestHandler(t *testing.T) {
	health := webtest.Hub{Fault: pushesFail(anycert.ErrForbidden)}.Start(t)
	server := httptest.NewServer(handler(health))
	defer server.Close()
	const notReady = "example at prod api/example: broken: push api/example: permission denied\n" +
		"example at prod web/example: broken: push web/example: permission denied\n"
	tests := []struct {
		method, path string
		code         int
		body         string // "" for any
	}{
		{"GET", "/health/live", 200, "ok\n"},
		{"GET", "/healthz", 200, "ok\n"},
		{"GET", "/health/ready", 503, notReady},
		{"GET", "/readyz", 503, notReady},
		{"GET", "/metrics", 200, ""},
		{"HEAD", "/health/live", 200, ""},
		{"HEAD", "/metrics", 200, ""},
		{"POST", "/metrics", 405, "Method Not Allowed\n"},
		{"DELETE", "/health/live", 405, "Method Not Allowed\n"},
		{"GET", "/nothing", 404, "404 page not found\n"},
		{"GET", "/health/", 404, "404 page not found\n"},
		{"GET", "/debug/pprof/", 404, "404 page not found\n"},
	}
	for _, test := range tests {
		request, err := http.NewRequestWithContext(t.Context(), test.method, server.URL+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != test.code || test.body != "" && string(body) != test.body {
			t.Errorf("%s %s: %d %q %v", test.method, test.path, response.StatusCode, body, err)
		}
		if test.method == "HEAD" && len(body) != 0 {
			t.Errorf("HEAD %s has a body", test.path)
		}
		for header, want := range map[string]string{"Content-Type": "text/plain", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
			if got := response.Header.Get(header); !strings.HasPrefix(got, want) {
				t.Errorf("%s %s: %s: %q", test.method, test.path, header, got)
			}
		}
	}
}

// What the page leads to can be asked for, also behind a proxy that puts a path before it.
func TestLinks(t *testing.T) {
	handler := handler(webtest.Fixed{Shown: webtest.Many(200)})
	seen := make(map[string]bool)
	var follow func(page string)
	follow = func(page string) {
		if seen[page] {
			return
		}
		seen[page] = true
		code, header, body := ask(t, handler, "GET", page)
		if code != http.StatusOK {
			t.Errorf("%s: %d %s", page, code, body)
		}
		if !strings.HasPrefix(header.Get("Content-Type"), "text/html") {
			return
		}
		base, err := url.Parse(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range regexp.MustCompile(`(?:href|src|action)="([^"]*)"`).FindAllStringSubmatch(body, -1) {
			if strings.HasPrefix(link[1], "/") || strings.Contains(link[1], "//") {
				t.Errorf("%s: the link %s is not relative", page, link[1])
			}
			if to, err := base.Parse(html.UnescapeString(link[1])); err != nil {
				t.Error(err)
			} else if to.Fragment == "" && len(seen) < 400 {
				follow(to.String())
			}
		}
	}
	follow("/")
	if len(seen) < 200 {
		t.Errorf("%d pages were found", len(seen))
	}
}

// A peer that sends nothing, or reads nothing, is not waited for.
func TestServerHasTimeouts(t *testing.T) {
	server := web.NewServer(webtest.Hub{}.Start(t), build, nil, slog.New(slog.DiscardHandler))
	for name, timeout := range map[string]time.Duration{"ReadHeader": server.ReadHeaderTimeout, "Read": server.ReadTimeout,
		"Write": server.WriteTimeout, "Idle": server.IdleTimeout} {
		if timeout <= 0 || timeout > time.Minute {
			t.Errorf("%sTimeout is %v", name, timeout)
		}
	}
	if server.MaxHeaderBytes <= 0 || server.MaxHeaderBytes > 64<<10 {
		t.Errorf("MaxHeaderBytes is %d", server.MaxHeaderBytes)
	}
}

// Whatever sinks and issuers say is wrong, and whatever they quote, metrics do not show.
func TestMetricsShowNoText(t *testing.T) {
	const planted = "hunter2-hunter2"
	secret := errors.New("the server said " + planted)
	health := webtest.Hub{Fault: pushesFail(secret), Order: secret}.Start(t)
	health.Configuration(secret)
	handler := handler(health)
	if _, _, ready := ask(t, handler, "GET", "/health/ready"); strings.Count(ready, planted) != 3 {
		t.Fatalf("the texts were not planted:\n%s", ready)
	}
	code, _, metrics := ask(t, handler, "GET", "/metrics")
	if code != 200 || strings.Contains(metrics, planted) {
		t.Errorf("%d:\n%s", code, metrics)
	}
	for _, want := range []string{
		`anycert_pushes_total{reason="other",result="failure",sink="prod"} 2`,
		`anycert_orders_total{issuer="test",reason="other",result="failure"} 1`,
		`anycert_promises{certificate="example",sink="prod",verdict="broken"} 2`,
		`anycert_promise_verified_timestamp_seconds{certificate="example",sink="prod"} 0`,
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("there is no %s", want)
		}
	}
}

// promtool knows the conventions.
func TestPromtoolAcceptsTheMetrics(t *testing.T) {
	promtool, err := parts.Program("promtool")
	if err != nil {
		t.Fatal(err)
	}
	_, _, metrics := ask(t, handler(webtest.Hub{}.Start(t)), "GET", "/metrics")
	cmd := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	cmd.Stdin = strings.NewReader(metrics)
	if out, err := cmd.CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) != 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

package web_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os/exec"
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
	handler.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), method, path, nil))
	return recorder.Code, recorder.Header(), recorder.Body.String()
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
	server := httptest.NewServer(web.Handler(health, build))
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
		{"GET", "/", 200, ""},
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

// What the listing names can be asked for.
func TestListing(t *testing.T) {
	handler := web.Handler(webtest.Hub{}.Start(t), build)
	_, _, listing := ask(t, handler, "GET", "/")
	paths := 0
	for _, word := range strings.Fields(strings.NewReplacer("(", " ", ")", " ").Replace(listing)) {
		if strings.HasPrefix(word, "/") {
			paths++
			if code, _, _ := ask(t, handler, "GET", word); code == http.StatusNotFound {
				t.Errorf("%s is not there", word)
			}
		}
	}
	if paths != 5 || !strings.HasPrefix(listing, "anycert v1.2.3\n") {
		t.Errorf("the listing names %d paths:\n%s", paths, listing)
	}
}

// A peer that sends nothing, or reads nothing, is not waited for.
func TestServerHasTimeouts(t *testing.T) {
	server := web.NewServer(webtest.Hub{}.Start(t), build, slog.New(slog.DiscardHandler))
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
	handler := web.Handler(health, build)
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
	_, _, metrics := ask(t, web.Handler(webtest.Hub{}.Start(t), build), "GET", "/metrics")
	cmd := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	cmd.Stdin = strings.NewReader(metrics)
	if out, err := cmd.CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) != 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

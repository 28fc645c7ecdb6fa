//go:build linux

package leaks

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/anycert/anycert/internal/testenv/certs"
)

// front stands before a far end as the internet would: it speaks TLS and offers
// HTTP/2. When told to, it answers with what it was asked.
type front struct {
	URL string

	behind http.Handler
	echo   atomic.Pointer[echo]

	mu        sync.Mutex
	lines     []string       // method and URL of each request
	protocols map[string]int // of the requests
	echoed    int
}

// echo is how requests are repeated.
type echo struct {
	everything bool // else writes alone
	status     int
	form       func(request string) string
}

func newFront(t *testing.T, ca *certs.CA, behind http.Handler) *front {
	t.Helper()
	pair, err := ca.Issue(certs.Options{Names: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := tls.X509KeyPair(pair.ChainPEM, pair.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	f := &front{behind: behind, protocols: map[string]int{}}
	server := httptest.NewUnstartedServer(f)
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that hang up are not news
	server.StartTLS()
	t.Cleanup(server.Close)
	f.URL = server.URL
	return f
}

// proxy leads to a server that runs elsewhere.
func proxy(t *testing.T, address string, transport http.RoundTripper) http.Handler {
	t.Helper()
	target, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: transport,
		ErrorLog:  log.New(io.Discard, "", 0),
	}
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := f.echo.Load()
	echoes := e != nil && (e.everything || r.Method != http.MethodGet)
	f.note(r, echoes)
	if !echoes {
		f.behind.ServeHTTP(w, r)
		return
	}
	request, err := httputil.DumpRequest(r, true)
	if err != nil {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Echo", fmt.Sprintf("%q", request[:min(len(request), 4096)]))
	w.WriteHeader(e.status)
	_, _ = io.WriteString(w, e.form(string(request)))
}

func (f *front) note(r *http.Request, echoes bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lines = append(f.lines, r.Method+" "+r.URL.String())
	f.protocols[r.Proto]++
	if echoes {
		f.echoed++
	}
}

// echoes makes the front echo while do runs, and expects that it had to.
func (f *front) echoes(t *testing.T, e echo, do func()) {
	t.Helper()
	_, _, before := f.seen()
	f.echo.Store(&e)
	defer f.echo.Store(nil)
	do()
	if _, _, after := f.seen(); after == before {
		t.Error("nothing came that could be echoed")
	}
}

// seen returns the requests so far: their lines, how many by protocol, and how many
// were echoed.
func (f *front) seen() (lines []string, protocols map[string]int, echoed int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.lines), maps.Clone(f.protocols), f.echoed
}

// The forms of an error, each with the request wherever there is room.
func asIs(request string) string { return request }

func asVault(request string) string {
	return jsonOf(map[string]any{"errors": []string{request}, "data": map[string]string{"error": request}})
}

func asFastly(request string) string {
	return jsonOf(map[string]any{"errors": []map[string]string{{"title": request, "detail": request, "code": request}}, "msg": request})
}

func asFly(request string) string {
	return jsonOf(map[string]string{"error": request, "message": request, "status": request})
}

func asACME(request string) string {
	return jsonOf(map[string]any{"type": "urn:ietf:params:acme:error:malformed", "detail": request, "title": request, "status": http.StatusBadRequest})
}

// asKubernetes is a metav1.Status.
func asKubernetes(request string) string {
	return jsonOf(map[string]any{
		"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Invalid", "code": http.StatusUnprocessableEntity,
		"message": request,
		"details": map[string]any{"kind": "secrets", "name": request, "causes": []map[string]string{{"reason": "FieldValueInvalid", "message": request, "field": request}}},
	})
}

func jsonOf(value any) string {
	text, _ := json.Marshal(value) // of strings and numbers: it does not fail
	return string(text)
}

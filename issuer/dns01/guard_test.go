package dns01

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Cloudflare's X-Auth-Key, Gandi's X-Api-Key and their like are no headers that
// net/http knows for credentials: it takes them along to wherever a redirect leads.
func TestTokensStayWithTheProvider(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the other host was asked, with %v", r.Header)
	}))
	defer elsewhere.Close()
	at := func(path string, answer http.HandlerFunc, says string) {
		t.Helper()
		mux := http.NewServeMux()
		mux.HandleFunc(path, answer)
		mux.HandleFunc("/there", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fine") })
		server := httptest.NewServer(mux)
		defer server.Close()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+path, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-Auth-Key", "t0ps3cr3t")
		response, err := (&http.Client{Transport: newGuard(nil)}).Do(request)
		var body []byte
		if err == nil {
			body, err = io.ReadAll(response.Body)
			_ = response.Body.Close()
		}
		if err == nil && string(body) != says || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %.40q, %v, want %q", path, body, err, says)
		}
	}
	at("/elsewhere", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL, http.StatusPermanentRedirect)
	}, "which is not followed")
	at("/here", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/there", http.StatusTemporaryRedirect)
	}, "fine")
	at("/endless", func(w http.ResponseWriter, _ *http.Request) {
		for block := strings.Repeat(" ", 1<<20); ; {
			if _, err := io.WriteString(w, block); err != nil {
				return
			}
		}
	}, "more than 16777216 bytes")
}

package hubs

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// relay stands between a daemon and Vault, and can hold back what Vault answers to the
// writes of journals.
type relay struct {
	url string

	mu    sync.Mutex
	hold  func(path string, written journal)
	named map[string]int // journals that name an order, by path
}

// journal is what of a journal matters here.
type journal struct {
	Order string `json:"order"` // URL
}

func startRelay(t *testing.T, vault string) *relay {
	t.Helper()
	target, err := url.Parse(vault)
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{named: map[string]int{}}
	reverse := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(target) }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return // who asked has gone
		}
		request.Body = io.NopCloser(bytes.NewReader(body))
		answer := httptest.NewRecorder()
		reverse.ServeHTTP(answer, request)
		r.note(request, body, answer.Code)
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	}))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

// answered has f called when Vault has granted the write of a journal, before the
// daemon hears of it. f may wait.
func (r *relay) answered(f func(path string, written journal)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hold = f
}

// nth is how many journals that name an order were written at a path.
func (r *relay) nth(path string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.named[path]
}

func (r *relay) note(request *http.Request, body []byte, status int) {
	path := request.URL.Path
	if request.Method != http.MethodPut || status != http.StatusOK || !strings.Contains(path, "/data/anycert/orders/") {
		return
	}
	var write struct{ Data struct{ Value string } }
	var written journal
	if json.Unmarshal(body, &write) != nil || json.Unmarshal([]byte(write.Data.Value), &written) != nil {
		return
	}
	r.mu.Lock()
	if written.Order != "" {
		r.named[path]++
	}
	hold := r.hold
	r.mu.Unlock()
	if hold != nil {
		hold(path, written)
	}
}

// barrier holds those who come to it until it is opened.
type barrier struct {
	full   chan struct{} // closed when as many are there as are waited for
	opened chan struct{}
	count  func()
}

func newBarrier(n int) barrier {
	b := barrier{full: make(chan struct{}), opened: make(chan struct{})}
	var mu sync.Mutex
	b.count = func() {
		mu.Lock()
		defer mu.Unlock()
		if n--; n == 0 {
			close(b.full)
		}
	}
	return b
}

func (b barrier) wait() {
	b.count()
	<-b.opened
}

func (b barrier) open() { close(b.opened) }

package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv"
)

const planted = "hvs.CAESIPlantedTokenOfTheTest0123456789"

// against is a store of a server that is not Vault. It does not wait between tries.
func against(t testing.TB, address string) *Store {
	t.Helper()
	store := openConfig(t, Config{Address: address}, environment{"VAULT_TOKEN": planted})
	store.vault.pause = func(int) time.Duration { return 0 }
	return store
}

// calls are one of each kind of request.
func calls(ctx context.Context, store *Store, bundle *anycert.Bundle) map[string]func() error {
	return map[string]func() error{
		"Names": func() error { _, err := store.Names(ctx); return err },
		"Stat":  func() error { _, err := store.Stat(ctx, "example"); return err },
		"Get":   func() error { _, err := store.Get(ctx, "example", 1); return err },
		"Put":   func() error { _, err := store.Put(ctx, "example", 0, bundle, origin); return err },
		"Index": func() error { _, err := store.Index(ctx, "example"); return err },
		"Load":  func() error { _, _, err := store.Load(ctx, "orders", "example"); return err },

		"History": func() error { _, err := store.History(ctx, "example"); return err },
		"Destroy": func() error { return store.Destroy(ctx, "example", []int{1}) },
		"Save": func() error {
			_, err := store.Save(ctx, "orders", "example", 0, bundle.KeyPEM())
			return err
		},
		"Field": func() error { _, err := store.ReadField(ctx, "secret/dns#token"); return err },
		"Probe": func() error { _, err := store.Probe(ctx, nil); return err },
		"write": func() error {
			_, err := store.vault.writeData(ctx, store.path("certs", "example"), 0, map[string]string{"tls.key": bundle.KeyPEM().Reveal()})
			return err
		},
		"patch": func() error {
			return store.vault.patchCustom(ctx, store.path("certs", "example"), map[string]any{"x": bundle.KeyPEM().Reveal()})
		},
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	var visits atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		visits.Add(1)
		t.Errorf("the other host was asked for %s, with token: %t", r.URL, r.Header.Get("X-Vault-Token") != "")
	}))
	defer elsewhere.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+r.URL.RequestURI(), status)
		}))
		for name, call := range calls(t.Context(), against(t, server.URL), bundle(t)) {
			if err := call(); !errors.Is(err, anycert.ErrUnavailable) || !strings.Contains(err.Error(), "redirect") {
				t.Errorf("%s, HTTP %d: %v, want ErrUnavailable that speaks of a redirect", name, status, err)
			}
		}
		server.Close()
	}
	if n := visits.Load(); n != 0 {
		t.Errorf("the other host was visited %d times", n)
	}
}

func TestTheGuardStopsRequestsToOtherHosts(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the request came through") }))
	defer server.Close()
	store := against(t, "http://127.0.0.1:1")
	response, err := store.vault.http.Get(server.URL)
	if err == nil {
		response.Body.Close()
	}
	isError(t, err, anycert.ErrUnavailable, "another host")
}

func TestAnswersThatAreNotVaults(t *testing.T) {
	text := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	answers := map[string]http.HandlerFunc{
		"empty object":  text(200, `{}`),
		"null":          text(200, `null`),
		"nothing":       text(200, ``),
		"no content":    text(204, ``),
		"data is null":  text(200, `{"data":null}`),
		"data is empty": text(200, `{"data":{}}`),
		"wrong types":   text(200, `{"data":{"current_version":"1","data":[],"metadata":7,"keys":{}}}`),
		"no versions":   text(200, `{"data":{"current_version":3,"versions":{}}}`),
		"a list":        text(200, `[1,2,3]`),
		"html":          text(200, `<html>Welcome to nginx!</html>`),
		"html 404":      text(405, `<html>`),
		"cut short": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"data":{"current_version":1,"vers`)
		},
		"deep": text(200, strings.Repeat("[", 1<<20)),
	}
	for what, answer := range answers {
		server := httptest.NewServer(answer)
		for name, call := range calls(t.Context(), against(t, server.URL), bundle(t)) {
			if name == "patch" || name == "Probe" {
				continue // whose answer is empty; who asks for other things first
			}
			if err := call(); !errors.Is(err, anycert.ErrMalformed) {
				t.Errorf("%s, answered with %s: %v, want ErrMalformed", name, what, err)
			}
		}
		server.Close()
	}
}

func TestAnswersAreBounded(t *testing.T) {
	block := []byte(strings.Repeat(" ", 1<<16))
	var sent atomic.Int64
	endless := func(w http.ResponseWriter) {
		for {
			n, err := w.Write(block)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	}
	for what, answer := range map[string]http.HandlerFunc{
		"endless":       func(w http.ResponseWriter, _ *http.Request) { endless(w) },
		"endless error": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(400); endless(w) },
		"1 GB": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(1<<30))
			endless(w)
		},
	} {
		server := httptest.NewServer(answer)
		sent.Store(0)
		_, err := against(t, server.URL).Stat(t.Context(), "example")
		isError(t, err, anycert.ErrMalformed, "bytes")
		server.Close()
		if n := sent.Load(); n > 64<<20 {
			t.Errorf("%s: %d bytes were taken", what, n)
		}
	}
}

func TestFailuresThatMayPassAreTriedAgain(t *testing.T) {
	tests := map[string]struct {
		status int
		body   string
		tries  int32
	}{
		"500":     {500, `{"errors":["local node not active but active cluster node not found"]}`, attempts},
		"502":     {502, `<html>Bad Gateway`, attempts},
		"503":     {503, `{"errors":["the server is busy"]}`, attempts},
		"429":     {429, `{"errors":["request path \"x\": rate limit quota exceeded"]}`, attempts},
		"412":     {412, `{"errors":["required index state not present"]}`, attempts},
		"sealed":  {503, `{"errors":["Vault is sealed"]}`, 1},
		"nothing": {404, `{"errors":[]}`, 1},
		"refused": {400, `{"errors":["no"]}`, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var tries atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, lookupPath) {
					_, _ = io.WriteString(w, `{"data":{"ttl":0}}`)
					return
				}
				tries.Add(1)
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			}))
			defer server.Close()
			if _, err := against(t, server.URL).Stat(t.Context(), "example"); err == nil {
				t.Error("no error")
			}
			if n := tries.Load(); n != test.tries {
				t.Errorf("tried %d times, want %d", n, test.tries)
			}
		})
	}
}

func TestNobodyAnswers(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	address := "http://" + listener.Addr().String()
	// The kernel accepts, nobody reads.
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = against(t, address).Stat(ctx, "example")
	isError(t, err, anycert.ErrUnavailable, "deadline")
	isError(t, err, context.DeadlineExceeded)

	slow := against(t, address)
	slow.vault.http.Timeout = 50 * time.Millisecond
	_, err = slow.Stat(t.Context(), "example")
	isError(t, err, anycert.ErrUnavailable, "no answer")

	listener.Close()
	_, err = against(t, address).Stat(t.Context(), "example")
	isError(t, err, anycert.ErrUnavailable, "refused", address)
}

// lossy passes everything on to Vault, and loses the first answers to writes of
// data: the write has happened, and nobody knows.
func lossy(t testing.TB, to string, losses int32) *httptest.Server {
	t.Helper()
	target, err := url.Parse(to)
	check(t, err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	var writes atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/data/") || writes.Add(1) > losses {
			proxy.ServeHTTP(w, r)
			return
		}
		proxy.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(server.Close)
	return server
}

func TestAWriteWhoseAnswerWasLost(t *testing.T) {
	ctx, vault := t.Context(), testenv.Vault(t)
	through := func(losses int32) *Store {
		store := openConfig(t, Config{Address: lossy(t, vault.Addr, losses).URL}, environment{"VAULT_TOKEN": vault.RootToken})
		store.vault.pause = func(int) time.Duration { return 0 }
		return store
	}
	first, second := bundle(t), bundle(t)
	entry, err := through(1).Put(ctx, "example", 0, first, origin)
	check(t, err)
	if entry.Version != 1 || entry.Digest != first.Digest() {
		t.Errorf("Put says version %d, %v", entry.Version, entry.Digest)
	}
	// All answers lost: nobody can say; the same Put again can.
	_, err = through(attempts).Put(ctx, "another", 0, first, origin)
	isError(t, err, anycert.ErrUnavailable)
	entry, err = through(0).Put(ctx, "another", 0, first, origin)
	check(t, err)
	if entry.Version != 1 {
		t.Errorf("the same Put made version %d", entry.Version)
	}
	_, err = through(0).Put(ctx, "another", 0, second, origin)
	isError(t, err, anycert.ErrConflict)

	version, err := through(1).Save(ctx, anycert.KindOrder, "example", 0, anycert.NewSecret("claim"))
	check(t, err)
	if version != 1 {
		t.Errorf("Save says version %d", version)
	}
	_, err = through(0).Save(ctx, anycert.KindOrder, "example", 0, anycert.NewSecret("claim"))
	isError(t, err, anycert.ErrConflict)
}

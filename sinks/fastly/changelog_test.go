package fastly_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/sinks/fastly"
	"github.com/anycert/anycert/sinks/fastly/fastlytest"
	"github.com/anycert/anycert/sinks/sinktest"
)

// What changelog.com's CronJob with curl, which uploaded their certificate to
// Fastly, ran into. Each is a test of its own.

// The script had the id of the certificate in it, and broke when that was made anew.
func TestChangelogIDInTheScript(t *testing.T) {
	server := start(t)
	pairs := versions(t, []string{domain}, 1, 2)
	pass(t, open(t, server, sinktest.Owner, nil), pairs[0])
	id := server.Active(configuration, domain)

	pass(t, open(t, server, sinktest.Owner, nil), pairs[1])
	if got := server.Active(configuration, domain); got != id {
		t.Errorf("the renewal is certificate %s, want the one that was there, %s", got, id)
	}
	server.RemoveCertificate(id)
	pass(t, open(t, server, sinktest.Owner, nil), pairs[1])
	serves(t, server, configuration, domain, pairs[1])
}

// The script ignored what the API answered.
func TestChangelogAPIErrorsIgnored(t *testing.T) {
	for nth, step := range []string{"uploading the private key", "uploading the certificate", "activating"} {
		t.Run(step, func(t *testing.T) {
			server := start(t)
			sink := open(t, server, sinktest.Owner, nil)
			pair := versions(t, []string{domain}, 1)[0]
			server.FailWrite(nth + 1)
			err := sink.Push(t.Context(), targets(t, sink, domain)[0], pair.Entry, pair.Bundle)
			for _, want := range []string{step, "example", configuration + "/" + domain, "500", "Try again later"} {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q: %v", want, err)
				}
			}
			if !errors.Is(err, anycert.ErrUnavailable) {
				t.Errorf("%v is not ErrUnavailable", err)
			}
		})
	}
	t.Run("a 400 with its reason", func(t *testing.T) {
		server := start(t)
		sink := open(t, server, sinktest.Owner, nil)
		pair := versions(t, []string{domain, "a.example.com"}, 1)[0]
		pass(t, sink, pair)
		server.Deactivate(configuration, domain)
		broken := frontOf(t, server, func(r *http.Request) bool { return r.Method == post }, func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/vnd.api+json")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"errors":[{"title":"Can't create activation","detail":"the moon is full"}]}`)
		})
		sink = open(t, server, sinktest.Owner, func(c *fastly.Config) { c.Endpoint = broken })
		err := sink.Push(t.Context(), targets(t, sink, domain)[0], pair.Entry, pair.Bundle)
		if err == nil || !strings.Contains(err.Error(), "400 Bad Request: Can't create activation: the moon is full") {
			t.Errorf("Push returned %v, want Fastly's reason", err)
		}
	})
}

// frontOf stands before a stand-in and answers some requests by itself.
func frontOf(t *testing.T, server *fastlytest.Server, which func(*http.Request) bool, answer func(http.ResponseWriter)) (url string) {
	t.Helper()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if which(r) {
			answer(w)
			return
		}
		server.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	return front.URL
}

// The token stood in the log of the script: with curl -v, as here with go-fastly's
// debug mode, and whenever a server repeats what it was sent.
func TestChangelogTokenInTheLog(t *testing.T) {
	t.Setenv("FASTLY_DEBUG_MODE", "true")
	server := start(t)
	server.Echo(true)
	pairs := versions(t, []string{domain}, 1, 2)
	var failures []string
	shown := captured(t, func() {
		sink := open(t, server, sinktest.Owner, nil)
		target := targets(t, sink, domain)[0]
		for _, nth := range []int{1, 2, 2} { // the key, the certificate, the activation
			server.FailWrite(nth)
			if err := sink.Push(t.Context(), target, pairs[0].Entry, pairs[0].Bundle); err != nil {
				failures = append(failures, err.Error())
			}
			server.FailWrite(0)
		}
		server.Forbid(true)
		if err := sink.Probe(t.Context()); err != nil {
			failures = append(failures, err.Error())
		}
	})
	if len(failures) != 4 {
		t.Fatalf("%d calls failed, want 4: %q", len(failures), failures)
	}
	if shown != "" {
		t.Errorf("the sink printed something: %q", shown)
	}
	for _, text := range append(failures, shown) {
		if strings.Contains(text, token) {
			t.Errorf("the token is shown: %s", text)
		}
		if leak := sinktest.Leaks(text, pairs[0].Bundle); leak != nil {
			t.Errorf("the key is shown: %v", leak)
		}
	}
	// The search finds what it looks for: this is what the library itself shows.
	if seen := captured(t, func() { os.Stdout.WriteString(pairs[0].Bundle.KeyPEM().Reveal()) }); sinktest.Leaks(seen, pairs[0].Bundle) == nil {
		t.Error("a key that was printed is not found")
	}
}

// captured is what do writes to the standard streams.
func captured(t *testing.T, do func()) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = w, w
	defer func() { os.Stdout, os.Stderr = stdout, stderr }()
	text := make(chan string)
	go func() {
		all, _ := io.ReadAll(r)
		text <- string(all)
	}()
	do()
	w.Close()
	return <-text
}

// Fastly answers 400 unless the key is PKCS#8.
func TestChangelogPKCS8(t *testing.T) {
	for _, options := range []certs.Options{
		{KeyFormat: certs.SEC1}, {KeyType: certs.EC384, KeyFormat: certs.SEC1},
		{KeyType: certs.RSA2048, KeyFormat: certs.PKCS1}, {KeyType: certs.RSA2048},
	} {
		server := start(t)
		sink := open(t, server, sinktest.Owner, nil)
		pair := pairOf(t, 1, options)
		pass(t, sink, pair)
		serves(t, server, configuration, domain, pair)
		if got := server.Count(post, "/tls/private_keys"); got != 1 {
			t.Errorf("%+v: the key was posted %d times, want once", options, got)
		}
	}
}

// The POST of the key fails the second time, since it is there already.
func TestChangelogKeyPostedTwice(t *testing.T) {
	pair := versions(t, []string{domain}, 1)[0]
	t.Run("uploaded by somebody else", func(t *testing.T) {
		server := start(t)
		keyOf(t, server, "uploaded by hand", pair)
		pass(t, open(t, server, sinktest.Owner, nil), pair)
		serves(t, server, configuration, domain, pair)
		if got := server.Count(post, "/tls/private_keys"); got != 0 {
			t.Errorf("the key was posted %d times though it was there", got)
		}
	})
	t.Run("the answer was lost", func(t *testing.T) {
		server := start(t)
		sink := open(t, server, sinktest.Owner, nil)
		server.LoseWrite(1)
		if err := sink.Push(t.Context(), targets(t, sink, domain)[0], pair.Entry, pair.Bundle); err == nil {
			t.Fatal("a push whose answer was lost reports success")
		}
		pass(t, sink, pair)
		serves(t, server, configuration, domain, pair)
		if got := server.Count(post, "/tls/private_keys"); got != 1 {
			t.Errorf("the key was posted %d times, want once", got)
		}
	})
	t.Run("uploaded by somebody else meanwhile", func(t *testing.T) {
		server := start(t)
		front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == post && r.URL.Path == "/tls/private_keys" {
				keyOf(t, server, "uploaded by hand", pair)
			}
			server.ServeHTTP(w, r)
		}))
		t.Cleanup(front.Close)
		pass(t, open(t, server, sinktest.Owner, func(c *fastly.Config) { c.Endpoint = front.URL }), pair)
		serves(t, server, configuration, domain, pair)
	})
}

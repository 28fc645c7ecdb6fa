package fastly_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/sinks/fastly"
	"github.com/anycert/anycert/sinks/sinktest"
)

// Listings are read to the end: ours is the last of 45 certificates.
func TestPaging(t *testing.T) {
	server := start(t)
	for number := range 44 {
		pair := versions(t, []string{fmt.Sprintf("host%d.example.org", number)}, 1)[0]
		keyOf(t, server, fmt.Sprint(number), pair)
		server.Activate(second, pair.Bundle.Leaf().DNSNames[0], foreign(t, server, pair))
	}
	pairs := versions(t, both, 1, 2)
	pass(t, open(t, server, sinktest.Owner, nil), pairs[0])
	pass(t, open(t, server, sinktest.Owner, nil), pairs[1])
	serves(t, server, second, domain, pairs[1])
	if got := server.Count(post, "/tls/certificates"); got != 1 {
		t.Errorf("the certificate was made %d times, want once: ours was not found again", got)
	}
	if got := server.Count(post, "/tls/private_keys"); got != 2 {
		t.Errorf("a key was posted %d times, want once a version", got)
	}
}

// A server may give smaller pages than it is asked for.
func TestPagesSmallerThanAskedFor(t *testing.T) {
	server := start(t)
	for range 39 {
		foreign(t, server, versions(t, []string{"example.org"}, 1)[0])
	}
	pair := versions(t, both, 1)[0]
	pass(t, open(t, server, sinktest.Owner, nil), pair)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		query.Del("page[size]") // 20, then
		r.URL.RawQuery = query.Encode()
		server.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	sink := open(t, server, sinktest.Owner, func(c *fastly.Config) { c.Endpoint = front.URL })
	if err := sinktest.Agrees(pair.Entry, observe(t, sink, targets(t, sink, domain)[0])); err != nil {
		t.Error(err)
	}
}

// A pass lists once, whatever the number of targets.
func TestOneListingForAPass(t *testing.T) {
	server := start(t)
	sink := open(t, server, sinktest.Owner, nil)
	names := []string{domain}
	for number := range 8 {
		names = append(names, fmt.Sprintf("host%d.example.com", number))
	}
	pair := versions(t, names, 1)[0]
	pass(t, sink, pair)
	before := len(server.Requests())
	pass(t, sink, pair)
	if got := len(server.Requests()) - before; got != 4 {
		t.Errorf("an unchanged pass over 18 targets made %d requests, want 4", got)
	}
}

func TestRateLimit(t *testing.T) {
	pair := versions(t, both, 1)[0]
	reset := time.Now().Add(time.Hour).Truncate(time.Second)
	for name, left := range map[string]int{"used up by our own writes": 2, "used up by others": 0} {
		t.Run(name, func(t *testing.T) {
			server := start(t)
			sink := open(t, server, sinktest.Owner, nil)
			server.LimitWrites(left, reset)
			target := targets(t, sink, domain)[0]
			for range 3 {
				err := sink.Push(t.Context(), target, pair.Entry, pair.Bundle)
				if !errors.Is(err, anycert.ErrUnavailable) || !strings.Contains(err.Error(), "until "+reset.UTC().Format(time.RFC3339)) {
					t.Errorf("Push returned %v, want ErrUnavailable until the reset", err)
				}
			}
			if got := server.Writes(); got != max(left, 1) {
				t.Errorf("%d writes were made, want %d: none while it is known that none is left", got, max(left, 1))
			}
			if _, err := sink.Survey(t.Context()); err != nil {
				t.Errorf("reading is not limited: %v", err)
			}
		})
	}
	t.Run("over", func(t *testing.T) {
		server := start(t)
		sink := open(t, server, sinktest.Owner, nil)
		server.LimitWrites(1, time.Now().Add(-time.Second)) // the stand-in begins a new hour
		pass(t, sink, pair)
		serves(t, server, configuration, domain, pair)
	})
}

// 401 and 403 ask for the token again, and say what it needs.
func TestRefusedToken(t *testing.T) {
	server := start(t)
	c := &credential{text: "an older token"}
	sink := openWith(t, server, sinktest.Owner, c, nil)
	_, err := sink.Survey(t.Context())
	for _, want := range []string{"env FASTLY_API_TOKEN", "global", "401"} {
		if !errors.Is(err, anycert.ErrForbidden) || !strings.Contains(err.Error(), want) {
			t.Errorf("Survey returned %v, want ErrForbidden that says %q", err, want)
		}
	}
	if strings.Contains(err.Error(), c.text) {
		t.Errorf("the token is shown: %v", err)
	}
	if c.refused != 1 {
		t.Errorf("Refused was called %d times, want once", c.refused)
	}
	c.text = token // rotated
	if _, err := sink.Survey(t.Context()); err != nil {
		t.Errorf("with the new token: %v", err)
	}
	server.Forbid(true)
	if _, err := sink.Survey(t.Context()); !errors.Is(err, anycert.ErrForbidden) || c.refused != 2 {
		t.Errorf("403 returned %v, and Refused was called %d times", err, c.refused)
	}
}

// lost is a credential that cannot be read.
type lost struct{}

func (lost) Secret(context.Context) (anycert.Secret, error) {
	return anycert.Secret{}, fmt.Errorf("env FASTLY_API_TOKEN: %w", anycert.ErrNotFound)
}
func (lost) Refused() {}

func TestTokenThatCannotBeRead(t *testing.T) {
	server := start(t)
	_, err := openWith(t, server, sinktest.Owner, lost{}, nil).Survey(t.Context())
	if !errors.Is(err, anycert.ErrNotFound) || !strings.Contains(err.Error(), "FASTLY_API_TOKEN") || len(server.Requests()) != 0 {
		t.Errorf("Survey returned %v after %d requests", err, len(server.Requests()))
	}
}

// net/http sends a Fastly-Key along to whatever host a redirect names.
func TestRedirectIsNotFollowed(t *testing.T) {
	server := start(t)
	front := httptest.NewServer(http.RedirectHandler(server.URL, http.StatusTemporaryRedirect))
	t.Cleanup(front.Close)
	sink := open(t, server, sinktest.Owner, func(c *fastly.Config) { c.Endpoint = front.URL })
	_, err := sink.Survey(t.Context())
	if err == nil || !strings.Contains(err.Error(), "307") || len(server.Requests()) != 0 {
		t.Errorf("Survey returned %v, and %d requests went to the other host", err, len(server.Requests()))
	}
}

// go-fastly's variables do not change where keys go.
func TestEnvironmentDoesNotRedirect(t *testing.T) {
	server, trap := start(t), start(t)
	t.Setenv("FASTLY_API_URL", trap.URL)
	t.Setenv("FASTLY_API_KEY", "another token")
	pass(t, open(t, server, sinktest.Owner, nil), versions(t, both, 1)[0])
	if len(trap.Requests()) != 0 || len(server.Certificates()) != 1 {
		t.Errorf("the trap got %d requests", len(trap.Requests()))
	}
}

// What is no JSON:API is not repeated, and not taken for an empty account.
func TestAnswersThatAreNoAnswers(t *testing.T) {
	server := start(t)
	sink := open(t, server, sinktest.Owner, nil)
	pair := versions(t, both, 1)[0]
	pass(t, sink, pair)
	target := targets(t, sink, domain)[0]
	for body, status := range map[string]int{
		"": http.StatusOK, "<html>": http.StatusOK, "{}": http.StatusOK, `{"data":null}`: http.StatusOK, `{"data":{}}`: http.StatusOK,
		"<html>gateway": http.StatusBadGateway, strings.Repeat("x", 1<<20): http.StatusBadGateway,
	} {
		server.FailNext(status, body)
		observed, err := sink.Observe(t.Context(), target)
		if err == nil {
			t.Errorf("%d %.20q was taken for an answer: %+v", status, body, observed)
			continue
		}
		if text := err.Error(); len(text) > 600 || strings.Contains(text, "html") || !strings.Contains(text, target.Label) {
			t.Errorf("%d %.20q: %.700s", status, body, text)
		}
		want := anycert.ErrMalformed
		if status == http.StatusBadGateway {
			want = anycert.ErrUnavailable
		}
		if !errors.Is(err, want) {
			t.Errorf("%d %.20q: %v, want %v", status, body, err, want)
		}
	}
}

func TestProbe(t *testing.T) {
	server := start(t)
	if err := open(t, server, sinktest.Owner, nil).Probe(t.Context()); err != nil {
		t.Error(err)
	}
	sink := open(t, server, sinktest.Owner, func(c *fastly.Config) { c.Configurations = []string{"absent"} })
	if err := sink.Probe(t.Context()); err == nil || !strings.Contains(err.Error(), "absent") {
		t.Errorf("Probe returned %v, want the unknown configuration's name", err)
	}
	if n := server.Writes(); n != 0 {
		t.Errorf("probing made %d writes", n)
	}
}

// A call that waits for another one's turn gives up with its own context.
func TestWaitingForItsTurn(t *testing.T) {
	server := start(t)
	sink := open(t, server, sinktest.Owner, nil)
	server.Hang(true)
	long, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { _, err := sink.Survey(long); done <- err }()
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := sink.Survey(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Survey returned %v, want context.DeadlineExceeded", err)
	}
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Survey returned %v, want context.Canceled", err)
	}
}

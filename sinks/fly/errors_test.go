package fly

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/sinks/sinktest"
)

func TestErrors(t *testing.T) {
	pair := sinktest.Issue(t, "example", []string{"example.com"}, 1)[0]
	for name, test := range map[string]struct {
		status int
		body   string
		wraps  error
		says   []string
		refuse int
	}{
		"401":                {status: 401, wraps: anycert.ErrForbidden, says: []string{"env FLY_API_TOKEN", "fly tokens create deploy --app example-web"}, refuse: 1},
		"403":                {status: 403, wraps: anycert.ErrForbidden, says: []string{"(403)"}, refuse: 1},
		"404":                {status: 404, says: []string{`no app "example-web"`, "check app"}},
		"408":                {status: 408, wraps: anycert.ErrUnavailable},
		"409":                {status: 409, body: `{"error":"busy"}`, says: []string{"(409): busy"}},
		"422":                {status: 422, body: `{"error":"certificate has expired"}`, says: []string{"does not accept it (422): certificate has expired"}},
		"422 with a message": {status: 422, body: `{"error":"x","message":"certificate has expired"}`, says: []string{": certificate has expired"}},
		"422 without a word": {status: 422, body: `{}`, says: []string{"does not accept it (422)"}},
		"422 in HTML":        {status: 422, body: `<html>no</html>`, says: []string{"does not accept it (422)"}},
		"422 with colours":   {status: 422, body: `{"error":"\u001b[31mno\nway"}`, says: []string{": [31mno way"}},
		"429":                {status: 429, wraps: anycert.ErrUnavailable, says: []string{"rate limit"}},
		"500":                {status: 500, body: `{"error":"oops"}`, wraps: anycert.ErrUnavailable, says: []string{"500: oops"}},
		"503":                {status: 503, wraps: anycert.ErrUnavailable},
		"redirect":           {status: 307, wraps: anycert.ErrUnavailable, says: []string{"redirect", "check endpoint"}},
		"no JSON":            {status: 201, body: `<html>`, wraps: anycert.ErrMalformed},
		"broken off":         {status: 201, body: `{"hostname":"ex`, wraps: anycert.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // flaps pauses between its attempts at a 503
				token := &credential{tokens: []string{token}}
				sink := openOn(t, config("", "example.com"), token, roundTrip(func(*http.Request) *http.Response { return respond(test.status, test.body) }))
				err := sink.Push(t.Context(), targetOf(t, sink, "example.com"), pair.Entry, pair.Bundle)
				if err == nil {
					t.Fatal("no error")
				}
				if test.wraps != nil && !errors.Is(err, test.wraps) {
					t.Errorf("%v does not wrap %q", err, test.wraps)
				}
				for _, part := range append(test.says, "fly app example-web, hostname example.com: importing certificate example: ") {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("%q does not say %q", err, part)
					}
				}
				if token.refused != test.refuse {
					t.Errorf("the credential was told of %d refusals, want %d", token.refused, test.refuse)
				}
			})
		})
	}
}

// 404 speaks of the hostname or of the app: the sink looks which.
func TestNotFound(t *testing.T) {
	sink, server := ready(t, "example.com")
	target := targetOf(t, sink, "example.com")
	if observed := observe(t, sink, target); observed.Found {
		t.Errorf("observed %+v where nothing is", observed)
	}
	c := config(server.URL, "example.com")
	c.App = "example-api"
	sink = open(t, c, &credential{tokens: []string{token}})
	if observed, err := sink.Observe(t.Context(), target); err == nil || !strings.Contains(err.Error(), `no app "example-api"`) {
		t.Errorf("observed %+v, %v in an app that is not there", observed, err)
	}
}

// An answer that leaves out the end of validity is an error, not a difference:
// otherwise every pass would push.
func TestUnreadableAnswers(t *testing.T) {
	for name, body := range map[string]string{
		"no end":        `{"certificates": [{"source": "custom", "status": "active"}]}`,
		"null":          `{"certificates": [{"source": "custom", "status": "active", "expires_at": null}]}`,
		"zero":          `{"certificates": [{"source": "custom", "status": "active", "expires_at": "0001-01-01T00:00:00Z"}]}`,
		"no time":       `{"certificates": [{"source": "custom", "status": "active", "expires_at": "tomorrow"}]}`,
		"another shape": `[]`,
	} {
		sink := openOn(t, config("", "example.com"), &credential{tokens: []string{token}}, roundTrip(func(*http.Request) *http.Response { return respond(200, body) }))
		if observed, err := sink.Observe(t.Context(), targetOf(t, sink, "example.com")); !errors.Is(err, anycert.ErrMalformed) || observed.Found {
			t.Errorf("%s: %+v, %v, want ErrMalformed", name, observed, err)
		}
	}
}

func TestUnknownStatus(t *testing.T) {
	sink := openOn(t, config("", "example.com"), &credential{tokens: []string{token}}, roundTrip(func(*http.Request) *http.Response {
		return respond(200, `{"certificates": [{"source": "custom", "status": "paused\u0007", "expires_at": "2027-01-01T00:00:00Z"}]}`)
	}))
	observed := observe(t, sink, targetOf(t, sink, "example.com"))
	if want := "Fly.io reports the status \"paused\": look at `fly certs show example.com`"; observed.Waiting != want {
		t.Errorf("Waiting is %q, want %q", observed.Waiting, want)
	}
}

// Whatever name Fly.io gives for the ownership record, _acme-challenge is not shown.
func TestNeverShowsTheChallengeRecord(t *testing.T) {
	sink := openOn(t, config("", "*.example.com"), &credential{tokens: []string{token}}, roundTrip(func(*http.Request) *http.Response {
		return respond(200, `{"certificates": [{"source": "custom", "status": "pending_ownership", "expires_at": "2027-01-01T00:00:00Z"}],
			"dns_requirements": {"acme_challenge": {"name": "_acme-challenge.example.com", "target": "example.com.k3x9q.flydns.net"},
			"ownership": {"name": "_acme-challenge.example.com"}}}`)
	}))
	observed := observe(t, sink, targetOf(t, sink, "*.example.com"))
	if shown := fmt.Sprintf("%+v", observed); strings.Contains(shown, "_acme-challenge") || strings.Contains(shown, "flydns") {
		t.Errorf("the challenge record is shown: %s", shown)
	}
	if want := "add the DNS record _fly-ownership.example.com TXT that `fly certs setup *.example.com` shows"; !strings.Contains(observed.Waiting, want) {
		t.Errorf("Waiting is %q, want in it %q", observed.Waiting, want)
	}
}

func TestClean(t *testing.T) {
	sink := open(t, config("", "example.com"), &credential{})
	target := anycert.Target{Label: "a-hostname-with-4-digits-and-more.example.com"}
	for text, shown := range map[string]bool{
		"private_key does not match the certificate":                                       true,
		"certificate is not valid for a-hostname-with-4-digits-and-more.example.com":       true,
		"dial tcp: lookup api.machines.dev on 192.0.2.53:53: no such host":                 true,
		"the certificate_authority of intermediate-certificates is unknown at 12:30, 7, 8": true,
		"-----BEGIN":                        false,
		"PRIVATE KEY":                       false,
		"bad MC4CAQAwBQYDK2VwBCIEIJ+D":      false,
		"bad 302e020100300506032b6570":      false,
		"bad 30 2e 02 01 00 30 05 06 03 2b": false,
		"bad 30:2e:02:01:00:30:05:06:03:2b": false,
		"bad [48 46 2 1 0 48 5 6 3 43 101]": false,
		"bad 48, 46, 2, 1, 0, 48, 5, 6, 3,": false,
	} {
		want := withheld
		if shown {
			want = text
		}
		if got := sink.clean(text, target); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
	if got := sink.clean(strings.Repeat("no ", 200), target); len(got) > 210 {
		t.Errorf("a text of %d bytes is shown", len(got))
	}
}

// No error shows a key or a token, in whatever form a server repeats it: in a JSON
// error, as the page of a proxy, in a field that does not parse, as a status line.
func TestErrorsShowNoKey(t *testing.T) {
	pair := sinktest.Issue(t, "example", []string{"example.com"}, 1)[0]
	key := pair.Bundle.KeyPEM().Reveal()
	raw := []byte(key)
	forms := map[string]string{
		"PEM":        key,
		"JSON":       strings.ReplaceAll(key, "\n", `\n`),
		"quoted":     fmt.Sprintf("%q", key),
		"hex":        hex.EncodeToString(raw),
		"hex bytes":  fmt.Sprintf("% x", raw),
		"bytes":      fmt.Sprint(raw),
		"base64":     base64.StdEncoding.EncodeToString(raw),
		"base64url":  base64.RawURLEncoding.EncodeToString(raw),
		"no armour":  strings.Join(strings.Split(key, "\n")[1:3], " "),
		"one line":   strings.Split(key, "\n")[2],
		"token":      token,
		"cut":        key[:40],
		"with words": "invalid key: " + strings.Split(key, "\n")[1] + " is not a key",
	}
	for form, text := range forms {
		for _, answer := range []string{
			"HTTP/1.1 422 Unprocessable Entity\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" + fmt.Sprintf(`{"error":%q}`, text),
			"HTTP/1.1 500 Oops\r\nConnection: close\r\n\r\n" + text,
			"HTTP/1.1 201 Created\r\nConnection: close\r\n\r\n" + fmt.Sprintf(`{"certificates":[{"expires_at":%q}]}`, text),
			"HTTP/1.1 201 Created\r\nConnection: close\r\n\r\n" + text,
			"HTTP/1.1 422 " + oneLine(text) + "\r\nConnection: close\r\n\r\n",
			oneLine(text) + "\r\n\r\n",
			"HTTP/1.1 201 Created\r\n" + oneLine(text) + "\r\n\r\n",
			"HTTP/1.1 307 Moved\r\nLocation: https://example.net/" + oneLine(text) + "\r\nConnection: close\r\n\r\n",
		} {
			sink := open(t, config(rawServer(t, answer), "example.com"), &credential{tokens: []string{token}})
			err := sink.Push(t.Context(), targetOf(t, sink, "example.com"), pair.Entry, pair.Bundle)
			if err == nil {
				t.Fatalf("no error for %q", answer)
			}
			shown := fmt.Sprintf("%v %+v %#v", err, err, err)
			if leak := sinktest.Leaks(shown, pair.Bundle); leak != nil || strings.Contains(shown, token) {
				t.Errorf("%s: an error shows it (%v):\n%v\nafter the answer\n%s", form, leak, err, answer)
			}
		}
	}
}

func oneLine(text string) string { return strings.ReplaceAll(text, "\n", " ") }

// rawServer sends the same bytes to every connection.
func rawServer(t *testing.T, answer string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				buffer := make([]byte, 64<<10)
				for seen := ""; !strings.Contains(seen, "private_key"); {
					n, err := connection.Read(buffer)
					if err != nil {
						return
					}
					seen += string(buffer[:n])
				}
				_, _ = connection.Write([]byte(answer))
			}()
		}
	}()
	return "http://" + listener.Addr().String()
}

// A redirect is not followed: the request holds a key.
func TestRedirectIsNotFollowed(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { t.Errorf("the request followed to %s", r.URL) }))
	defer elsewhere.Close()
	endpoint := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer endpoint.Close()
	sink := open(t, config(endpoint.URL, "example.com"), &credential{tokens: []string{token}})
	pair := sinktest.Issue(t, "example", sink.hostnames, 1)[0]
	if err := sink.Push(t.Context(), targetOf(t, sink, "example.com"), pair.Entry, pair.Bundle); !errors.Is(err, anycert.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
}

func TestTokenThatCannotBeRead(t *testing.T) {
	server := startServer(t)
	broken := &credential{err: fmt.Errorf("env FLY_API_TOKEN: %w", anycert.ErrNotFound)}
	sink := open(t, config(server.URL, "example.com"), broken)
	if _, err := sink.Observe(t.Context(), targetOf(t, sink, "example.com")); !errors.Is(err, anycert.ErrNotFound) || !strings.Contains(err.Error(), "reading the token: env FLY_API_TOKEN") {
		t.Errorf("got %v", err)
	}
	empty := &credential{tokens: []string{" "}}
	sink = open(t, config(server.URL, "example.com"), empty)
	if _, err := sink.Observe(t.Context(), targetOf(t, sink, "example.com")); !errors.Is(err, anycert.ErrForbidden) || empty.refused != 1 {
		t.Errorf("an empty token: %v after %d refusals, want ErrForbidden and one", err, empty.refused)
	}
	if n := server.Requests(""); n != 0 {
		t.Errorf("%d requests left without a token", n)
	}
}

// The repeats that flaps makes by itself end with the context, and carry the whole
// body each time.
func TestRepeatsOfFlaps(t *testing.T) {
	sink, server := ready(t, "example.com")
	pair := sinktest.Issue(t, "example", sink.hostnames, 1)[0]
	target := targetOf(t, sink, "example.com")
	for range 5 {
		server.FailWrite(1, http.StatusBadGateway)
		if err := sink.Push(t.Context(), target, pair.Entry, pair.Bundle); err != nil {
			t.Errorf("after one 502: %v", err)
		}
	}
	server.FailAll(http.StatusServiceUnavailable)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	err := sink.Push(ctx, target, pair.Entry, pair.Bundle)
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, anycert.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable and DeadlineExceeded", err)
	}
}

// Each request has an end of its own, also when the caller sets none.
func TestAttemptsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := openOn(t, config("", "example.com"), &credential{tokens: []string{token}}, hanging{})
		start := time.Now()
		_, err := sink.Observe(t.Context(), targetOf(t, sink, "example.com"))
		if !errors.Is(err, anycert.ErrUnavailable) {
			t.Errorf("got %v, want ErrUnavailable", err)
		}
		if took := time.Since(start); took < attemptTimeout || took > 5*attemptTimeout {
			t.Errorf("it took %s", took)
		}
	})
}

type hanging struct{}

func (hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

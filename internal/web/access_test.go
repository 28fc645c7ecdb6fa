package web_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/web"
	"github.com/anycert/anycert/internal/web/webtest"
)

// kept is a token that is kept somewhere.
type kept struct {
	text string
	err  error
}

func (k kept) Secret(context.Context) (anycert.Secret, error) {
	return anycert.NewSecret(k.text), k.err
}
func (kept) Refused() {}

const token = "0f3c1d5e7a9b2c4d6e8f"

// Who is let in to the status page and its JSON, and what the others are told to do.
func TestAccess(t *testing.T) {
	anywhere := &net.TCPAddr{IP: net.IPv4zero, Port: 8080}
	open := web.Access{}
	withToken := web.Access{Token: kept{text: token}, Hosts: []string{"anycert.example.com"}}
	proxied := web.Access{ProxyHeader: "X-Forwarded-User", Hosts: []string{"anycert.example.com"}}
	far := web.Access{ProxyHeader: "X-Forwarded-User", Proxies: []netip.Prefix{netip.MustParsePrefix("10.4.0.0/16")}, Hosts: []string{"anycert.example.com"}}
	type headers map[string]string
	bearer := headers{"Authorization": "Bearer " + token}
	tests := []struct {
		name    string
		listen  net.Addr
		access  web.Access
		host    string
		peer    string
		headers headers
		code    int
		says    string
	}{
		{"this machine", loopback, open, "127.0.0.1:8080", "127.0.0.1:5", nil, 200, ""},
		{"this machine, by name", loopback, open, "localhost:8080", "127.0.0.1:5", nil, 200, ""},
		{"this machine, IPv6", loopback, open, "[::1]:8080", "[::1]:5", nil, 200, ""},
		{"a name that was bent to us", loopback, open, "evil.example.org:8080", "127.0.0.1:5", nil, 421, "http.hosts"},
		{"a name that begins like ours", loopback, open, "localhost.example.org", "127.0.0.1:5", nil, 421, "http.hosts"},
		{"no name", loopback, open, "", "127.0.0.1:5", nil, 421, "http.hosts"},
		{"another address", loopback, open, "192.0.2.7:8080", "127.0.0.1:5", nil, 421, "http.hosts"},
		{"elsewhere, nobody was named", anywhere, open, "localhost", "192.0.2.1:5", nil, 403, "http.token"},
		{"a sidecar is no person", anywhere, open, "localhost", "127.0.0.1:5", nil, 403, "http.token"},
		{"a header that nobody asked for", anywhere, open, "localhost", "127.0.0.1:5", headers{"X-Forwarded-User": "ops"}, 403, "http.token"},
		{"the token", anywhere, withToken, "anycert.example.com", "192.0.2.1:5", bearer, 200, ""},
		{"the token at the address itself", anywhere, withToken, "192.0.2.9:8080", "192.0.2.1:5", bearer, 200, ""},
		{"the token and a strange name", anywhere, withToken, "evil.example.org", "192.0.2.1:5", bearer, 421, "http.hosts"},
		{"the token as password", anywhere, withToken, "anycert.example.com:443", "192.0.2.1:5", headers{"Authorization": basic("ops", token)}, 200, ""},
		{"no token", anywhere, withToken, "anycert.example.com", "192.0.2.1:5", nil, 401, "a token is wanted"},
		{"no token, on this machine", loopback, withToken, "localhost", "127.0.0.1:5", nil, 401, "a token is wanted"},
		{"another token", anywhere, withToken, "anycert.example.com", "192.0.2.1:5", headers{"Authorization": "Bearer " + token + "0"}, 401, "not the token"},
		{"the token as user name", anywhere, withToken, "anycert.example.com", "192.0.2.1:5", headers{"Authorization": basic(token, "x")}, 401, "not the token"},
		{"a beginning of the token", anywhere, withToken, "anycert.example.com", "192.0.2.1:5", headers{"Authorization": "Bearer " + token[:8]}, 401, "not the token"},
		{"the token without its scheme", anywhere, withToken, "anycert.example.com", "192.0.2.1:5", headers{"Authorization": token}, 200, ""},
		{"a token that cannot be read", anywhere, web.Access{Token: kept{err: errors.New("gone")}}, "localhost", "192.0.2.1:5", bearer, 503, "the log"},
		{"a token that can be guessed", anywhere, web.Access{Token: kept{text: "secret"}}, "localhost", "192.0.2.1:5", headers{"Authorization": "Bearer secret"}, 503, "the log"},
		{"an empty token", anywhere, web.Access{Token: kept{}}, "localhost", "192.0.2.1:5", headers{"Authorization": "Bearer "}, 503, "the log"},
		{"a person behind a proxy", anywhere, proxied, "anycert.example.com", "127.0.0.1:5", headers{"X-Forwarded-User": "ops"}, 200, ""},
		{"nobody behind a proxy", anywhere, proxied, "anycert.example.com", "127.0.0.1:5", nil, 403, "X-Forwarded-User"},
		{"somebody who goes around the proxy", anywhere, proxied, "anycert.example.com", "192.0.2.1:5", headers{"X-Forwarded-User": "ops"}, 403, "http.proxies"},
		{"a proxy far away", anywhere, far, "anycert.example.com", "10.4.7.7:5", headers{"X-Forwarded-User": "ops"}, 200, ""},
		{"a proxy far away, as IPv6 shows it", anywhere, far, "anycert.example.com", "[::ffff:10.4.7.7]:5", headers{"X-Forwarded-User": "ops"}, 200, ""},
		{"this machine is not that proxy", anywhere, far, "anycert.example.com", "127.0.0.1:5", headers{"X-Forwarded-User": "ops"}, 403, "http.proxies"},
	}
	for _, test := range tests {
		handler := web.Handler(webtest.Fixed{Shown: webtest.Example()}, build, web.NewGate(test.listen, test.access, slog.New(slog.DiscardHandler)))
		for _, path := range []string{"/", "/certificates/shop", "/api/v1/status", "/api/v1/certificates", "/health/live", "/metrics"} {
			ctx := context.WithValue(t.Context(), http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 9), Port: 8080}))
			request := httptest.NewRequestWithContext(ctx, "GET", path, nil)
			request.Host, request.RemoteAddr = test.host, test.peer
			for name, value := range test.headers {
				request.Header.Set(name, value)
			}
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, request)
			want, says := test.code, test.says
			if path == "/health/live" || path == "/metrics" {
				want, says = 200, ""
			}
			body := answer.Body.String()
			if answer.Code != want || !strings.Contains(body, says) {
				t.Errorf("%s: %s: %d %q, want %d %q", test.name, path, answer.Code, body, want, says)
			}
			if want != 200 && (strings.Contains(body, "shop") || strings.Contains(body, token)) {
				t.Errorf("%s: %s: the refusal tells something: %s", test.name, path, body)
			}
			if asks := len(answer.Header().Values("WWW-Authenticate")); (want == 401) != (asks == 2) {
				t.Errorf("%s: %s: %d challenges", test.name, path, asks)
			}
		}
	}
}

func basic(user, password string) string {
	request := http.Request{Header: make(http.Header)}
	request.SetBasicAuth(user, password)
	return request.Header.Get("Authorization")
}

// What a reload changes is in force with the next request.
func TestAccessChanges(t *testing.T) {
	gate := web.NewGate(loopback, web.Access{}, slog.New(slog.DiscardHandler))
	handler := web.Handler(webtest.Fixed{Shown: webtest.Example()}, build, gate)
	for access, want := range map[*web.Access]int{{}: 200, {Token: kept{text: token}}: 401, {ProxyHeader: "X-Forwarded-User"}: 403} {
		gate.Change(*access)
		if code, _, body := ask(t, handler, "GET", "/"); code != want {
			t.Errorf("%d %s, want %d", code, body, want)
		}
	}
}

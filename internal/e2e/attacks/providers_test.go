package attacks

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/anycert/anycert/internal/testenv/certs"
)

// providers are servers in the place of Fastly's and Fly.io's APIs.
func providers() []attack {
	return []attack{
		{"fastly-endless", "Fastly answers without end", "exit 1: `the answer has more than 8388608 bytes`", atFastly(endlessly, "the answer has more than 8388608 bytes")},
		{"fastly-pages", "its listing has no last page", "exit 1: `the listing does not end after 1000 pages`", atFastly(func(w http.ResponseWriter, _ *http.Request) {
			item := `{"type": "tls_private_key", "id": "x", "attributes": {"name": "x"}}`
			_, _ = io.WriteString(w, `{"data": [`+strings.Repeat(item+",", 99)+item+`]}`)
		}, "the listing does not end after 1000 pages")},
		{"fly-endless", "Fly.io answers without end", "exit 1: `is not what the API promises`", atFly(endlessly, "is not what the API promises")},
		{"fastly-redirect", "Fastly redirects to another host", "exit 1; the other host is not visited", redirected(atFastly)},
		{"fly-redirect", "Fly.io redirects to another host", "exit 1: `which is not followed`; the other host is not visited", redirected(atFly, "which is not followed")},
		{"fastly-echo", "Fastly's errors repeat the request with key and token", "exit 1; it is not shown", echoing(fastlySink)},
		{"fly-echo", "Fly.io's errors repeat the request with key and token", "exit 1; it is not shown", echoing(flySink)},
		{"fly-ansi", "Fly.io's status and DNS records hold escape codes and line ends", "exit 0: `Fly.io reports the status`" + quiet, func(s *scene) string {
			pair := s.issued("example", certs.Options{})
			end := pair.Leaf().NotAfter.UTC().Format(time.RFC3339)
			server := s.hostile(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				_, _ = fmt.Fprintf(w, `{"hostname": "example.com", "certificates": [{"source": "custom", "status": "\u001b[2J\nERROR\r", "issuer": "\u009b31m", "expires_at": %q}]}`, end)
			})
			r := s.Run(s.config(flySink(s, server.URL)), "sync")
			return told(r, "Fly.io reports the status") + escapes(r)
		}},
		{"env-endpoint", "FASTLY_API_URL and FLY_FLAPS_BASE_URL lead to another host", "exit 0; the other host is not visited", func(s *scene) string {
			s.issued("example", certs.Options{})
			other := s.elsewhere()
			cmd := s.Command(s.config(`
certificates: [{name: example, domains: [example.com]}]
sinks:
  - {name: edge, type: fastly, certificates: ["*"], config: { {{.AtFastly}} }}
  - {name: app, type: fly, certificates: ["*"], config: { {{.AtFly "example-web"}}, hostnames: [example.com]}}
`), "sync")
			cmd.Env = append(cmd.Env, "FASTLY_API_URL="+other.URL, "FLY_FLAPS_BASE_URL="+other.URL, "FLY_API_BASE_URL="+other.URL, "VAULT_ADDR="+other.URL)
			return told(s.Do(cmd)) + other.String()
		}},
		{"env-debug", "every switch that makes libraries print requests is set: GODEBUG=http2debug=2, FASTLY_DEBUG_MODE, LEGO_DEBUG_DNS_API_HTTP_CLIENT", "exit 0; it is not shown", func(s *scene) string {
			// Another name than above: two hubs of one owner would fight over one domain.
			pair := s.issued("debug", certs.Options{Names: []string{"debug.example.com"}})
			cmd := s.Command(s.config(`
certificates: [{name: debug, domains: [debug.example.com]}]
sinks: [{name: edge, type: fastly, certificates: ["*"], config: { {{.AtFastly}} }}]
`), "sync", "--log-level", "debug")
			cmd.Env = append(cmd.Env, "GODEBUG=http2debug=2", "FASTLY_DEBUG_MODE=true", "LEGO_DEBUG_DNS_API_HTTP_CLIENT=true", "LOG_LEVEL=debug", "DEBUG=1")
			r := s.Do(cmd)
			return told(r) + s.unseen(r, string(pair.KeyPEM), s.FastlyToken, s.Vault.RootToken)
		}},
	}
}

func endlessly(w http.ResponseWriter, _ *http.Request) { endless(w, `{"data": "`) }

func fastlySink(s *scene, endpoint string) string {
	return `
certificates: [{name: example, domains: [example.com]}]
sinks: [{name: edge, type: fastly, certificates: ["*"], config: {token: ` + s.Reference(s.FastlyToken) + `, configurations: [x], endpoint: "` + endpoint + `"}}]
`
}

func flySink(s *scene, endpoint string) string {
	return toFly(s.File("fly-token", s.FlyToken), endpoint)
}

// atFastly is a sync with a server in the place of Fastly's.
func atFastly(answer http.HandlerFunc, words ...string) func(s *scene) string {
	return atProvider(fastlySink, answer, words...)
}

// atFly is a sync with a server in the place of Fly.io's.
func atFly(answer http.HandlerFunc, words ...string) func(s *scene) string {
	return atProvider(flySink, answer, words...)
}

func atProvider(sink func(*scene, string) string, answer http.HandlerFunc, words ...string) func(s *scene) string {
	return func(s *scene) string {
		s.issued("example", certs.Options{})
		r, late := s.timed(60*time.Second, s.Command(s.config(sink(s, s.hostile(answer).URL)), "sync"))
		return told(r, words...) + late
	}
}

type provider func(answer http.HandlerFunc, words ...string) func(s *scene) string

func redirected(to provider, words ...string) func(s *scene) string {
	return func(s *scene) string {
		other := s.elsewhere()
		return to(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
		}, words...)(s) + other.String()
	}
}

// echoing answers reads with nothing that is there, and writes with themselves.
func echoing(sink func(*scene, string) string) func(s *scene) string {
	return func(s *scene) string {
		pair := s.issued("example", certs.Options{})
		server := s.hostile(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/tls/") {
				_, _ = io.WriteString(w, `{"data": []}`)
				return
			}
			w.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprintf(w, `{"error": %q, "errors": [{"title": %[1]q, "detail": %[1]q}]}`, fmt.Sprint(r.Header)+string(body))
		})
		r := s.Run(s.config(sink(s, server.URL)), "sync", "--log-level", "debug")
		return told(r) + s.unseen(r, s.FastlyToken, s.FlyToken, string(pair.KeyPEM))
	}
}

package attacks

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/world"
)

// cas are servers in the place of an ACME CA.
func cas() []attack {
	return []attack{
		{"acme-http", "the ACME directory is http://", "exit 1: `ACME is spoken over TLS alone`", func(s *scene) string {
			return told(s.Run(s.config(`issuers: [{name: ca, directory: "http://ca.example.com/directory", dns: {{.Challenges}}}]`+"\n"), "check"), "ACME is spoken over TLS alone")
		}},
		{"acme-order-http", "the directory names an address for orders that is http://, on another host", "exit 1: `HTTPS is required`; the other host is not visited", func(s *scene) string {
			other := s.elsewhere()
			return s.order(func(ca *fakeCA) { ca.orders = other.URL + "/order" }, "HTTPS is required") + other.String()
		}},
		{"acme-order-foreign", "it names one on another host, over TLS that is trusted (RFC 8555 allows it)", "exit 1; that host gets a signed request, good for its own address alone, and no secret", foreign},
		{"acme-redirect", "the CA redirects to another host", "exit 1: `which is not followed: write the new address as directory`; the other host is not visited", func(s *scene) string {
			other := s.elsewhere()
			return s.order(func(ca *fakeCA) {
				ca.answer = func(w http.ResponseWriter, r *http.Request) {
					http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
				}
			}, "which is not followed: write the new address as directory") + other.String()
		}},
		{"acme-endless", "it answers without end", "exit 1: `the CA's answer has more than 1048576 bytes`", func(s *scene) string {
			return s.order(func(ca *fakeCA) {
				ca.answer = func(w http.ResponseWriter, _ *http.Request) { endless(w, `{"status": "`) }
			}, "the CA's answer has more than 1048576 bytes")
		}},
		{"acme-many", "it wants ten thousand authorizations for one name", "exit 1: `the CA wants 10000 authorizations for 1 names`", func(s *scene) string {
			return s.order(func(ca *fakeCA) {
				ca.answer = func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Location", ca.URL+"/order/1")
					w.WriteHeader(http.StatusCreated)
					_ = json.NewEncoder(w).Encode(map[string]any{"status": "pending", "identifiers": []any{map[string]string{"type": "dns", "value": "example.com"}}, "finalize": ca.URL + "/finalize", "authorizations": make([]string, 10_000)})
				}
			}, "the CA wants 10000 authorizations for 1 names")
		}},
		{"acme-ansi", "its errors hold escape codes and line ends", "exit 1: `the CA answers malformed`" + quiet, func(s *scene) string {
			server, path := s.acme(func(ca *fakeCA) {
				ca.answer = func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "application/problem+json")
					w.WriteHeader(http.StatusBadRequest)
					_, _ = io.WriteString(w, `{"type": "urn:ietf:params:acme:error:malformed", "detail": "\u001b[2J\nlevel=ERROR msg=x\u009b31m\r", "status": 400}`)
				}
			})
			defer server.Close()
			r := s.Run(path, "sync")
			return told(r, "the CA answers malformed") + escapes(r)
		}},
		{"acme-others", "it issues a certificate for a key that is not ours", "exit 1: `the CA issued something else than was asked for`; nothing is stored", foisted},
	}
}

// fakeCA is an ACME server as far as its order of business goes.
type fakeCA struct {
	*httptest.Server
	orders string           // address for new orders
	answer http.HandlerFunc // to those, and to all else
}

func (ca *fakeCA) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Replay-Nonce", "bm9uY2U")
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/directory":
		_ = json.NewEncoder(w).Encode(map[string]any{"newNonce": ca.URL + "/nonce", "newAccount": ca.URL + "/account", "newOrder": ca.orders})
	case "/nonce":
	case "/account":
		w.Header().Set("Location", ca.URL+"/account/1")
		_, _ = io.WriteString(w, `{"status": "valid"}`)
	default:
		ca.answer(w, r)
	}
}

const toIssue = `
certificates: [{name: example, domains: [example.com], issuer: ca}]
sinks: [{name: files, type: file, certificates: ["*"], config: {dir: {{.Files}}}}]
`

// acme starts a CA that vary made hostile, and writes the configuration of a hub that
// orders there.
func (s *scene) acme(vary func(*fakeCA)) (ca *fakeCA, config string) {
	s.T.Helper()
	ca = &fakeCA{answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }}
	server, roots := s.hostileTLS(ca.ServeHTTP)
	ca.Server, ca.orders = server, server.URL+"/order"
	vary(ca)
	return ca, s.config(fmt.Sprintf("issuers: [{name: ca, directory: %q, ca_bundle: %s, dns: {{.Challenges}}}]", ca.URL+"/directory", roots) + toIssue)
}

// order is a sync that orders at a hostile CA.
func (s *scene) order(vary func(*fakeCA), word string) string {
	s.T.Helper()
	_, path := s.acme(vary)
	r, late := s.timed(40*time.Second, s.Command(path, "sync"))
	return told(r, word) + late
}

func foreign(s *scene) string {
	sent := make(chan string, 100)
	other, _ := s.hostileTLS(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sent <- fmt.Sprint(r.Header) + string(body)
		w.WriteHeader(http.StatusTeapot)
	})
	ca, path := s.acme(func(ca *fakeCA) { ca.orders = other.URL + "/order" })
	s.File("both.pem", string(certs.ChainPEM(ca.Certificate(), other.Certificate())))
	s.config(fmt.Sprintf("issuers: [{name: ca, directory: %q, ca_bundle: %s, dns: {{.Challenges}}}]", ca.URL+"/directory", s.Path("both.pem")) + toIssue)
	r := s.Run(path, "sync")
	record, err := s.Vault.Client().KVv2("secret").Get(s.T.Context(), s.id+"/accounts/ca")
	s.Must(err)
	var accounts struct {
		Accounts map[string]struct{ Key string }
	}
	s.Must(json.Unmarshal([]byte(record.Data["value"].(string)), &accounts))
	if len(sent) == 0 {
		return told(r) + "; that host gets nothing: " + r.String()
	}
	what := <-sent
	shown := s.unseen(world.Result{Stdout: what}, s.Vault.RootToken, s.DNS.Secret, accounts.Accounts[ca.URL+"/directory"].Key)
	if !strings.Contains(what, `"signature"`) || shown != "; it is not shown" {
		return told(r) + "; that host gets " + what + shown
	}
	return told(r) + "; that host gets a signed request, good for its own address alone, and no secret"
}

// foisted is an order at Pebble through somebody who puts another certificate in the
// place of the one that was issued.
func foisted(s *scene) string {
	pebble := testenv.ACME(s.T, s.DNS.Addr, acmeserver.Options{})
	to, err := url.Parse(pebble.URL)
	s.Must(err)
	other := testenv.IssueFrom(s.T, s.Strangers, certs.Options{})
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = to.Scheme, to.Host, r.In.Host
		},
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		ModifyResponse: func(r *http.Response) error {
			if strings.HasPrefix(r.Request.URL.Path, "/certZ/") {
				r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(other.ChainPEM)), int64(len(other.ChainPEM))
				r.Header.Set("Content-Length", fmt.Sprint(len(other.ChainPEM)))
			}
			return nil
		},
	}
	server, roots := s.hostileTLS(proxy.ServeHTTP)
	path := s.config(fmt.Sprintf("issuers: [{name: ca, directory: %q, ca_bundle: %s, dns: {{.Challenges}}}]", server.URL+to.Path, roots) + toIssue)
	r := s.Run(path, "sync")
	seen := "; nothing is stored"
	if _, err := s.Vault.Client().KVv2("secret").Get(s.T.Context(), s.id+"/certs/example"); err == nil {
		seen = "; it is stored"
	}
	return told(r, "the CA issued something else than was asked for") + seen
}

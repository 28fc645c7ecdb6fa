//go:build linux

package page

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/leak"
	"github.com/anycert/anycert/internal/testenv/world"
)

const (
	statusToken = "5f1d7c0a9e3b48d2a6c4e8f0"
	wrongToken  = "hVt7QpX2mLr9ZsKd4Wn6Yb3c"
)

// The shipped daemon with real keys: what it obtained itself, one that was planted in the
// store, and a CDN that repeats what it is sent in its refusals. The page and its JSON tell
// how each of them is, and none of the secrets. Whoever does not bring the token sees
// nothing, until a reload says that nobody is asked.
func TestDaemon(t *testing.T) {
	w := world.New(t, world.Options{})
	planted := testenv.IssueFrom(t, w.Strangers, certs.Options{Names: []string{"planted.example.com"}, KeyType: certs.EC256})
	w.Put("planted", planted)
	w.Fastly.Echo(true)
	config := w.Config("hub.yaml", `version: 1
owner: hub
store: {{.Store (.Token "hub" .HubPolicy)}}
issuers: [{{.Issuer "pebble"}}]
certificates:
  - {name: example, description: the site, owner: web team, domains: [example.com, "*.example.com"], issuer: pebble}
  - {name: planted, domains: [planted.example.com]}
sinks:
  - {name: nginx, type: file, certificates: ["*"], config: {dir: {{.Files}}}}
  - {name: edge, type: fastly, certificates: ["*"], verify: false, config: {token: {{.Reference .Wrong}}, configurations: [tls-configuration-1], endpoint: {{.Fastly.URL | json}}}}
http: {listen: "127.0.0.1:0", token: {{.Reference .Status}}, hosts: [anycert.example.com]}
`, struct {
		*world.World
		Status, Wrong string
	}{w, statusToken, wrongToken})
	d := w.Daemon(config)
	visitor := visitor{t, d.URL}
	d.Await("looked everywhere", func() error { return visitor.looked() })

	_, key := w.InFiles(w.Files, "example")
	search, err := leak.New(
		leak.Secret{Name: "the planted key", PEM: planted.KeyPEM}, leak.Secret{Name: "the key that was issued", PEM: key},
		leak.Secret{Name: "the token of the page", Token: statusToken}, leak.Secret{Name: "the token of the CDN", Token: wrongToken},
		leak.Secret{Name: "the TSIG secret", Token: w.DNS.Secret}, leak.Secret{Name: "Vault's root token", Token: w.Vault.RootToken})
	w.Must(err)
	if own := search.Bytes("itself", append(planted.KeyPEM, key...)); len(own) < 2 {
		t.Fatalf("the search finds no keys: %v", own)
	}
	pages := map[string]string{
		"/": "2 of 2 certificates need attention", "/?q=planted": "1 of 2 found", "/certificates/example": "web team", "/certificates/planted": "kept by someone else",
		"/api/v1/status": `"owner": "hub"`, "/api/v1/certificates": `"planted.example.com"`, "/api/v1/certificates/example": `"issuer": "pebble"`, "/metrics": "anycert_promises",
		"/health/ready": "edge",
	}
	for page, says := range pages {
		status, body := visitor.get(page, statusToken, "")
		if !strings.Contains(body, says) {
			t.Errorf("%s: %d, and not %q: %s", page, status, says, body)
		}
		for _, found := range search.Bytes(page, []byte(body)) {
			t.Errorf("%s", found)
		}
	}
	for page := range pages {
		if page == "/metrics" || page == "/health/ready" {
			continue
		}
		for what, status := range map[string]int{"": http.StatusUnauthorized, statusToken + "0": http.StatusUnauthorized} {
			if got, body := visitor.get(page, what, ""); got != status || strings.Contains(body, "planted.example.com") {
				t.Errorf("%s with the token %q: %d %s", page, what, got, body)
			}
		}
		if got, _ := visitor.get(page, statusToken, "evil.example.org"); got != http.StatusMisdirectedRequest {
			t.Errorf("%s under another name: %d", page, got)
		}
	}

	b := open(t)
	b.call("Network.setExtraHTTPHeaders", map[string]any{"headers": map[string]string{"Authorization": "Bearer " + statusToken}}, nil)
	b.visit(d.URL)
	for _, says := range []string{"2 of 2 certificates need attention", "example", "web team", "edge", "obtained", "created", "nothing is there"} {
		if !strings.Contains(b.text(), says) {
			t.Errorf("the browser does not show %q:\n%s", says, b.text())
		}
	}
	for _, found := range search.Bytes("the browser", []byte(b.text())) {
		t.Error(found)
	}

	text, err := os.ReadFile(config)
	w.Must(err)
	head, _, _ := strings.Cut(string(text), "\nhttp:")
	w.Must(os.WriteFile(config, []byte(head+"\nhttp: {listen: \"127.0.0.1:0\"}\n"), 0o600))
	d.HangUp()
	d.Await("lets everybody on this machine in", func() error {
		if status, body := visitor.get("/", "", ""); status != http.StatusOK {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	d.End()
}

// visitor asks for pages.
type visitor struct {
	t   *testing.T
	url string
}

func (v visitor) get(page, token, host string) (status int, body string) {
	v.t.Helper()
	request, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, v.url+page, nil)
	must(v.t, err)
	request.Host = host
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	must(v.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	must(v.t, err)
	return response.StatusCode, string(text)
}

// looked is nil when both certificates lie in the files, and the CDN has refused both.
func (v visitor) looked() error {
	_, body := v.get("/api/v1/certificates", statusToken, "")
	var answer struct {
		Certificates []struct {
			Version  int
			Promises []struct{ Sink, Verdict string }
		}
	}
	must(v.t, json.Unmarshal([]byte(body), &answer))
	seen := ""
	for _, c := range answer.Certificates {
		for _, p := range c.Promises {
			seen += fmt.Sprintf("%s %s %d\n", p.Sink, p.Verdict, c.Version)
		}
	}
	if strings.Count(seen, "nginx kept 1\n") != 2 || strings.Count(seen, "edge unknown 1\n") == 0 {
		return fmt.Errorf("it says %s", seen)
	}
	return nil
}

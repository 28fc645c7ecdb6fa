package flytest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/sinks/fly/flytest"
)

const (
	appName    = "example-web"
	token      = "fm2_exampletoken"
	otherToken = "another-apps-token"
)

// request is one request to a stand-in; its zero value imports a good certificate
// with the right token.
type request struct {
	method, path  string
	authorization string
	contentType   string
	body          any // a string is sent as it is
}

// Each refusal of the list is asked for, and nothing else is refused.
func TestRefusals(t *testing.T) {
	requests := refused(t)
	var listed []string
	for _, refusal := range flytest.Refusals() {
		listed = append(listed, refusal.Name)
		t.Run(refusal.Name, func(t *testing.T) {
			server := start(t, flytest.Options{RateLimit: strings.Contains(refusal.Name, "too many")})
			var status int
			for range max(1, map[string]int{"too many requests of one action": 4}[refusal.Name]) {
				status = requests[refusal.Name].send(t, server)
			}
			if status != refusal.Status {
				t.Errorf("status is %d, want %d", status, refusal.Status)
			}
			if writes := server.Writes(); writes != 0 {
				t.Errorf("%d writes were counted for what was refused", writes)
			}
		})
	}
	slices.Sort(listed)
	if tested := slices.Sorted(maps.Keys(requests)); !slices.Equal(listed, tested) {
		t.Errorf("tested:\n%q\nlisted:\n%q", tested, listed)
	}
}

// The request that all refusals vary is accepted.
func TestGoodRequestIsAccepted(t *testing.T) {
	server := start(t, flytest.Options{})
	if status := importing(issue(t, certs.Options{}), "example.com").send(t, server); status != http.StatusCreated {
		t.Errorf("status is %d, want 201", status)
	}
	if writes := server.Writes(); writes != 1 {
		t.Errorf("%d writes were counted, want 1", writes)
	}
}

func refused(t *testing.T) map[string]request {
	good := issue(t, certs.Options{Names: []string{"example.com", "*.example.org"}, Intermediate: true})
	other := issue(t, certs.Options{})
	list := request{method: http.MethodGet}
	all := map[string]request{
		"unknown hostname":                {method: http.MethodGet, path: "/v1/apps/example-web/certificates/example.net"},
		"unknown path":                    {method: http.MethodGet, path: "/v1/apps/example-web/certificate"},
		"unknown method":                  {method: http.MethodPut, path: "/v1/apps/example-web/certificates/custom"},
		"unknown app":                     {method: http.MethodGet, path: "/v1/apps/example-api/certificates"},
		"too many requests of one action": list,
		"limit of no":                     {method: http.MethodGet, path: "/v1/apps/example-web/certificates?limit=no"},
		"limit above 500":                 {method: http.MethodGet, path: "/v1/apps/example-web/certificates?limit=501"},
		"cursor of another listing":       {method: http.MethodGet, path: "/v1/apps/example-web/certificates?cursor=example.net"},
		"removing a custom certificate that is not there": {
			method: http.MethodDelete, path: "/v1/apps/example-web/certificates/example.com/custom"},

		"body that is not declared as JSON": {contentType: "text/plain", body: fields(good, "example.com")},
		"body that is not JSON":             {body: "hostname=example.com"},
		"body above 1 MiB":                  {body: strings.Repeat(" ", 1<<20+1)},

		"invalid hostname": importing(good, "example.com/x"),
		"hostname that the certificate does not cover": importing(good, "www.example.com"),
		"wildcard that the certificate does not name":  importing(good, "*.example.com"),
		"unparsable fullchain":                         importing(certs.Pair{ChainPEM: []byte("x"), KeyPEM: good.KeyPEM}, "example.com"),
		"private key within the fullchain": importing(certs.Pair{
			ChainPEM: slices.Concat(good.ChainPEM, good.KeyPEM), KeyPEM: good.KeyPEM}, "example.com"),
		"unparsable private key":             importing(certs.Pair{ChainPEM: good.ChainPEM, KeyPEM: []byte("x")}, "example.com"),
		"private key of another certificate": importing(certs.Pair{ChainPEM: good.ChainPEM, KeyPEM: other.KeyPEM}, "example.com"),
		"leaf not first": importing(certs.Pair{
			ChainPEM: certs.ChainPEM(good.Chain[1], good.Chain[0]), KeyPEM: good.KeyPEM}, "example.com"),
		"expired certificate": importing(issue(t, certs.Options{
			NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-time.Minute)}), "example.com"),
		"certificate that is not valid yet": importing(issue(t, certs.Options{NotBefore: time.Now().Add(time.Hour)}), "example.com"),
	}
	for name, authorization := range map[string]string{
		"no token":                  "none",
		"unknown token":             "Bearer nobodys",
		"macaroon sent as Bearer":   "Bearer " + token,
		"other token sent as FlyV1": "FlyV1 " + otherToken,
		"token of another app":      "Bearer " + otherToken,
	} {
		all[name] = request{method: http.MethodGet, authorization: authorization}
	}
	for name, field := range map[string]string{"no hostname": "hostname", "no fullchain": "fullchain", "no private key": "private_key"} {
		body := fields(good, "example.com")
		delete(body, field)
		all[name] = request{body: body}
	}
	unknown := fields(good, "example.com")
	unknown["force"] = "true"
	all["unknown field"] = request{body: unknown}
	return all
}

func fields(pair certs.Pair, hostname string) map[string]string {
	return map[string]string{"hostname": hostname, "fullchain": string(pair.ChainPEM), "private_key": string(pair.KeyPEM)}
}

func importing(pair certs.Pair, hostname string) request {
	return request{body: fields(pair, hostname)}
}

// send fills in what is left out and returns the status.
func (r request) send(t *testing.T, server *flytest.Server) int {
	t.Helper()
	if r.method == "" {
		r.method, r.path = http.MethodPost, "/v1/apps/example-web/certificates/custom"
	}
	if r.path == "" {
		r.path = "/v1/apps/example-web/certificates"
	}
	body, isText := r.body.(string)
	if !isText && r.body != nil {
		encoded, err := json.Marshal(r.body)
		if err != nil {
			t.Fatal(err)
		}
		body = string(encoded)
	}
	request, err := http.NewRequestWithContext(t.Context(), r.method, server.URL+r.path, bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if r.contentType != "" {
		request.Header.Set("Content-Type", r.contentType)
	}
	switch r.authorization {
	case "":
		request.Header.Set("Authorization", "FlyV1 "+token)
	case "none":
	default:
		request.Header.Set("Authorization", r.authorization)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Fatal(fmt.Errorf("reading the answer: %w", err))
	}
	return response.StatusCode
}

func start(t *testing.T, options flytest.Options) *flytest.Server {
	t.Helper()
	options.Apps = map[string]string{appName: token, "example-other": otherToken}
	server, err := flytest.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server
}

func issue(t *testing.T, options certs.Options) certs.Pair {
	t.Helper()
	ca, err := certs.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(options)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

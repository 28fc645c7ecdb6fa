package fly

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/sinks/sinktest"
	"github.com/google/go-cmp/cmp"
)

// One import for each hostname, and nothing but imports.
func TestPushIsOneImport(t *testing.T) {
	hostnames := []string{"example.com", "*.example.com"}
	sink, server := ready(t, hostnames...)
	pairs := sinktest.Issue(t, "example", hostnames, 1, 2)
	for _, pair := range pairs { // the second replaces the first
		for _, hostname := range hostnames {
			before := server.Requests("")
			push(t, sink, targetOf(t, sink, hostname), pair)
			if n := server.Requests("") - before; n != 1 {
				t.Errorf("%s: %d requests, want one", hostname, n)
			}
			chain, key := server.Custom(appName, hostname)
			if !bytes.Equal(chain, pair.Bundle.FullChainPEM()) || string(key) != pair.Bundle.KeyPEM().Reveal() {
				t.Errorf("%s: what arrived is not what was pushed", hostname)
			}
		}
	}
	if imports := server.Requests("create_custom"); imports != 4 {
		t.Errorf("%d imports, want 4", imports)
	}
}

func TestObserve(t *testing.T) {
	sink, _ := ready(t, "example.com")
	pair := sinktest.Issue(t, "example", sink.hostnames, 1)[0]
	target := targetOf(t, sink, "example.com")
	push(t, sink, target, pair)
	want := anycert.Observed{
		Found: true, Evidence: anycert.Dates, NotAfter: pair.Entry.Leaf.NotAfter.UTC(),
		Issuer: pair.Entry.Leaf.Issuer.CommonName, Unmarkable: true,
	}
	if diff := cmp.Diff(want, observe(t, sink, target)); diff != "" {
		t.Errorf("observed (-want +got):\n%s", diff)
	}
}

// Fly.io's own certificate is no copy of ours, no obstacle, and stays.
func TestOwnCertificateOfFly(t *testing.T) {
	sink, server := ready(t, "example.com")
	pairs := sinktest.Issue(t, "example", sink.hostnames, 1, 2)
	target := targetOf(t, sink, "example.com")
	own := pairs[0].Bundle
	if err := server.AddOwn(appName, "example.com", own.FullChainPEM(), []byte(own.KeyPEM().Reveal())); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(anycert.Observed{Unmarkable: true}, observe(t, sink, target)); diff != "" {
		t.Errorf("beside Fly.io's own certificate (-want +got):\n%s", diff)
	}
	push(t, sink, target, pairs[1])
	if err := sinktest.Agrees(pairs[1].Entry, observe(t, sink, target)); err != nil {
		t.Error(err)
	}
	if !server.HasOwn(appName, "example.com") {
		t.Error("Fly.io's own certificate is gone")
	}
}

// A hostname that is not declared is neither read nor written, whatever the core
// asks for.
func TestUndeclaredHostname(t *testing.T) {
	sink, server := ready(t, "example.com")
	pair := sinktest.Issue(t, "example", []string{"example.com", "www.example.com"}, 1)[0]
	target := anycert.Target{Key: "fly://x/example-web/www.example.com", Label: "www.example.com", Certificate: "example"}
	_, observeErr := sink.Observe(t.Context(), target)
	for _, err := range []error{observeErr, sink.Push(t.Context(), target, pair.Entry, pair.Bundle)} {
		if !errors.Is(err, anycert.ErrRefused) || !strings.Contains(err.Error(), "www.example.com") {
			t.Errorf("got %v, want ErrRefused that names the hostname", err)
		}
	}
	if n := server.Requests(""); n != 0 {
		t.Errorf("%d requests were made", n)
	}
}

// "waiting" names the record that proves ownership, and never the CNAME by which
// Fly.io would take over _acme-challenge.
func TestWaiting(t *testing.T) {
	server := startServer(t)
	hostnames := []string{"example.com", "*.example.com"}
	sink := open(t, config(server.URL, hostnames...), &credential{tokens: []string{token}})
	pair := sinktest.Issue(t, "example", hostnames, 1)[0]
	for hostname, alternative := range map[string]string{
		"example.com":   `, or point example.com at the app`,
		"*.example.com": ` (a wildcard needs it)`,
	} {
		target := targetOf(t, sink, hostname)
		push(t, sink, target, pair)
		observed := observe(t, sink, target)
		want := `Fly.io wants a proof that the domain is yours: add the DNS record _fly-ownership.example.com TXT "app-example-web-7d2k9"` + alternative
		if observed.Waiting != want || !observed.Found || !observed.NotAfter.Equal(pair.Entry.Leaf.NotAfter) {
			t.Errorf("%s: %+v, want Found and Waiting: %s", hostname, observed, want)
		}
	}
	server.PointDNS(appName, "example.com")
	if waiting := observe(t, sink, targetOf(t, sink, "example.com")).Waiting; waiting != "" {
		t.Errorf("example.com points at the app, and is still waiting: %s", waiting)
	}
	if waiting := observe(t, sink, targetOf(t, sink, "*.example.com")).Waiting; waiting == "" {
		t.Error("a wildcard is not served before its TXT record is there")
	}
	server.ConfirmOwnership(appName, "*.example.com")
	if waiting := observe(t, sink, targetOf(t, sink, "*.example.com")).Waiting; waiting != "" {
		t.Errorf("the TXT record is there, and it is still waiting: %s", waiting)
	}
}

func TestProbe(t *testing.T) {
	sink, server := ready(t, "example.com")
	if err := sink.Probe(t.Context()); err != nil {
		t.Error(err)
	}
	if writes, lists := server.Writes(), server.Requests("list"); writes != 0 || lists != 1 {
		t.Errorf("%d writes and %d listings, want none and one", writes, lists)
	}
	c := config(server.URL, "example.com")
	c.App = "example-api"
	if err := open(t, c, &credential{tokens: []string{token}}).Probe(t.Context()); err == nil || !strings.Contains(err.Error(), `no app "example-api"`) {
		t.Errorf("an app that is not there: %v", err)
	}
}

// A rotated token is picked up after the refusal of the old one.
func TestRotatedToken(t *testing.T) {
	server := startServer(t)
	token := &credential{tokens: []string{"fm2_old", token}}
	sink := open(t, config(server.URL, "example.com"), token)
	target := targetOf(t, sink, "example.com")
	if _, err := sink.Observe(t.Context(), target); !errors.Is(err, anycert.ErrForbidden) {
		t.Errorf("with the old token: %v, want ErrForbidden", err)
	}
	if token.refused != 1 {
		t.Errorf("the credential was told of %d refusals, want 1", token.refused)
	}
	observe(t, sink, target)
}

// Each kind of token goes out under the scheme that Fly.io expects.
func TestTokenKinds(t *testing.T) {
	for text, want := range map[string]string{
		"fm1r_a":               "FlyV1 fm1r_a",
		"fm1a_a":               "FlyV1 fm1a_a",
		"fm2_a":                "FlyV1 fm2_a",
		"FlyV1 fm2_a":          "FlyV1 fm2_a", // as `fly tokens create` prints it
		"FlyV1 fm2_a,fm2_b":    "FlyV1 fm2_a,fm2_b",
		"Bearer personaltoken": "Bearer personaltoken",
		"personaltoken":        "Bearer personaltoken",
	} {
		var got, agent, path string
		sink := openOn(t, config("", "*.example.com"), &credential{tokens: []string{text}}, roundTrip(func(r *http.Request) *http.Response {
			got, agent, path = r.Header.Get("Authorization"), r.UserAgent(), r.URL.String()
			return respond(http.StatusOK, `{"hostname": "*.example.com"}`)
		}))
		observe(t, sink, targetOf(t, sink, "*.example.com"))
		if got != want {
			t.Errorf("%q goes out as %q, want %q", text, got, want)
		}
		if agent != "anycert/test" {
			t.Errorf("the user agent is %q", agent)
		}
		if want := "https://api.machines.dev/v1/apps/example-web/certificates/%2A.example.com"; path != want {
			t.Errorf("asked %s, want %s", path, want)
		}
	}
}

// The endpoint is that of the configuration, whatever the environment says.
func TestEndpointIsNotTakenFromTheEnvironment(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("a request went to the address of FLY_FLAPS_BASE_URL: %s", r.URL)
	}))
	defer elsewhere.Close()
	t.Setenv("FLY_FLAPS_BASE_URL", elsewhere.URL)
	sink, server := ready(t, "example.com")
	push(t, sink, targetOf(t, sink, "example.com"), sinktest.Issue(t, "example", sink.hostnames, 1)[0])
	if got := server.Hostnames(appName); !slices.Equal(got, []string{"example.com"}) {
		t.Errorf("the stand-in knows %q", got)
	}
	t.Setenv("FLY_FLAPS_BASE_URL", "http://%zz")
	if _, err := config(server.URL, "example.com").Open(environment("example-prod", &credential{})); err == nil || !strings.Contains(err.Error(), "unset FLY_FLAPS_BASE_URL") {
		t.Errorf("with a broken FLY_FLAPS_BASE_URL: %v", err)
	}
}

// roundTrip answers requests without a network.
type roundTrip func(*http.Request) *http.Response

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) {
	response := f(r)
	response.Request = r
	return response, nil
}

func respond(status int, body string) *http.Response {
	recorder := httptest.NewRecorder()
	recorder.WriteHeader(status)
	recorder.Body.WriteString(body)
	return recorder.Result()
}

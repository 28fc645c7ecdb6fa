package fastlytest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/sinks/fastly/fastlytest"
)

// exchange is a request to the real API and its answer, as go-fastly ships it.
type exchange struct {
	Request struct {
		Body, URL, Method string
		Headers           map[string][]string
	}
	Response struct {
		Body    string
		Code    int
		Headers map[string][]string
	}
}

// fixtures is where they lie: in the module itself, nothing is copied.
var fixtures = sync.OnceValues(func() (string, error) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/fastly/go-fastly/v9").Output()
	return filepath.Join(strings.TrimSpace(string(dir)), "fastly", "fixtures"), err
})

func recorded(t *testing.T, name string) []exchange {
	t.Helper()
	dir, err := fixtures()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Interactions []exchange }
	if err := yaml.Unmarshal(text, &file); err != nil || len(file.Interactions) == 0 {
		t.Fatalf("%s: %d exchanges, %v", name, len(file.Interactions), err)
	}
	return file.Interactions
}

// replay sends recorded requests to a stand-in, and holds its answers against the
// recorded ones: status, media type, and every field but the moments. The recorded
// ids become those that the stand-in gave.
type replay struct {
	t      *testing.T
	server *fastlytest.Server
	ids    map[string]string
	// amend takes out of a recorded answer what depends on what else was in that
	// account; it may be nil.
	amend func(name string, body map[string]any)
}

func (r *replay) run(names ...string) {
	r.t.Helper()
	for _, name := range names {
		for _, exchange := range recorded(r.t, name) {
			r.one(name, exchange)
		}
	}
}

func (r *replay) one(name string, e exchange) {
	r.t.Helper()
	url := strings.Replace(r.live(e.Request.URL), "https://api.fastly.com", r.server.URL, 1)
	request, err := http.NewRequestWithContext(r.t.Context(), e.Request.Method, url, strings.NewReader(r.live(e.Request.Body)))
	if err != nil {
		r.t.Fatal(err)
	}
	request.Header = http.Header(e.Request.Headers).Clone()
	request.Header.Set("Fastly-Key", token) // go-fastly leaves it out of the record
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if response.StatusCode != e.Response.Code {
		r.t.Fatalf("%s: the status is %d, recorded is %d: %s", name, response.StatusCode, e.Response.Code, body)
	}
	want, got := http.Header(e.Response.Headers).Get("Content-Type"), response.Header.Get("Content-Type")
	if got != want {
		r.t.Errorf("%s: the content type is %q, recorded is %q", name, got, want)
	}
	r.compare(name, e.Response.Body, string(body))
}

// live puts the stand-in's ids in the place of the recorded ones.
func (r *replay) live(text string) string {
	for recorded, live := range r.ids {
		text = strings.ReplaceAll(text, recorded, live)
	}
	return text
}

var digits = regexp.MustCompile(`[0-9]`)

func (r *replay) compare(name, recorded, answered string) {
	r.t.Helper()
	want, got := decode(r.t, recorded), decode(r.t, answered)
	// An object that is met for the first time got its id from the stand-in.
	if w, g := id(want), id(got); w != "" && r.ids[w] == "" {
		r.ids[w] = g
	}
	want = decode(r.t, r.live(recorded))
	if r.amend != nil {
		r.amend(name, want)
		r.amend(name, got)
	}
	moments(want)
	moments(got)
	if diff := cmp.Diff(want, got); diff != "" {
		r.t.Errorf("%s (-recorded +answered):\n%s", name, diff)
	}
}

func decode(t *testing.T, text string) map[string]any {
	t.Helper()
	var body map[string]any
	if text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), &body); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return body
}

func id(body map[string]any) string {
	data, _ := body["data"].(map[string]any)
	id, _ := data["id"].(string)
	return id
}

// moments leaves of each moment its form: "0000-00-00T00:00:00.000Z".
func moments(value any) {
	switch value := value.(type) {
	case map[string]any:
		for name, inner := range value {
			if text, ok := inner.(string); ok && (name == "created_at" || name == "updated_at") {
				value[name] = digits.ReplaceAllString(text, "0")
			}
			moments(inner)
		}
	case []any:
		for _, inner := range value {
			moments(inner)
		}
	}
}

func TestRecordedCustomTLS(t *testing.T) {
	r := &replay{t: t, server: start(t), ids: map[string]string{}}
	r.run("custom_tls/create-key", "custom_tls/create", "custom_tls/list", "custom_tls/get", "custom_tls/update",
		"custom_tls/delete-cert", "custom_tls/delete-key")
}

func TestRecordedPrivateKeys(t *testing.T) {
	r := &replay{t: t, server: start(t), ids: map[string]string{}}
	r.amend = func(name string, body map[string]any) {
		if name == "tls/list" { // there was a second key in that account
			body["data"] = body["data"].([]any)[:1]
			body["meta"].(map[string]any)["record_count"] = 1.0
		}
	}
	r.run("tls/create", "tls/get", "tls/list", "tls/delete")
}

// The key was recorded to be deleted before its certificate, which the documentation
// rules out: the stand-in keeps to the documentation.
func TestRecordedMutualAuthentication(t *testing.T) {
	r := &replay{t: t, server: start(t), ids: map[string]string{}}
	const in = "mutual_authentication/"
	r.run(in+"create-key", in+"create-cert", in+"create-tma", in+"get", in+"list", in+"update", in+"delete-tma", in+"delete-cert", in+"delete-key")
}

func TestRecordedSubscription(t *testing.T) {
	r := &replay{t: t, server: start(t), ids: map[string]string{}}
	live, err := r.server.AddSubscription(other, []string{"integ-test1.go-fastly-1.com"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.ids["mwtZ5xuowgXsyR2nyPjuWw"] = live
	r.amend = func(name string, body map[string]any) {
		delete(body, "links") // the real ones repeat a filter that was not asked for
		objects, _ := body["data"].([]any)
		if object := body["data"]; objects == nil && object != nil {
			objects = []any{object}
		}
		for _, object := range objects {
			relations := object.(map[string]any)["relationships"].(map[string]any)
			authorization := relations["tls_authorizations"].(map[string]any)["data"].([]any)[0].(map[string]any)
			authorization["id"] = "" // it is shown nowhere else
		}
	}
	r.run("tls_subscription/list", "tls_subscription/get", "tls_subscription/delete", "tls_subscription/cleanup")
}

func TestRecordedDomains(t *testing.T) {
	r := &replay{t: t, server: start(t), ids: map[string]string{}}
	ca, err := authority()
	if err != nil {
		t.Fatal(err)
	}
	add := func(domain string) (id string) {
		pair, err := ca.Issue(certs.Options{Names: []string{domain}})
		if err != nil {
			t.Fatal(err)
		}
		if id, err = r.server.AddCertificate("", pair.ChainPEM); err != nil {
			t.Fatal(err)
		}
		return id
	}
	// The account had these ten, and two more on its second page.
	for _, object := range decode(t, recorded(t, "custom_tls_domain/list")[0].Response.Body)["data"].([]any) {
		domain := object.(map[string]any)
		on := domain["relationships"].(map[string]any)["tls_certificates"].(map[string]any)["data"].([]any)
		r.ids[on[0].(map[string]any)["id"].(string)] = add(domain["id"].(string))
	}
	add("yet-another.test")
	add("zoo.test")
	r.run("custom_tls_domain/list")
}

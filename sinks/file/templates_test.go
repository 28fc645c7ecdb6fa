package file

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/sinks/sinktest"
)

const stunnel = `[https]
cert = {{ (certificate "example").fullchain }}
key = {{ (certificate "example").privkey }}
`

// templated makes a sink with one template, and the path of the template.
func templated(t testing.TB, text string, more Config) (*Sink, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stunnel.conf.tmpl")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	more.Dir = filepath.Join(t.TempDir(), "certificates")
	more.Templates = []Template{{File: path, Secrets: map[string]anycert.Reference{"psk": {Env: "PSK"}}}}
	return open(t, more, sinktest.Owner, nil), path
}

func deviations(t testing.TB, s *Sink, certificate string) string {
	t.Helper()
	observed, err := s.Observe(t.Context(), targetOf(s, certificate))
	must(t, err)
	var all []string
	for _, d := range observed.Deviations {
		all = append(all, d.Kind+": "+d.Detail)
	}
	return strings.Join(all, "; ")
}

// A rendered file is kept as its template makes it, and the server is told of each change.
func TestTemplates(t *testing.T) {
	s, path := templated(t, stunnel, Config{Reload: []string{"true"}})
	pair := sinktest.Issue(t, "example", []string{"example.com"}, 1)[0]
	made := filepath.Join(s.dir, "stunnel.conf")
	want := "[https]\ncert = " + s.path("example") + "/fullchain.pem\nkey = " + s.path("example") + "/privkey.pem\n"
	doPass(t, s, pair)
	agree(t, s, pair)
	if got := read(t, made); got != want {
		t.Fatalf("%q, want %q", got, want)
	}
	if info, err := os.Stat(made); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
	tampers := map[string]func(){
		"template: stunnel.conf differs":                   func() { must(t, os.WriteFile(made, []byte("x"), 0o600)) },
		"template: stunnel.conf is missing":                func() { must(t, os.Remove(made)) },
		"but stunnel.conf has mode 0644, want 0600":        func() { must(t, os.Chmod(made, 0o644)) },
		"template: stunnel.conf differs from what " + path: func() { want += "more\n"; must(t, os.WriteFile(path, []byte(stunnel+"more\n"), 0o600)) },
	}
	for says, tamper := range tampers {
		tamper()
		if got := deviations(t, s, "example"); !strings.Contains(got, says) {
			t.Errorf("the deviations are %q, want %q", got, says)
		}
		must(t, s.Push(t.Context(), targetOf(s, "example"), pair.Entry, pair.Bundle))
		if got := deviations(t, s, "example"); got != `reload: the last change waits for a successful ["true"]` {
			t.Errorf("after %q was mended: %q", says, got)
		}
		must(t, s.Finish(t.Context()))
		agree(t, s, pair)
		if got := read(t, made); got != want {
			t.Errorf("after %q: %q, want %q", says, got, want)
		}
	}
	before, err := os.Stat(made)
	must(t, err)
	doPass(t, s, pair)
	if after, err := os.Stat(made); err != nil || !os.SameFile(before, after) {
		t.Error("a pass in which nothing differed wrote the file")
	}
}

// A secret that the configuration names is in the file and in no mark.
func TestTemplateWithASecret(t *testing.T) {
	s, path := templated(t, `PSK={{ secret "psk" }}`, Config{})
	pair := sinktest.Issue(t, "example", []string{"example.com"}, 1)[0]
	doPass(t, s, pair)
	secret, err := testEnv("x").Credential(anycert.Reference{Env: "PSK"}).Secret(t.Context())
	must(t, err)
	if got := read(t, filepath.Join(s.dir, "stunnel.conf")); got != "PSK="+secret.Reveal() || secret.IsZero() {
		t.Errorf("%q", got)
	}
	if mark := read(t, filepath.Join(s.dir, private, "rendered.stunnel.conf.json")); strings.Contains(mark, secret.Reveal()) {
		t.Error("the mark holds the secret")
	}
	must(t, os.WriteFile(path, []byte(`{{ secret "other" }}`), 0o600))
	if got := deviations(t, s, "example"); !strings.Contains(got, `the sink's configuration has no secret "other"`) || strings.Contains(got, secret.Reveal()) {
		t.Error(got)
	}
}

// A template that cannot be rendered is told, and delays no certificate.
func TestTemplateDelaysNoCertificate(t *testing.T) {
	s, path := templated(t, `{{ range 3 }}{{ end }}`, Config{})
	pair := sinktest.Issue(t, "example", []string{"example.com"}, 1)[0]
	err := s.Push(t.Context(), targetOf(s, "example"), pair.Entry, pair.Bundle)
	if !errors.Is(err, anycert.ErrMalformed) || !strings.Contains(err.Error(), "the certificate is there; stunnel.conf: ") {
		t.Error(err)
	}
	if got := read(t, filepath.Join(s.path("example"), fullchainFile)); got != string(pair.Bundle.FullChainPEM()) {
		t.Error("the certificate did not come")
	}
	if got := deviations(t, s, "example"); !strings.Contains(got, "template: stunnel.conf cannot be rendered: ") {
		t.Error(got)
	}
	if err := s.Probe(t.Context()); !errors.Is(err, anycert.ErrMalformed) || !strings.Contains(err.Error(), "range is not allowed") {
		t.Errorf("what `check --connect` says: %v", err)
	}
	must(t, os.WriteFile(path, []byte(`{{ secret "other" }}`), 0o600))
	if err := s.Probe(t.Context()); err == nil || !strings.Contains(err.Error(), `has no secret "other"`) {
		t.Errorf("what `check --connect` says: %v", err)
	}
	must(t, os.WriteFile(path, []byte(`{{ secret "psk" }}`), 0o600))
	must(t, s.Probe(t.Context()))
	must(t, os.Chmod(path, 0o666))
	if got := deviations(t, s, "example"); !strings.Contains(got, "others may write it") {
		t.Error(got)
	}
}

// A file that leads to a certificate that is not there would stop a server.
func TestTemplateWaitsForItsCertificates(t *testing.T) {
	s, _ := templated(t, stunnel+`CAfile = {{ (certificate "other").chain }}`, Config{})
	pair := sinktest.Issue(t, "example", []string{"example.com"}, 1)[0]
	doPass(t, s, pair)
	made := filepath.Join(s.dir, "stunnel.conf")
	if got := deviations(t, s, "example"); exists(made) || got != "template: stunnel.conf is not rendered: it names other, which "+s.dir+" has not" {
		t.Error(exists(made), got)
	}
	other := sinktest.Issue(t, "other", []string{"example.com"}, 1)[0]
	must(t, s.Push(t.Context(), targetOf(s, "other"), other.Entry, other.Bundle))
	if got := deviations(t, s, "example") + deviations(t, s, "other"); !exists(made) || got != "" {
		t.Error(exists(made), got)
	}
}

// What somebody else put there stays, whatever it is.
func TestTemplateOverAStrangersFile(t *testing.T) {
	s, _ := templated(t, stunnel, Config{})
	pair := sinktest.Issue(t, "example", []string{"example.com"}, 1)[0]
	made := filepath.Join(s.dir, "stunnel.conf")
	must(t, os.MkdirAll(s.dir, 0o755))
	must(t, os.WriteFile(made, []byte("mine"), 0o600))
	err := s.Push(t.Context(), targetOf(s, "example"), pair.Entry, pair.Bundle)
	if !errors.Is(err, anycert.ErrRefused) || read(t, made) != "mine" {
		t.Error(err, read(t, made))
	}
	if got := deviations(t, s, "example"); !strings.Contains(got, "was not made by anycert for this sink") {
		t.Error(got)
	}
}

func TestTemplatesCheck(t *testing.T) {
	c := Config{Dir: "/x", Templates: []Template{{}, {File: "/a/nginx.conf"}, {File: "a/nginx.conf.tmpl"}, {File: "/a/stunnel.tmpl"},
		{File: "/a/.env.tmpl"}, {File: "/a/x.conf.tmpl"}, {File: "/b/x.conf.tmpl", Secrets: map[string]anycert.Reference{"psk": {}}}}}
	var got []string
	for _, p := range c.Check() {
		got = append(got, p.Field+": "+p.Text)
	}
	want := []string{
		"templates[0].file: the template is missing", "templates[1].file: a template's name ends in .tmpl", `templates[2].file: "a/nginx.conf.tmpl" depends on`,
		`templates[3].file: it makes "stunnel", which could be the name of a certificate`, `templates[4].file: it makes ".env": names that begin with a dot`,
		`templates[6].file: it makes "x.conf", and so does templates[5]`, "templates[6].secrets.psk: it is missing",
	}
	if len(got) != len(want) {
		t.Fatalf("%q", got)
	}
	for i, text := range want {
		if !strings.HasPrefix(got[i], text) {
			t.Errorf("%q, want %q", got[i], text)
		}
	}
}

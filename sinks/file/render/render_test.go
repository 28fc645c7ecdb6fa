package render_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/sinks/file/render"
)

const canary = "cAnArY-7d1f0c"

func certificates() map[string]render.Paths {
	return map[string]render.Paths{"example": {"dir": "/c/example", "fullchain": "/c/example/fullchain.pem", "privkey": "/c/example/privkey.pem"}}
}

func secrets() map[string]anycert.Secret {
	return map[string]anycert.Secret{"secret/db#password": anycert.NewSecret(canary + "&")}
}

func TestExecute(t *testing.T) {
	tests := map[string]string{
		`plain`: "plain",
		`cert {{ (certificate "example").fullchain }};`:                                           "cert /c/example/fullchain.pem;",
		`{{ certificate "example" }}`:                                                             "/c/example",
		`{{ $c := certificate "example" }}{{ $c.privkey }}`:                                       "/c/example/privkey.pem",
		`{{ with certificate "example" }}{{ .fullchain }}{{ end }}`:                               "/c/example/fullchain.pem",
		`P={{ secret "secret/db#password" }}`:                                                     "P=" + canary + "&",
		`{{ secret "secret/db#password" | urlquery }}`:                                            canary + "%26",
		`//{{ urlquery "a b+c" }}@db`:                                                             "//a%20b%2Bc@db", // a + is a space after the ? alone
		`{{ if eq (secret "secret/db#password") "x" }}a{{ else if not false }}b{{ end }}{{/**/}}`: "b",
	}
	for text, want := range tests {
		parsed, err := render.Parse("x.tmpl", []byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := parsed.Execute(certificates(), secrets()); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v, want %q", text, got, err, want)
		}
	}
}

// What could loop, grow or name things at run time does not get as far as being executed.
func TestRefused(t *testing.T) {
	tests := map[string]string{
		`{{ range 1000000000000 }}{{ end }}`:                "range",
		`{{ printf "%1000000000d" 1 }}`:                     "printf",
		`{{ print 1 }}`:                                     "print",
		`{{ define "a" }}{{ template "a" }}{{ end }}`:       "define",
		`{{ template "x.tmpl" }}`:                           "template",
		`{{ block "a" . }}{{ end }}`:                        "define and block",
		`{{ certificate (secret "a#b") }}`:                  "name in quotes",
		`{{ secret (secret "a#b") }}`:                       "name in quotes",
		`{{ secret "a#b" | secret }}`:                       "one name in quotes",
		`{{ "a" | certificate }}`:                           "one name in quotes",
		`{{ eq secret "a" }}`:                               "parentheses",
		`{{ certificate "../etc" }}`:                        "certificate \"../etc\"",
		`{{ index (certificate "example") "fullchain" }}`:   "index",
		`{{ call "a" }}`:                                    "call",
		`{{ . }}`:                                           "dot is nothing",
		`{{ $ }}`:                                           "$ is nothing",
		`{{ .x }}`:                                          "dot is nothing",
		`{{ html "a" }}`:                                    "html",
		`{{ env "HOME" }}`:                                  `function "env" not defined`,
		`{{ with secret "a#b" }}{{ else }}{{ . }}{{ end }}`: "dot is nothing",
		`{{ break }}`:                                       "break",
		strings.Repeat("x", render.MaxTemplate+1):           "more than 65536 bytes",
		"\n{{ urlquery":                                     "x.tmpl:2",
		"a\n\n {{ slice (secret \"a#b\") 1 }}":              "x.tmpl:3:",
	}
	for text, want := range tests {
		_, err := render.Parse("x.tmpl", []byte(text))
		if !errors.Is(err, anycert.ErrMalformed) || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%.60s: %v, want %q", text, err, want)
		}
	}
}

// A mistake that shows only when it is executed is told without the secret.
func TestErrorsShowNoSecret(t *testing.T) {
	tests := map[string]string{
		`{{ (certificate "example").fulchain }}`:                       "a certificate has cert, chain",
		`{{ (secret "secret/db#password").field }}`:                    "can't evaluate field field",
		`{{ eq (secret "secret/db#password") 1 }}`:                     "incompatible types",
		`{{ urlquery (certificate "example") }}`:                       "wrong type",
		`{{ secret "secret/db#password" | urlquery "a" }}`:             "wrong number of args",
		`{{ with secret "secret/db#password" }}{{ .x.y }}{{ end }}`:    "can't evaluate field x",
		`{{ (certificate "other").fullchain }}`:                        "certificate other",
		`{{ secret "secret/db#nothing" }}`:                             "secret secret/db#nothing",
		`{{ if false }}{{ (certificate "other").fullchain }}{{ end }}`: "certificate other",
		`{{ $x := secret "secret/db#password" }}{{ $x.y }}`:            "can't evaluate field y",
	}
	for text, want := range tests {
		parsed, err := render.Parse("x.tmpl", []byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		out, err := parsed.Execute(certificates(), secrets())
		if err == nil || out != nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %q, %v, want %q", text, out, err, want)
		}
	}
}

func TestOutputIsBounded(t *testing.T) {
	big := map[string]anycert.Secret{"a": anycert.NewSecret(strings.Repeat("%", 60<<10))}
	for _, text := range []string{
		strings.Repeat(`{{secret "a"}}`, 100),
		`{{` + strings.Repeat(`urlquery (`, 30) + `secret "a"` + strings.Repeat(`)`, 30) + `}}`,
		`{{ $a := "` + strings.Repeat("%", 150) + `" }}` + strings.Repeat(`{{$a:=urlquery $a}}`, 3000), // each is kept: half a gigabyte
	} {
		parsed, err := render.Parse("x", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parsed.Execute(nil, big); err == nil || !strings.Contains(err.Error(), "more than 1048576 bytes") {
			t.Errorf("%.40s: %v", text, err)
		}
	}
}

func TestNeeds(t *testing.T) {
	parsed, err := render.Parse("x", []byte(`{{ if false }}{{ certificate "b" }}{{ end }}{{ (certificate "a").cert }}{{ secret "y" }}{{ secret "x" }}{{ secret "x" }}`))
	if err != nil || !slices.Equal(parsed.Certificates(), []string{"a", "b"}) || !slices.Equal(parsed.Secrets(), []string{"x", "y"}) {
		t.Error(parsed.Certificates(), parsed.Secrets(), err)
	}
}

func TestOutput(t *testing.T) {
	for name, want := range map[string]string{"nginx.conf.tmpl": "nginx.conf", ".env.tmpl": ".env", "x": "", ".tmpl": "", "...tmpl": "", "a/b.tmpl": ""} {
		if got, err := render.Output(name); got != want || (want == "") != (err != nil) {
			t.Errorf("%s: %q, %v, want %q", name, got, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{`{{ (certificate "example").fullchain }}`, `{{ with secret "a" }}{{ . | urlquery }}{{ end }}`, `{{ if eq 1 2 }}{{ else }}{{ end }}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		parsed, err := render.Parse("x", text)
		if err != nil {
			return
		}
		paths, hidden := map[string]render.Paths{}, map[string]anycert.Secret{}
		for _, name := range parsed.Certificates() {
			paths[name] = maps.Clone(certificates()["example"])
		}
		for _, name := range parsed.Secrets() {
			hidden[name] = anycert.NewSecret(canary)
		}
		if _, err := parsed.Execute(paths, hidden); err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("an error shows a secret: %v", err)
		}
	})
}

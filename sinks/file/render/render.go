// Package render makes files like nginx.conf or .env of templates, from the paths of
// certificates and from secrets. It asks nobody and writes nothing: what a template
// needs is known before it is executed, and the caller brings it.
//
// A template is one of Go's (https://pkg.go.dev/text/template), of which a small part
// is allowed: text, variables, if, with, and these functions.
//
//	(certificate "example").fullchain   a path: see Names
//	secret "NAME"                       a secret; what a NAME is, is up to the caller
//	urlquery VALUE                      one text, escaped for any part of a URL
//	eq ne and or not                    as Go has them
//
// There are no loops, no templates within templates and no functions that make a text
// longer at will, and the names of certificates and secrets stand in the template
// itself. So executing takes time and memory in proportion to the text, whoever wrote
// it, and what it asks for can be listed and allowed beforehand.
package render

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/anycert/anycert"
)

// Bounds, in bytes.
const (
	MaxTemplate = 64 << 10
	MaxOutput   = 1 << 20
)

// Suffix ends the name of every template; the file that is made has the name without it.
const Suffix = ".tmpl"

// Paths are those of one certificate, by name: fullchain, privkey, and so on.
type Paths map[string]string

// String is the directory: {{ certificate "example" }} alone stands for that.
func (p Paths) String() string { return p["dir"] }

// Template is a template that was found to be harmless. It is immutable.
type Template struct {
	parsed       *template.Template
	certificates []string
	secrets      []string
}

// Parse reads a template; name is for errors. What is not allowed is ErrMalformed, with
// the line on which it stands.
func Parse(name string, text []byte) (*Template, error) {
	if len(text) > MaxTemplate {
		return nil, fmt.Errorf("template %s: %w: it has more than %d bytes", name, anycert.ErrMalformed, MaxTemplate)
	}
	parsed, err := template.New(name).Option("missingkey=error").Funcs(functions(nil, nil)).Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", anycert.ErrMalformed, err)
	}
	check := inspection{template: parsed, certificates: map[string]bool{}, secrets: map[string]bool{}}
	if err := check.whole(); err != nil {
		return nil, fmt.Errorf("%w: %w", anycert.ErrMalformed, err)
	}
	return &Template{parsed, slices.Sorted(maps.Keys(check.certificates)), slices.Sorted(maps.Keys(check.secrets))}, nil
}

// Certificates are the names of all that the template can ask for.
func (t *Template) Certificates() []string { return t.certificates }

// Secrets are the names of all that the template can ask for.
func (t *Template) Secrets() []string { return t.secrets }

// Execute makes the text. Everything that Certificates and Secrets name must be there,
// whether the template comes by it or not. No error shows a secret.
func (t *Template) Execute(certificates map[string]Paths, secrets map[string]anycert.Secret) ([]byte, error) {
	for _, name := range t.certificates {
		if certificates[name] == nil {
			return nil, fmt.Errorf("template %s: %w: certificate %s", t.parsed.Name(), anycert.ErrNotFound, name)
		}
	}
	for _, name := range t.secrets {
		if secrets[name].IsZero() {
			return nil, fmt.Errorf("template %s: %w: secret %s", t.parsed.Name(), anycert.ErrNotFound, name)
		}
	}
	ready, err := t.parsed.Clone()
	if err != nil {
		return nil, err
	}
	var out bounded
	if err := ready.Funcs(functions(certificates, secrets)).Execute(&out, nil); err != nil {
		return nil, explain(err, t, secrets)
	}
	return out.text, nil
}

// missingPath is how text/template says that Paths has no such name.
var missingPath = regexp.MustCompile(`map has no entry for key "([^"]*)"`)

// explain adds what there is where a path was misspelled. text/template quotes the
// template and no values; should that ever change, the whole sentence goes.
func explain(err error, t *Template, secrets map[string]anycert.Secret) error {
	for _, secret := range secrets {
		if strings.Contains(err.Error(), secret.Reveal()) {
			return fmt.Errorf("template %s: %w: it cannot be executed; why is left out, for it holds a secret", t.parsed.Name(), anycert.ErrMalformed)
		}
	}
	if missingPath.MatchString(err.Error()) {
		return fmt.Errorf("%w: %w: a certificate has %s", anycert.ErrMalformed, err, strings.Join(Names(), ", "))
	}
	return fmt.Errorf("%w: %w", anycert.ErrMalformed, err)
}

// Names are those of the paths of a certificate.
func Names() []string {
	return []string{"cert", "chain", "combined", "dir", "fullchain", "privkey"}
}

// functions are all that a template may call. Those of Go that are not in allowed are
// refused by the inspection.
func functions(certificates map[string]Paths, secrets map[string]anycert.Secret) template.FuncMap {
	taken := 0 // by urlquery: variables keep each text that it makes
	return template.FuncMap{
		"certificate": func(name string) Paths { return certificates[name] },
		"secret":      func(name string) string { return secrets[name].Reveal() },
		"urlquery": func(text string) (string, error) {
			if taken += len(text); taken > MaxOutput {
				return "", errTooLong
			}
			return strings.ReplaceAll(url.QueryEscape(text), "+", "%20"), nil // a + is a space after the ? alone
		},
	}
}

var errTooLong = fmt.Errorf("it makes more than %d bytes", MaxOutput)

// bounded ends a template that makes too much.
type bounded struct{ text []byte }

func (b *bounded) Write(p []byte) (int, error) {
	if len(b.text)+len(p) > MaxOutput {
		return 0, errTooLong
	}
	b.text = append(b.text, p...)
	return len(p), nil
}

// Output is the name of the file that a template makes: its own without Suffix.
func Output(name string) (string, error) {
	made, ok := strings.CutSuffix(name, Suffix)
	if !ok || made == "" || made == "." || made == ".." || strings.ContainsAny(made, "/\x00") {
		return "", errors.New("a template's name ends in " + Suffix + ", and what stands before that is the name of the file that is made, as in nginx.conf" + Suffix)
	}
	return made, nil
}

// PathsIn are those of a certificate that lies in a directory, in the layout of the
// file sink.
func PathsIn(dir string) Paths {
	paths := Paths{"dir": dir}
	for _, name := range Names() {
		if name != "dir" {
			paths[name] = dir + "/" + name + ".pem"
		}
	}
	return paths
}

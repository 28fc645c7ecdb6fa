package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/anycert/anycert/internal/config"
)

// Whatever is read: it ends, nothing panics, and each mistake stands in the file.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.yaml", "testdata/bad/*.yaml"} {
		for _, path := range files(f, pattern) {
			text, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		loaded, err := config.Read("config.yaml", bytes.NewReader(text))
		var problems config.Problems
		switch {
		case err == nil && loaded == nil:
			t.Error("neither a configuration nor an error")
		case err == nil:
		case !errors.As(err, &problems) || len(problems) == 0:
			t.Errorf("%T: %v, want Problems", err, err)
		default:
			checkPositions(t, text, problems)
		}
	})
}

// However a secret is written where a reference belongs, no message shows it.
func FuzzSecretInTheFile(f *testing.F) {
	for _, secret := range []string{"hunter2", "hunter2!", "ghp_0123456789", "a b", "{x}", "secret/a#b", "/etc/passwd", "p: q", "*x", "-----BEGIN", "ключ"} {
		f.Add(secret)
	}
	f.Fuzz(func(t *testing.T, secret string) {
		if !utf8.ValidString(secret) || len(secret) < 4 {
			return
		}
		for _, form := range forms {
			if said, harmless := told(t, form, secret), told(t, form, "hunter2"); strings.Contains(said, secret) && !strings.Contains(harmless, secret) {
				t.Errorf("%s: %q is shown: %s", form, secret, said)
			}
		}
	})
}

// forms are the ways in which people write a secret where a reference belongs; %
// stands for it.
var forms = []string{
	"token: %", "token: {%}", "token: {%: x}", "token: [%]", "token: {x: %}", "token: |\n        %",
	"token: {env: %}", "token: {file: %}", "token: {vault: %}", "token: {env: A, file: %}", "token: {vault: {x: %}}",
	"labels: {%}", "labels: {A=%}", "labels: {A: [%]}", "labels: [A=%]", "labels: A=%",
}

// told is what is said of a file with a secret in it.
func told(t *testing.T, form, secret string) string {
	t.Helper()
	quoted, err := json.Marshal(secret) // YAML takes JSON's strings
	if err != nil {
		t.Fatal(err)
	}
	written := string(quoted)
	if strings.HasPrefix(form, "token: |") {
		written = strings.Join(strings.FieldsFunc(secret, func(r rune) bool { return r < ' ' }), " ")
	}
	text := strings.Replace(`version: 1
owner: example
store: {local: {path: anycert.db}}
sinks:
  - name: app
    type: kubernetes
    certificates: ["*"]
    config:
      server: https://k8s.example.com
      namespaces: [web]
      `+form+"\n", "%", written, 1)
	if _, err := config.Read("config.yaml", strings.NewReader(text)); err != nil {
		return err.Error()
	}
	return ""
}

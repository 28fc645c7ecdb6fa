package fastly

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// "What is the simplest way of checking that a private key exists?" was left open by
// changelog.com's script. It is the certificate: its public key is what Fastly names
// the private key by. The recorded exchanges of go-fastly have both.
func TestChangelogDoesTheKeyExist(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/fastly/go-fastly/v9").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ key, certificate string }{
		{"custom_tls/create-key", "custom_tls/create"},
		{"custom_tls/create-key", "custom_tls/update"},
		{"mutual_authentication/create-key", "mutual_authentication/create-cert"},
	} {
		fixtures := filepath.Join(strings.TrimSpace(string(dir)), "fastly", "fixtures")
		_, answer := exchange(t, filepath.Join(fixtures, test.key+".yaml"))
		request, _ := exchange(t, filepath.Join(fixtures, test.certificate+".yaml"))
		block, _ := pem.Decode([]byte(request["cert_blob"].(string)))
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := keyIDOf(leaf), answer["public_key_sha1"]; string(got) != want {
			t.Errorf("%s: the key is %s, recorded is %s", test.certificate, got, want)
		}
	}
}

// exchange reads the attributes of a recorded request and of its answer.
func exchange(t *testing.T, path string) (request, answer map[string]any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Interactions []struct{ Request, Response struct{ Body string } }
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	attributes := func(body string) map[string]any {
		var document struct {
			Data struct{ Attributes map[string]any }
		}
		if err := json.Unmarshal([]byte(body), &document); err != nil {
			t.Fatal(err)
		}
		return document.Data.Attributes
	}
	return attributes(file.Interactions[0].Request.Body), attributes(file.Interactions[0].Response.Body)
}

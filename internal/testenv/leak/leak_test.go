package leak_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"html/template"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/leak"
)

// disguises are ways in which a key gets out.
func disguises(t *testing.T, pair certs.Pair) map[string]string {
	t.Helper()
	block, _ := pem.Decode(pair.KeyPEM)
	texts := map[string]string{
		"PEM":             string(pair.KeyPEM),
		"CRLF":            strings.ReplaceAll(string(pair.KeyPEM), "\n", "\r\n"),
		"one line":        strings.ReplaceAll(string(pair.KeyPEM), "\n", ""),
		"a log's lines":   strings.ReplaceAll(string(pair.KeyPEM), "\n", "\nlevel=DEBUG body: "),
		"%q":              fmt.Sprintf("%q", pair.KeyPEM),
		"%q twice":        fmt.Sprintf("%q", fmt.Sprintf("%q", pair.KeyPEM)),
		"JSON":            jsonOf(t, map[string]string{"tls.key": string(pair.KeyPEM)}),
		"JSON twice":      jsonOf(t, jsonOf(t, string(pair.KeyPEM))),
		"JSON of bytes":   jsonOf(t, map[string][]byte{"tls.key": pair.KeyPEM}),
		"a URL":           url.QueryEscape(string(pair.KeyPEM)),
		"HTML":            html(string(pair.KeyPEM)),
		"HTML of bytes":   html(fmt.Sprintf("%q", base64.StdEncoding.EncodeToString(block.Bytes))),
		"%v of bytes":     fmt.Sprintf("%v", pair.KeyPEM),
		"%#v of bytes":    fmt.Sprintf("%#v", pair.KeyPEM),
		"%x of PEM":       fmt.Sprintf("%x", pair.KeyPEM),
		"% X of DER":      fmt.Sprintf("% X", block.Bytes),
		"%v of DER":       fmt.Sprintf("%v", block.Bytes),
		"DER":             string(block.Bytes),
		"hex of DER":      hex.EncodeToString(block.Bytes),
		"%+v of the key":  fmt.Sprintf("%+v", pair.Key),
		"the first half":  string(pair.KeyPEM[:len(pair.KeyPEM)*2/3]),
		"the second half": string(pair.KeyPEM[len(pair.KeyPEM)/4:]),
	}
	for name, number := range secretNumbers(t, pair) {
		texts[name] = string(number)
		texts[name+" in hex"] = hex.EncodeToString(number)
		texts[name+" in HEX"] = strings.ToUpper(hex.EncodeToString(number))
		texts[name+" as openssl prints it"] = colons(number)
	}
	for shift := range 3 {
		before := []byte("xyz")[:shift]
		for name, b := range map[string][]byte{"PEM": pair.KeyPEM, "DER": block.Bytes} {
			b = append(bytes.Clone(before), b...)
			texts[fmt.Sprintf("base64 of %s after %d bytes", name, shift)] = base64.StdEncoding.EncodeToString(b)
			texts[fmt.Sprintf("base64url of %s after %d bytes", name, shift)] = base64.RawURLEncoding.EncodeToString(b)
		}
		for name, number := range secretNumbers(t, pair) {
			b := append(bytes.Clone(before), number...)
			texts[fmt.Sprintf("base64 of %s after %d bytes", name, shift)] = base64.StdEncoding.EncodeToString(b)
			texts[fmt.Sprintf("base64url of %s after %d bytes", name, shift)] = base64.RawURLEncoding.EncodeToString(b)
		}
	}
	return texts
}

// html is a text on a page, which is escaped: "+" is "&#43;" there.
func html(text string) string {
	var page strings.Builder
	_ = template.Must(template.New("").Parse("<p title=\"{{.}}\">{{.}}</p>")).Execute(&page, text)
	return page.String()
}

func secretNumbers(t *testing.T, pair certs.Pair) map[string][]byte {
	t.Helper()
	switch key := pair.Key.(type) {
	case *ecdsa.PrivateKey:
		scalar, err := key.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return map[string][]byte{"the scalar": scalar}
	case *rsa.PrivateKey:
		return map[string][]byte{"D": key.D.Bytes(), "P": key.Primes[0].Bytes(), "Q": key.Primes[1].Bytes()}
	}
	t.Fatalf("a %T", pair.Key)
	return nil
}

func TestFindsEveryDisguiseOfItsKeyAlone(t *testing.T) {
	for _, options := range []certs.Options{
		{KeyType: certs.EC256},
		{KeyType: certs.EC256, KeyFormat: certs.SEC1},
		{KeyType: certs.EC384},
		{KeyType: certs.RSA2048},
		{KeyType: certs.RSA2048, KeyFormat: certs.PKCS1},
	} {
		t.Run(fmt.Sprintf("%s-%d", options.KeyType, options.KeyFormat), func(t *testing.T) {
			planted, other := testenv.Issue(t, options), testenv.Issue(t, options)
			search := prepare(t, leak.Secret{Name: "example", PEM: planted.KeyPEM})
			for name, text := range disguises(t, planted) {
				around := "2026-11-22T01:02:03Z level=DEBUG msg=\"sent\" body=" + text + " status=200\n"
				if found := search.Bytes("log", []byte(around)); len(found) == 0 {
					t.Errorf("not found as %s", name)
				}
			}
			clean := disguises(t, other)
			clean["its certificate"] = string(planted.ChainPEM)
			clean["its certificate in JSON"] = jsonOf(t, planted.ChainPEM)
			clean["its public key"] = fmt.Sprintf("%x %v %+v", planted.Leaf().RawSubjectPublicKeyInfo,
				planted.Leaf().RawSubjectPublicKeyInfo, planted.Key.Public())
			for name, text := range clean {
				if found := search.Bytes(name, []byte(text)); len(found) != 0 {
					t.Errorf("found where it is not: %v", found)
				}
			}
		})
	}
}

func TestFindsTheKeyInWhateverFormatItIsWritten(t *testing.T) {
	pair := testenv.Issue(t, certs.Options{KeyFormat: certs.SEC1})
	search := prepare(t, leak.Secret{Name: "example", PEM: append(pair.ChainPEM, pair.KeyPEM...)})
	pkcs8, err := certs.MarshalKey(pair.Key, certs.PKCS8)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"PKCS#8": pkcs8, "a Secret's data": []byte(jsonOf(t, pkcs8))} {
		if len(search.Bytes(name, text)) == 0 {
			t.Errorf("not found as %s", name)
		}
	}
}

func TestTokens(t *testing.T) {
	const token = "hvs.CAESIJQx2f0Vn3yPb7Qm"
	search := prepare(t, leak.Secret{Name: "the token", Token: token}, leak.Secret{Name: "short", Token: "12345678"})
	for name, text := range map[string]string{
		"a header": "X-Vault-Token: " + token,
		"basic":    base64.StdEncoding.EncodeToString([]byte("user:" + token)),
		"%x":       fmt.Sprintf("%x", token),
		"%v":       fmt.Sprintf("%v", []byte("Bearer "+token)),
		"JSON":     jsonOf(t, token),
	} {
		found := search.Bytes(name, []byte(text))
		if len(found) != 1 || found[0].Secret != "the token" {
			t.Errorf("%s: %v", name, found)
		}
	}
	if found := search.Bytes("another", []byte("X-Vault-Token: hvs.CAESIJQx2f0Vn3yPb7Qn")); len(found) != 0 {
		t.Errorf("found where it is not: %v", found)
	}
}

func TestRefusesWhatIsNoSecret(t *testing.T) {
	certificate := testenv.Issue(t, certs.Options{}).ChainPEM
	for name, secret := range map[string]leak.Secret{
		"nothing": {}, "a short token": {Token: "1234567"}, "no PEM": {PEM: []byte("key")}, "a certificate": {PEM: certificate},
	} {
		if _, err := leak.New(secret); err == nil {
			t.Errorf("%s was taken for a secret", name)
		}
	}
}

func TestFilesAndProcesses(t *testing.T) {
	token := "token-" + rand.Text()
	search := prepare(t, leak.Secret{Name: "the token", Token: token})
	dir := t.TempDir()
	for name, text := range map[string]string{"clean": "nothing", "deep/er": token, "name-" + token: ""} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if found, err := search.Dir(dir); err != nil || len(found) != 2 {
		t.Errorf("in the folder: %v, %v, want two", found, err)
	}
	arguments := exec.CommandContext(t.Context(), "sleep", "60")
	arguments.Args = []string{"sleep --token=" + token, "60"}
	environment := exec.CommandContext(t.Context(), "sleep", "60")
	environment.Env = []string{"TOKEN=" + token}
	for _, cmd := range []*exec.Cmd{arguments, environment} {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		// Linux shows neither for a moment after the program has begun.
		found, err := search.Process(cmd.Process.Pid)
		for end := time.Now().Add(5 * time.Second); err == nil && len(found) == 0 && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
			found, err = search.Process(cmd.Process.Pid)
		}
		if err != nil || len(found) != 1 {
			t.Errorf("in the process: %v, %v, want one", found, err)
		}
	}
	if found, err := search.Processes(); err != nil || len(found) != 2 {
		t.Errorf("in all processes: %v, %v, want two", found, err)
	}
}

func prepare(t *testing.T, secrets ...leak.Secret) *leak.Search {
	t.Helper()
	search, err := leak.New(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return search
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// colons prints bytes as openssl does: 15 a line, with colons.
func colons(b []byte) string {
	var text strings.Builder
	for i, c := range b {
		if i%15 == 0 {
			text.WriteString("\n    ")
		}
		fmt.Fprintf(&text, "%02x:", c)
	}
	return text.String()
}

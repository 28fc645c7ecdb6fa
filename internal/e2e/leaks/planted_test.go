//go:build linux

package leaks

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/leak"
)

// What is found of anycert is first shown to be found of a program that leaks.
const (
	leakyEnv  = "LEAKS_TEST_LEAK_BY"
	leakyFile = "LEAKS_TEST_KEY_FILE"
	leakyURL  = "LEAKS_TEST_URL"
)

// glimpse is how long something is shown, in seconds: enough for who looks on a busy machine.
const glimpse = "2"

// ways are those in which the leaky program leaks, and where that is to be found.
var ways = map[string]string{
	"stdout":                  "stdout of ",
	"stderr":                  "stderr of ",
	"raw scalar":              "stdout of ",
	"hex":                     "stdout of ",
	"base64 after 0 bytes":    "stdout of ",
	"base64 after 1 bytes":    "stdout of ",
	"base64 after 2 bytes":    "stdout of ",
	"JSON":                    "stderr of ",
	"%q":                      "stderr of ",
	"a page":                  "stdout of ",
	"a temporary file":        "the file ",
	"the working directory":   "the file ",
	"a child's arguments":     "cmdline of a child of ",
	"a child's environment":   "environ of a child of ",
	"its own arguments":       "cmdline of ",
	"net/http's debug switch": "stderr of ",
}

func TestTheSearchFindsWhatIsPlanted(t *testing.T) {
	ca := testenv.CA(t)
	far := newFront(t, ca, http.NotFoundHandler())
	for how, where := range ways {
		t.Run(how, func(t *testing.T) {
			w := newWitness(t)
			findings := w.search(leak.Secret{Name: "the key", PEM: runLeaky(w, how, ca, far.URL)})
			found := func(f leak.Finding) bool { return strings.HasPrefix(f.Where, where) }
			if !slices.ContainsFunc(findings, found) {
				t.Errorf("not found in %q: %v", where, findings)
			}
		})
	}
}

// A file that is gone before anybody could read it is known to have been there.
func TestAFileOfAMomentIsSeen(t *testing.T) {
	w := newWitness(t)
	runLeaky(w, "a file of a moment", testenv.CA(t), "")
	deadline := time.Now().Add(10 * time.Second)
	for len(w.made()) == 0 {
		if time.Now().After(deadline) {
			t.Fatal("it was not seen")
		}
		time.Sleep(time.Millisecond)
	}
}

// What a daemon answers is searched, headers as well.
func TestAnAnswerIsSearched(t *testing.T) {
	key := testenv.Issue(t, certs.Options{}).KeyPEM
	for _, leaks := range []func(http.ResponseWriter){
		func(rw http.ResponseWriter) { fmt.Fprint(rw, jsonOf(map[string]string{"reason": string(key)})) },
		func(rw http.ResponseWriter) { rw.Header().Set("X-Reason", url.QueryEscape(string(key))) },
	} {
		w := newWitness(t)
		server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { leaks(rw) }))
		w.ask(server.URL+"/api/v1/status", "")
		server.Close()
		if findings := w.search(leak.Secret{Name: "the key", PEM: key}); len(findings) == 0 {
			t.Error("a key in an answer is not found")
		}
	}
}

// runLeaky runs the leaky program with a new key, which it returns.
func runLeaky(w *witness, how string, ca *certs.CA, url string) (key []byte) {
	w.t.Helper()
	key = testenv.IssueFrom(w.t, ca, certs.Options{}).KeyPEM
	dir := w.t.TempDir()
	keyFile, trust := filepath.Join(dir, "key.pem"), filepath.Join(dir, "ca.pem")
	must(w.t, os.WriteFile(keyFile, key, 0o600))
	must(w.t, os.WriteFile(trust, ca.PEM(), 0o600))
	cmd := exec.CommandContext(w.t.Context(), os.Args[0])
	if how == "its own arguments" {
		cmd.Args = append(cmd.Args, string(key))
	}
	p := w.start("the leaky program", cmd, leakyEnv+"="+how, leakyFile+"="+keyFile, leakyURL+"="+url,
		"SSL_CERT_FILE="+trust, "GODEBUG=http2debug=2")
	if code := w.wait(p); code != 0 {
		w.t.Fatalf("exit code %d: %s", code, p.stderr.String())
	}
	return key
}

// leakBy is the leaky program.
func leakBy(how string) error {
	key, err := os.ReadFile(os.Getenv(leakyFile))
	if err != nil {
		return err
	}
	block, _ := pem.Decode(key)
	scalar := block.Bytes[36:68] // of a P-256 key in PKCS#8 as Go writes it
	switch how {
	case "stdout":
		_, err = os.Stdout.Write(key)
	case "stderr":
		_, err = os.Stderr.Write(key)
	case "raw scalar":
		_, err = os.Stdout.Write(scalar)
	case "hex":
		fmt.Println(hex.EncodeToString(scalar))
	case "base64 after 0 bytes", "base64 after 1 bytes", "base64 after 2 bytes":
		before := strings.Repeat("x", int(how[len("base64 after ")]-'0'))
		fmt.Println(base64.StdEncoding.EncodeToString(append([]byte(before), scalar...)))
	case "JSON":
		fmt.Fprintln(os.Stderr, jsonOf(map[string]string{"tls.key": string(key)}))
	case "%q":
		fmt.Fprintf(os.Stderr, "%q\n", key)
	case "a page":
		err = template.Must(template.New("").Parse("<p>{{.}}</p>")).Execute(os.Stdout, string(key))
	case "a temporary file":
		err = os.WriteFile(filepath.Join(os.TempDir(), rand.Text()), key, 0o600)
	case "the working directory":
		err = os.WriteFile("key.pem", key, 0o600)
	case "a file of a moment":
		path := filepath.Join(os.TempDir(), "moment")
		err = errors.Join(os.WriteFile(path, key, 0o600), os.Remove(path))
	case "a child's arguments":
		cmd := exec.Command("sleep", glimpse)
		cmd.Args[0] = string(key)
		err = cmd.Run()
	case "a child's environment":
		cmd := exec.Command("sleep", glimpse)
		cmd.Env = []string{"KEY=" + string(key)}
		err = cmd.Run()
	case "its own arguments":
		err = exec.Command("sleep", glimpse).Run()
	case "net/http's debug switch":
		_, err = http.Post(os.Getenv(leakyURL), "text/plain", bytes.NewReader(key))
	}
	return err
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

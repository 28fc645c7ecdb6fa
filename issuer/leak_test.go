package issuer_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/leak"
	"github.com/anycert/anycert/issuer"
)

// TestNoKeyIsShown lets the CA fail at each step, repeating what it was sent, with
// lego's switches for debugging on, and looks for the keys of the account, of the
// certificate and of the DNS in all that was said.
func TestNoKeyIsShown(t *testing.T) {
	t.Setenv("LEGO_DEBUG_DNS_API_HTTP_CLIENT", "1")
	w := newWorld(t, acmeserver.Options{})
	printed := redirect(t)
	said := ""
	secrets := []leak.Secret{{Name: "TSIG secret", Token: w.dns.Secret}}
	for _, kind := range []string{acmeserver.KindNewAccount, acmeserver.KindNewOrder, acmeserver.KindAuthz, acmeserver.KindChallenge, acmeserver.KindFinalize, acmeserver.KindCertificate, "nothing"} {
		w.acme.Intercept(repeating(kind))
		config := w.config()
		config.Profile = "default" // lives longer than the pauses between attempts
		i := w.open(issuer.Options{Issuers: []issuer.Config{config}, At: func(point issuer.Point) {
			if point == issuer.IntentWritten || point == issuer.Downloaded {
				secrets = append(secrets, leak.Secret{Name: "certificate's key", PEM: []byte(w.journalKey("site"))})
			}
		}})
		_, err := i.Obtain(limited(t), certificate("site", "example.com", "*.example.com"))
		if (err == nil) != (kind == "nothing") {
			t.Fatalf("failing at %s: %v", kind, err)
		}
		if err != nil {
			said += err.Error() + "\n"
		}
		w.pass(day * 12 / 10)
	}
	secrets = append(secrets, leak.Secret{Name: "account's key", PEM: []byte(w.accountKey())})
	search, err := leak.New(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	if len(search.Bytes("planted", []byte(w.accountKey()))) == 0 {
		t.Fatal("the search does not find what is there")
	}
	for where, text := range map[string]string{"errors": said, "stdout and stderr": printed()} {
		for _, finding := range search.Bytes(where, []byte(text)) {
			t.Error(finding)
		}
	}
	if text := printed(); text != "" {
		t.Errorf("a library prints: %s", text)
	}
}

// repeating fails requests of a kind with their own text.
func repeating(kind string) acmeserver.Interceptor {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if acmeserver.KindOf(r) != kind {
			return false
		}
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"type": "urn:ietf:params:acme:error:malformed", "detail": "what is this? " + string(body)})
		return true
	}
}

func (w *world) accountKey() string {
	w.t.Helper()
	text, _, err := w.store.Load(w.t.Context(), anycert.KindAccount, "pebble")
	if err != nil {
		w.t.Fatal(err)
	}
	var record struct {
		Accounts map[string]struct{ Key string }
	}
	mustJSON(w.t, text.Reveal(), &record)
	return record.Accounts[w.acme.URL].Key
}

// redirect keeps what is written to stdout and stderr until the test ends.
func redirect(t *testing.T) (printed func() string) {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "printed"))
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = file, file
	t.Cleanup(func() {
		os.Stdout, os.Stderr = stdout, stderr
		file.Close()
	})
	return func() string {
		text, err := os.ReadFile(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
}

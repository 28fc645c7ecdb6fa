package store

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/leak"
)

// echo answers with what it was asked, in every place where an answer has room. It
// knows the token, so that other requests come too.
func echo(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, lookupPath) {
			_, _ = io.WriteString(w, `{"data":{"ttl":0}}`)
			return
		}
		request, _ := httputil.DumpRequest(r, true)
		w.Header().Set("X-Echo", strings.ReplaceAll(string(request[:min(len(request), 4096)]), "\r\n", " "))
		w.WriteHeader(status)
		text := fmt.Sprintf(`{"errors":[%q],"data":{"current_version":%q,"data":{"value":%q}},"auth":{"client_token":%q}}`, request, request, request, request)
		if status%2 == 1 { // once as JSON, once as it came
			text = string(request)
		}
		_, _ = io.WriteString(w, text)
	}
}

// TestNothingIsEchoed searches every error for the token and the key when the
// server sends all that it gets back.
func TestNothingIsEchoed(t *testing.T) {
	bundle := bundle(t)
	search, err := leak.New(leak.Secret{Name: "key", PEM: []byte(bundle.KeyPEM().Reveal())}, leak.Secret{Name: "token", Token: planted})
	check(t, err)
	if len(search.Bytes("planted", []byte(planted+bundle.KeyPEM().Reveal()))) == 0 {
		t.Fatal("the search does not find what is there")
	}
	servers := map[string]*httptest.Server{}
	for _, status := range []int{200, 201, 400, 401, 403, 404, 405, 412, 429, 500, 503} {
		servers[fmt.Sprint(status)] = httptest.NewServer(echo(status))
	}
	addresses := map[string]string{
		"first":   echoRaw(t, ""),
		"status":  echoRaw(t, "HTTP/1.1 200 "),
		"header":  echoRaw(t, "HTTP/1.1 200 OK\r\n"),
		"length":  echoRaw(t, "HTTP/1.1 200 OK\r\nContent-Length: "),
		"coding":  echoRaw(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: "),
		"chunk":   echoRaw(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
		"trailer": echoRaw(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"),
	}
	for name, server := range servers {
		defer server.Close()
		addresses[name] = server.URL
	}
	for what, address := range addresses {
		for _, e := range []Auth{{}, {Method: "approle", RoleID: planted, SecretID: anycert.Reference{Env: "VAULT_TOKEN"}}} {
			store := openConfig(t, Config{Address: address, Auth: e}, environment{"VAULT_TOKEN": planted})
			store.vault.pause = func(int) time.Duration { return 0 }
			hours := time.Duration(0)
			store.vault.now = func() time.Time { // so that each call logs in again
				hours += time.Hour
				return time.Now().Add(hours)
			}
			for name, call := range calls(t.Context(), store, bundle) {
				err := call()
				if err == nil {
					continue
				}
				for _, text := range []string{err.Error(), fmt.Sprintf("%+v %#v %q", err, err, err)} {
					for _, finding := range search.Bytes(what+" "+name, []byte(text)) {
						t.Error(finding)
					}
				}
			}
		}
	}
}

// echoRaw sends back the lines of a request, last first and without a word of HTTP
// but what stands before them.
func echoRaw(t testing.TB, before string) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	t.Cleanup(func() { listener.Close() })
	serve := func(connection net.Conn) {
		defer connection.Close()
		buffer := make([]byte, 1<<16)
		n, _ := connection.Read(buffer)
		lines := strings.Split(strings.TrimSpace(string(buffer[:n])), "\r\n")
		slices.SortFunc(lines, func(a, b string) int { // the token's line first
			return strings.Compare(fmt.Sprint(!strings.Contains(a, planted)), fmt.Sprint(!strings.Contains(b, planted)))
		})
		_, _ = io.WriteString(connection, before+strings.TrimPrefix(strings.Join(lines, "\r\n"), "X-Vault-Token: "))
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(connection)
		}
	}()
	return "http://" + listener.Addr().String()
}

func TestQuote(t *testing.T) {
	body := map[string]string{"role": "hub", "jwt": "a.b.c", "secret_id": "short"}
	base64 := "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg"
	tests := map[string]struct {
		messages []string
		want     string
	}{
		"plain":        {[]string{`role "hub" could not be found`}, `role "hub" could not be found`},
		"several":      {[]string{"1 error occurred:\n\t* permission denied", "invalid"}, "1 error occurred: * permission denied; invalid"},
		"base64":       {[]string{"cannot read " + base64}, "cannot read …"},
		"what we sent": {[]string{"the id short is unknown"}, "look at its role and mount"},
		"binary":       {[]string{"got \x00\x01\x02"}, "got …"},
		"nothing":      {nil, "look at its role and mount"},
		"long":         {[]string{strings.Repeat("word ", 100)}, strings.Repeat("word ", 60) + "…"},
	}
	for name, test := range tests {
		if diff := cmp.Diff(test.want, quote(test.messages, body)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

const envDebugAddress = "ANYCERT_TEST_DEBUG_ADDRESS"

func TestMain(m *testing.M) {
	if address := os.Getenv(envDebugAddress); address != "" {
		debug(address)
		return
	}
	os.Exit(m.Run())
}

// debug uses a store as a process would.
func debug(address string) {
	store, err := Config{Address: address, CACert: os.Getenv("VAULT_CACERT")}.Open(Env{Getenv: os.Getenv})
	if err == nil {
		_, _, err = store.Load(context.Background(), anycert.KindOrder, "example")
	}
	if err == nil {
		_, err = store.Save(context.Background(), anycert.KindOrder, "example", 1, anycert.NewSecret(os.Getenv("VALUE")))
	}
	fmt.Println("done:", err)
}

// TestDebugSwitchesShowNothing runs a process with every debug switch that Go, its
// HTTP client and Vault's client know.
func TestDebugSwitchesShowNothing(t *testing.T) {
	t.Parallel()
	ctx, server := t.Context(), testenv.RaftVault(t) // over TLS, where HTTP/2 would be spoken
	key := bundle(t).KeyPEM().Reveal()
	_, err := open(t, server, server.RootToken).Save(ctx, anycert.KindOrder, "example", 0, anycert.NewSecret(key))
	check(t, err)
	self, err := os.Executable()
	check(t, err)
	command := exec.Command(self)
	command.Env = []string{
		envDebugAddress + "=" + server.Addr, "VAULT_TOKEN=" + server.RootToken, "VAULT_CACERT=" + server.CAFile, "VALUE=" + key,
		"GODEBUG=http2debug=2,tlsdebug=1", "VAULT_LOG=trace", "VAULT_LOG_LEVEL=trace", "VAULT_DEBUG=1", "DEBUG=*", "VAULT_WRAP_TTL=60s",
		"VAULT_HTTP_PROXY=http://127.0.0.1:1", "VAULT_MAX_RETRIES=9", "SSLKEYLOGFILE=" + t.TempDir() + "/keys",
	}
	output, err := command.CombinedOutput()
	check(t, err)
	if string(output) != "done: <nil>\n" {
		t.Errorf("the process says more than that it is done: %d bytes, beginning %.60q", len(output), output)
	}
	search, err := leak.New(leak.Secret{Name: "key", PEM: []byte(key)}, leak.Secret{Name: "token", Token: server.RootToken})
	check(t, err)
	for _, finding := range search.Bytes("output", output) {
		t.Error(finding)
	}
}

package fly

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/sinks/fly/flytest"
	"github.com/anycert/anycert/sinks/sinktest"
)

// TestMain lets the test binary be the process whose debug output is searched.
func TestMain(m *testing.M) {
	if os.Getenv(childEnv) == "" {
		os.Exit(m.Run())
	}
	if err := pushAsChild(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const childEnv = "FLY_SINK_TEST_CHILD"

// order is what the child is told on its standard input.
type order struct {
	Endpoint   string
	Chain, Key []byte
	Debuggable bool // leave HTTP/2 on, for the test of the test
}

func pushAsChild() error {
	var o order
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		return err
	}
	bundle, err := anycert.ParseBundle(o.Chain, o.Key)
	if err != nil {
		return err
	}
	base := http.RoundTripper(newTransport())
	if o.Debuggable {
		base = http.DefaultTransport
	}
	sink, err := config(o.Endpoint, "example.com").open(environment("example-prod", &credential{tokens: []string{token}}), base)
	if err != nil {
		return err
	}
	target := anycert.Target{Label: "example.com"}
	if err := sink.Push(context.Background(), target, anycert.Entry{Name: "example"}, bundle); err != nil {
		return err
	}
	_, err = sink.Observe(context.Background(), target)
	return err
}

// With every debug switch on that the libraries below know, neither the key nor the
// token is printed. The second case shows that the search would find them.
func TestDebugSwitchesShowNothing(t *testing.T) {
	endpoint, trust := startTLS(t)
	// A short chain: only the first 256 bytes of a frame are logged.
	ca, err := certs.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(certs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := anycert.ParseBundle(pair.ChainPEM, pair.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	for _, debuggable := range []bool{false, true} {
		printed := runChild(t, trust, order{Endpoint: endpoint, Chain: pair.ChainPEM, Key: pair.KeyPEM, Debuggable: debuggable})
		found := sinktest.Leaks(printed, bundle) != nil || bytes.Contains([]byte(printed), []byte(token))
		if found != debuggable {
			t.Errorf("HTTP/2 left on: %t; key or token found: %t; printed:\n%s", debuggable, found, printed)
		}
	}
}

// startTLS starts a stand-in that speaks HTTP/2 over TLS, and returns its address
// and a file with its certificate.
func startTLS(t *testing.T) (endpoint, trust string) {
	t.Helper()
	standIn := flytest.New(flytest.Options{Apps: map[string]string{appName: token}})
	server := httptest.NewUnstartedServer(standIn.Handler())
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	trust = filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(trust, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return server.URL, trust
}

func runChild(t *testing.T, trust string, o order) string {
	t.Helper()
	input, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Stdin = bytes.NewReader(input)
	child.Env = append(os.Environ(),
		childEnv+"=1", "SSL_CERT_FILE="+trust, "GODEBUG=http2debug=2,netdns=2", "DEBUG=1", "LOG_LEVEL=debug", "FLY_LOG_LEVEL=debug",
		"FLY_FORCE_TRACE=1", "OTEL_LOG_LEVEL=debug", "OTEL_TRACES_EXPORTER=console", "SSLKEYLOGFILE="+filepath.Join(t.TempDir(), "keys"))
	printed, err := child.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, printed)
	}
	return string(printed)
}

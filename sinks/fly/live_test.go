//go:build live

package fly

import (
	"crypto/tls"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/sinks/sinktest"
)

// TestLive does to a real app what the suite does to the stand-in, as far as a real
// app can be asked for it. It imports self-signed certificates: use an app and
// hostnames that nobody visits.
//
//	ANYCERT_LIVE_FLY_APP        the app
//	ANYCERT_LIVE_FLY_TOKEN      a deploy token of it
//	ANYCERT_LIVE_FLY_HOSTNAMES  hostnames of it, comma-separated; without proof of
//	                            ownership they are seen waiting
//
// Run it with: make live
func TestLive(t *testing.T) {
	app, token := os.Getenv("ANYCERT_LIVE_FLY_APP"), os.Getenv("ANYCERT_LIVE_FLY_TOKEN")
	hostnames := strings.Split(os.Getenv("ANYCERT_LIVE_FLY_HOSTNAMES"), ",")
	if app == "" || token == "" || hostnames[0] == "" {
		t.Fatal("set ANYCERT_LIVE_FLY_APP, ANYCERT_LIVE_FLY_TOKEN and ANYCERT_LIVE_FLY_HOSTNAMES")
	}
	c := &Config{App: app, Token: anycert.Reference{Env: "ANYCERT_LIVE_FLY_TOKEN"}, Hostnames: hostnames}
	sink := open(t, c, &credential{tokens: []string{token}})
	if err := sink.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	targets, err := sink.Targets("example", hostnames)
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range sinktest.Issue(t, "example", hostnames, 1, 2, 1) { // renewed, and back
		for _, target := range targets {
			push(t, sink, target, pair)
			observed := observe(t, sink, target)
			t.Logf("%s: %+v", target.Label, observed)
			if !observed.Found || !observed.NotAfter.Equal(pair.Entry.Leaf.NotAfter) {
				t.Errorf("%s: read back %+v, want NotAfter %s", target.Label, observed, pair.Entry.Leaf.NotAfter)
			}
			if observed.Waiting == "" {
				served(t, target.Label, pair)
			}
		}
	}
	liveRefusals(t, sink, targets[0])
}

// served waits until the edge hands out what was imported.
func served(t *testing.T, hostname string, pair sinktest.Pair) {
	t.Helper()
	name := strings.Replace(hostname, "*.", "anycert-live.", 1)
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(2 * time.Second) {
		connection, err := tls.Dial("tcp", name+":443", &tls.Config{ServerName: name, InsecureSkipVerify: true}) // compared below
		if err == nil {
			leaf := connection.ConnectionState().PeerCertificates[0]
			connection.Close()
			if leaf.Equal(pair.Entry.Leaf) {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Errorf("%s does not serve what was imported within two minutes (%v)", name, err)
			return
		}
	}
}

// liveRefusals asks for what the stand-in refuses with 422, so that the two can be
// compared.
func liveRefusals(t *testing.T, sink *Sink, target anycert.Target) {
	for name, options := range map[string]certs.Options{
		"expired":     {Names: []string{target.Label}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-time.Hour)},
		"not covered": {Names: []string{"anycert-live.invalid"}},
	} {
		ca, err := certs.NewCA()
		if err != nil {
			t.Fatal(err)
		}
		pair, err := ca.Issue(options)
		if err != nil {
			t.Fatal(err)
		}
		bundle, err := anycert.ParseBundle(pair.ChainPEM, pair.KeyPEM)
		if err != nil {
			t.Fatal(err)
		}
		if err := sink.Push(t.Context(), target, anycert.Entry{Name: "example"}, bundle); err == nil || !strings.Contains(err.Error(), "(422)") {
			t.Errorf("%s: got %v, want a refusal with 422", name, err)
		}
	}
}

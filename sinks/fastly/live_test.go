//go:build live

package fastly_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/sinks/fastly"
	"github.com/anycert/anycert/sinks/sinktest"
)

// TestLive pushes to a real account, renews, lets names grow and shrink, and reads
// everything back. It leaves the activations of the domain behind, for the sink
// never switches TLS off; the certificate of its last version stays with them.
//
//	ANYCERT_LIVE_FASTLY_TOKEN          a token with the scope "global"
//	ANYCERT_LIVE_FASTLY_CONFIGURATION  the id of a TLS configuration
//	ANYCERT_LIVE_FASTLY_DOMAIN         a domain of a service in that account, used by nobody
func TestLive(t *testing.T) {
	id, domain := need(t, "ANYCERT_LIVE_FASTLY_CONFIGURATION"), need(t, "ANYCERT_LIVE_FASTLY_DOMAIN")
	config := &fastly.Config{
		Token:          anycert.Reference{Env: "ANYCERT_LIVE_FASTLY_TOKEN"},
		Configurations: []string{id},
		Domains:        []string{domain},
	}
	if problems := config.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	opened, err := config.Open(anycert.SinkEnv{
		Name: "live", Owner: "anycert-live", UserAgent: "anycert/live",
		Credential: func(anycert.Reference) anycert.Credential {
			return &credential{text: need(t, "ANYCERT_LIVE_FASTLY_TOKEN")}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	sink := opened.(*fastly.Sink)
	if err := sink.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	target := targets(t, sink, domain)[0]
	if observed := observe(t, sink, target); observed.Foreign != "" {
		t.Fatalf("%s is in use: %s", target.Label, observed.Foreign)
	}
	for number, names := range [][]string{{domain}, {domain}, {domain, "grown." + domain}, {domain}} {
		t.Run(fmt.Sprintf("version %d for %s", number+1, strings.Join(names, " and ")), func(t *testing.T) {
			pair := versions(t, names, number+1)[0]
			for range 2 { // doing it twice is harmless
				if err := sink.Push(t.Context(), target, pair.Entry, pair.Bundle); err != nil {
					t.Fatal(err)
				}
			}
			if err := sinktest.Agrees(pair.Entry, observe(t, sink, target)); err != nil {
				t.Error(err)
			}
		})
	}
	orphans, err := sink.Orphans(t.Context(), []anycert.Target{target})
	if err != nil {
		t.Fatal(err)
	}
	for _, orphan := range orphans {
		t.Errorf("something was left over: %s", orphan.Label)
	}
}

func need(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set", name)
	}
	return value
}

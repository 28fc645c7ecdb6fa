package fly

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/sinks/fly/flytest"
	"github.com/anycert/anycert/sinks/sinktest"
)

const (
	appName = "example-web"
	token   = "fm2_lJPECAAAAAAAexampletoken"
)

// credential hands out its tokens one after the other, the next one after a
// refusal.
type credential struct {
	mu      sync.Mutex
	tokens  []string
	refused int
	err     error
}

func (c *credential) Secret(context.Context) (anycert.Secret, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return anycert.Secret{}, c.err
	}
	return anycert.NewSecret(c.tokens[min(c.refused, len(c.tokens)-1)]), nil
}

func (c *credential) Refused() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused++
}

// startServer starts a stand-in that fails the test when a sink calls what it must
// never call.
func startServer(t testing.TB) *flytest.Server {
	t.Helper()
	server, err := flytest.Start(flytest.Options{
		Apps:      map[string]string{appName: token},
		Forbidden: func(call string) { t.Errorf("the sink must never call %s", call) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server
}

// config is a good configuration for a stand-in, without its rate limit.
func config(endpoint string, hostnames ...string) *Config {
	return &Config{
		App:       appName,
		Token:     anycert.Reference{Env: "FLY_API_TOKEN"},
		Hostnames: hostnames,
		Endpoint:  endpoint,
		Interval:  time.Nanosecond,
	}
}

func environment(owner string, c anycert.Credential) anycert.SinkEnv {
	return anycert.SinkEnv{
		Name: "app", Owner: owner, UserAgent: "anycert/test",
		Credential: func(anycert.Reference) anycert.Credential { return c },
	}
}

func open(t testing.TB, c *Config, token anycert.Credential) *Sink {
	t.Helper()
	return openOn(t, c, token, newTransport())
}

func openOn(t testing.TB, c *Config, token anycert.Credential, base http.RoundTripper) *Sink {
	t.Helper()
	sink, err := c.open(environment(sinktest.Owner, token), base)
	if err != nil {
		t.Fatal(err)
	}
	return sink
}

// ready opens a sink on a stand-in that has proof of ownership of its hostnames.
func ready(t testing.TB, hostnames ...string) (*Sink, *flytest.Server) {
	t.Helper()
	server := startServer(t)
	for _, hostname := range hostnames {
		server.ConfirmOwnership(appName, hostname)
	}
	return open(t, config(server.URL, hostnames...), &credential{tokens: []string{token}}), server
}

// targetOf is the target of one hostname of a sink.
func targetOf(t testing.TB, sink *Sink, hostname string) anycert.Target {
	t.Helper()
	targets, err := sink.Targets("example", sink.hostnames)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(targets, func(target anycert.Target) bool { return target.Label == hostname })
	if i < 0 {
		t.Fatalf("no target for %s", hostname)
	}
	return targets[i]
}

func push(t testing.TB, sink *Sink, target anycert.Target, pair sinktest.Pair) {
	t.Helper()
	if err := sink.Push(t.Context(), target, pair.Entry, pair.Bundle); err != nil {
		t.Fatal(err)
	}
}

func observe(t testing.TB, sink *Sink, target anycert.Target) anycert.Observed {
	t.Helper()
	observed, err := sink.Observe(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	return observed
}

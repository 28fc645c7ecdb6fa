package fastly_test

import (
	"context"
	"testing"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/sinks/fastly"
	"github.com/anycert/anycert/sinks/fastly/fastlytest"
	"github.com/anycert/anycert/sinks/sinktest"
)

const (
	token         = "example-token-4XgPzQ" // of the stand-in
	configuration = "t7CguUGZzb2W9Euo5FoKa"
	second        = "Em77eV0D2qMAduXPtvRdKg"
	domain        = "example.com"
)

// start puts up an account with two TLS configurations.
func start(t testing.TB) *fastlytest.Server {
	t.Helper()
	server, err := fastlytest.Start(fastlytest.Options{Token: token, Configurations: []string{configuration, second}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server
}

// credential counts refusals, and gives what it is told.
type credential struct {
	text    string
	refused int
}

func (c *credential) Secret(context.Context) (anycert.Secret, error) {
	return anycert.NewSecret(c.text), nil
}
func (c *credential) Refused() { c.refused++ }

// open opens a client on server; change may change its configuration.
func open(t testing.TB, server *fastlytest.Server, owner string, change func(*fastly.Config)) *fastly.Sink {
	t.Helper()
	return openWith(t, server, owner, &credential{text: token}, change)
}

func openWith(t testing.TB, server *fastlytest.Server, owner string, c anycert.Credential, change func(*fastly.Config)) *fastly.Sink {
	t.Helper()
	config := &fastly.Config{
		Token:          anycert.Reference{Env: "FASTLY_API_TOKEN"},
		Configurations: []string{configuration, second},
		Endpoint:       server.URL,
	}
	if change != nil {
		change(config)
	}
	if problems := config.Check(); len(problems) > 0 {
		t.Fatalf("the configuration: %+v", problems)
	}
	sink, err := config.Open(anycert.SinkEnv{
		Name: "edge", Owner: owner, UserAgent: "anycert/test",
		Credential: func(anycert.Reference) anycert.Credential { return c },
	})
	if err != nil {
		t.Fatal(err)
	}
	return sink.(*fastly.Sink)
}

func TestConformance(t *testing.T) {
	sinktest.Run(t, func(t testing.TB) *sinktest.Harness {
		server := start(t)
		server.Echo(true)
		return &sinktest.Harness{
			New:         func(owner string) anycert.Sink { return open(t, server, owner, nil) },
			Certificate: "example",
			Names:       []string{domain, "*.example.com"},
			Served: func(target anycert.Target) (sinktest.Served, error) {
				chain, key := server.Served(place(target))
				return sinktest.Served{ChainPEM: chain, KeyPEM: key}, nil
			},
			Writes:      server.Writes,
			Tamper:      tampers(server),
			Foreign:     foreigners(server),
			FailWrite:   server.FailWrite,
			Forbid:      func() func() { server.Forbid(true); return func() { server.Forbid(false) } },
			Unavailable: func() func() { server.Drop(true); return func() { server.Drop(false) } },
			Hang:        func() func() { server.Hang(true); return func() { server.Hang(false) } },
			Retire:      func(_ testing.TB, target anycert.Target) { server.Deactivate(place(target)) },
			Secrets:     []string{token},
		}
	})
}

func tampers(server *fastlytest.Server) []sinktest.Tamper {
	// replaced puts a chain into our object and leaves its name.
	replaced := func(pair func(sinktest.Material) sinktest.Pair) func(testing.TB, anycert.Target, sinktest.Material) {
		return func(t testing.TB, target anycert.Target, m sinktest.Material) {
			if err := server.ReplaceCertificate(server.Active(place(target)), pair(m).Bundle.FullChainPEM()); err != nil {
				t.Fatal(err)
			}
		}
	}
	return []sinktest.Tamper{
		{Name: "activation moved to somebody else's certificate", Do: func(t testing.TB, target anycert.Target, m sinktest.Material) {
			configuration, domain := place(target)
			server.Activate(configuration, domain, foreign(t, server, m.Stranger))
		}},
		{Name: "activation removed", Do: func(_ testing.TB, target anycert.Target, _ sinktest.Material) {
			server.Deactivate(place(target))
		}},
		{Name: "certificate deleted", Do: func(_ testing.TB, target anycert.Target, _ sinktest.Material) {
			server.RemoveCertificate(server.Active(place(target)))
		}},
		{Name: "certificate and key deleted", Do: func(_ testing.TB, target anycert.Target, _ sinktest.Material) {
			server.RemoveCertificate(server.Active(place(target)))
			for _, key := range server.Keys() {
				server.RemoveKey(key.ID)
			}
		}},
		{Name: "key deleted", Do: func(testing.TB, anycert.Target, sinktest.Material) {
			for _, key := range server.Keys() {
				server.RemoveKey(key.ID)
			}
		}},
		{Name: "replaced by a self-signed certificate until 2099", Do: replaced(func(m sinktest.Material) sinktest.Pair { return m.LongLived })},
		{Name: "replaced by somebody else's certificate under our mark", Do: replaced(func(m sinktest.Material) sinktest.Pair { return m.Stranger })},
		{Name: "replaced by an older certificate of ours", Do: replaced(func(m sinktest.Material) sinktest.Pair { return m.Older })},
		{Name: "mark of an older version", Do: func(_ testing.TB, target anycert.Target, m sinktest.Material) {
			id := server.Active(place(target))
			server.RenameCertificate(id, name(anycert.MarkOf(sinktest.Owner, m.Older.Entry)))
		}},
		{Name: "activation moved to another certificate of ours", Do: func(t testing.TB, target anycert.Target, m sinktest.Material) {
			other := anycert.MarkOf(sinktest.Owner, m.Stranger.Entry)
			other.Certificate = "shop"
			id := foreign(t, server, m.Stranger)
			server.RenameCertificate(id, name(other))
			configuration, domain := place(target)
			server.Activate(configuration, domain, id)
		}},
	}
}

func foreigners(server *fastlytest.Server) []sinktest.Tamper {
	return []sinktest.Tamper{
		{Name: "activation of a certificate without a mark", Do: func(t testing.TB, target anycert.Target, m sinktest.Material) {
			configuration, domain := place(target)
			server.Activate(configuration, domain, foreign(t, server, m.Stranger))
		}},
		{Name: "TLS subscription", Do: func(t testing.TB, target anycert.Target, m sinktest.Material) {
			configuration, domain := place(target)
			if _, err := server.AddSubscription(configuration, []string{domain}, m.Stranger.Bundle.FullChainPEM()); err != nil {
				t.Fatal(err)
			}
		}},
		{Name: "TLS subscription that is pending", Do: func(t testing.TB, target anycert.Target, _ sinktest.Material) {
			configuration, domain := place(target)
			if _, err := server.AddSubscription(configuration, []string{domain}, nil); err != nil {
				t.Fatal(err)
			}
		}},
	}
}

// foreign uploads a certificate as somebody else would.
func foreign(t testing.TB, server *fastlytest.Server, pair sinktest.Pair) (id string) {
	t.Helper()
	id, err := server.AddCertificate("uploaded by hand", pair.Bundle.FullChainPEM())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

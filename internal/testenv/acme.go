package testenv

import (
	"testing"

	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/dnsserver"
)

// DNS starts a DNS server with zones for the length of the test.
func DNS(t testing.TB, zones ...string) *dnsserver.Server {
	t.Helper()
	server, err := dnsserver.Start(zones...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server
}

// ACME starts Pebble for the length of the test. Its validation asks resolver,
// such as a DNS server's Addr, unless the options name another.
func ACME(t testing.TB, resolver string, o acmeserver.Options) *acmeserver.Server {
	t.Helper()
	if o.Resolver == "" {
		o.Resolver = resolver
	}
	server, err := acmeserver.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server
}

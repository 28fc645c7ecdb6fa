package testenv

import (
	"context"
	"testing"

	"github.com/anycert/anycert/internal/testenv/nameserver"
	"github.com/anycert/anycert/internal/testenv/nginxserver"
)

// BIND starts BIND with zones for the length of the test.
func BIND(t testing.TB, zones ...string) *nameserver.Server {
	t.Helper()
	server, err := nameserver.StartBIND(context.Background(), t.TempDir(), zones...)
	if err != nil {
		fatal(t, "BIND", err)
	}
	t.Cleanup(server.Close)
	return server
}

// Knot starts Knot with zones for the length of the test.
func Knot(t testing.TB, zones ...string) *nameserver.Server {
	t.Helper()
	server, err := nameserver.StartKnot(context.Background(), t.TempDir(), zones...)
	if err != nil {
		fatal(t, "Knot", err)
	}
	t.Cleanup(server.Close)
	return server
}

// Nginx starts nginx for the length of the test, with the certificate in
// certDir.
func Nginx(t testing.TB, certDir string) *nginxserver.Server {
	t.Helper()
	server, err := nginxserver.Start(context.Background(), t.TempDir(), certDir)
	if err != nil {
		fatal(t, "nginx", err)
	}
	t.Cleanup(server.Close)
	return server
}

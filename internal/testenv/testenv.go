// Package testenv starts the real parts that anycert is tested against, each
// for the length of one test, on loopback ports that the kernel picks. A part
// that was not built fails the test: run `make rig` once.
//
//	CA, Issue, IssueFrom   certificates of a CA in memory      certs
//	Vault, RaftVault       the real Vault                      vaultserver
//	Kubernetes             the real kube-apiserver and etcd    kubeserver
//	ACME                   Pebble, in process                  acmeserver
//	DNS                    zones and RFC 2136, in process      dnsserver
//	BIND, Knot             the name servers from Debian        nameserver
//	Nginx                  nginx from Debian, and handshakes   nginxserver
//
// The packages at the right do not import package testing, so that the demo and
// the bench can start the parts too.
//
// An end-to-end test wants all of it at once, and the shipped binary in between:
// that is package world. Around these:
//
//	program    builds the shipped binary, runs its daemon
//	process    runs a child, waits until it is ready, ends it
//	auditlog   reads the audit logs of Vault and kube-apiserver
//	leak       searches output, files and processes for planted keys
//	parts      builds and finds the binaries of the real parts; `make rig`
//	cmd/rig    the command behind it
package testenv

import (
	"errors"
	"testing"

	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/dnsserver"
	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/internal/testenv/nameserver"
	"github.com/anycert/anycert/internal/testenv/nginxserver"
	"github.com/anycert/anycert/internal/testenv/parts"
	"github.com/anycert/anycert/internal/testenv/vaultserver"
)

// CA returns a new CA in memory.
func CA(t testing.TB) *certs.CA {
	t.Helper()
	ca, err := certs.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// Issue returns a certificate of a new CA.
func Issue(t testing.TB, o certs.Options) certs.Pair {
	t.Helper()
	return IssueFrom(t, CA(t), o)
}

// IssueFrom returns a certificate of ca.
func IssueFrom(t testing.TB, ca *certs.CA, o certs.Options) certs.Pair {
	t.Helper()
	pair, err := ca.Issue(o)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// Vault starts a Vault in dev mode.
func Vault(t testing.TB) *vaultserver.Server {
	t.Helper()
	server, err := vaultserver.StartDev(t.Context(), t.TempDir(), vaultserver.Options{})
	return started(t, "Vault", server, err)
}

// RaftVault starts a Vault that can be sealed, restarted and restored.
func RaftVault(t testing.TB) *vaultserver.Server {
	t.Helper()
	server, err := vaultserver.StartRaft(t.Context(), t.TempDir(), vaultserver.Options{})
	return started(t, "Vault", server, err)
}

// Kubernetes starts a kube-apiserver with its etcd.
func Kubernetes(t testing.TB) *kubeserver.Server {
	t.Helper()
	server, err := kubeserver.Start(t.Context(), t.TempDir(), kubeserver.Options{})
	return started(t, "kube-apiserver", server, err)
}

// ACME starts Pebble. Its validation asks resolver, such as a DNS server's Addr,
// unless the options name another.
func ACME(t testing.TB, resolver string, o acmeserver.Options) *acmeserver.Server {
	t.Helper()
	if o.Resolver == "" {
		o.Resolver = resolver
	}
	server, err := acmeserver.Start(o)
	return started(t, "Pebble", server, err)
}

// DNS starts a DNS server with zones.
func DNS(t testing.TB, zones ...string) *dnsserver.Server {
	t.Helper()
	server, err := dnsserver.Start(zones...)
	return started(t, "the DNS server", server, err)
}

// BIND starts BIND with zones.
func BIND(t testing.TB, zones ...string) *nameserver.Server {
	t.Helper()
	server, err := nameserver.StartBIND(t.Context(), t.TempDir(), zones...)
	return started(t, "BIND", server, err)
}

// Knot starts Knot with zones.
func Knot(t testing.TB, zones ...string) *nameserver.Server {
	t.Helper()
	server, err := nameserver.StartKnot(t.Context(), t.TempDir(), zones...)
	return started(t, "Knot", server, err)
}

// Nginx starts nginx with the certificate in certDir.
func Nginx(t testing.TB, certDir string) *nginxserver.Server {
	t.Helper()
	server, err := nginxserver.Start(t.Context(), t.TempDir(), certDir)
	return started(t, "nginx", server, err)
}

// started ends a part with its test. A missing part fails the test: a skipped one
// would pass for a tested one.
func started[S interface{ Close() }](t testing.TB, what string, server S, err error) S {
	t.Helper()
	if errors.Is(err, parts.ErrNotBuilt) {
		t.Fatalf("this test runs against the real %s: %v", what, err)
	}
	if err != nil {
		t.Fatalf("starting %s: %v", what, err)
	}
	t.Cleanup(server.Close)
	return server
}

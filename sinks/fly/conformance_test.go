package fly

import (
	"net/http"
	"testing"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/sinks/fly/flytest"
	"github.com/anycert/anycert/sinks/sinktest"
)

func TestConformance(t *testing.T) {
	sinktest.Run(t, newHarness)
}

// newHarness gives the suite a stand-in that repeats every request in its errors.
func newHarness(t testing.TB) *sinktest.Harness {
	hostnames := []string{"example.com", "*.example.com"}
	server := startServer(t)
	server.Echo(true)
	for _, hostname := range hostnames {
		server.ConfirmOwnership(appName, hostname)
	}
	failing := func(status int) func() (undo func()) {
		return func() (undo func()) {
			server.FailAll(status)
			return func() { server.FailAll(0) }
		}
	}
	return &sinktest.Harness{
		New: func(owner string) anycert.Sink {
			sink, err := config(server.URL, hostnames...).Open(environment(owner, &credential{tokens: []string{token}}))
			if err != nil {
				t.Fatal(err)
			}
			return sink
		},
		Certificate: "example",
		Names:       hostnames,
		Served: func(target anycert.Target) (sinktest.Served, error) {
			chain, key := server.Custom(appName, target.Label)
			return sinktest.Served{ChainPEM: chain, KeyPEM: key}, nil
		},
		Writes:      server.Writes,
		Tamper:      tampers(server),
		FailWrite:   func(nth int) { server.FailWrite(nth, http.StatusInternalServerError) },
		Forbid:      failing(http.StatusForbidden),
		Unavailable: failing(http.StatusServiceUnavailable),
		Hang:        func() (undo func()) { server.Hang(true); return func() { server.Hang(false) } },
		Secrets:     []string{token},
		Without: map[string]string{
			"Mark":    "Fly.io has no place for one",
			"Foreign": "declaring a hostname is the consent: nothing of a declared hostname is somebody else's",
			"Orphans": "without a mark nothing that is not declared can be told to be ours",
			"Remove":  "there are no orphans",
		},
	}
}

// tampers leave out what Fly.io refuses (a key that does not belong to the
// certificate) and what nobody can see there (another certificate of the same
// issuer that ends in the same second; a chain alone).
func tampers(server *flytest.Server) []sinktest.Tamper {
	replace := func(name string, with func(sinktest.Material) sinktest.Pair) sinktest.Tamper {
		return sinktest.Tamper{Name: name, Do: func(t testing.TB, target anycert.Target, m sinktest.Material) {
			bundle := with(m).Bundle
			if err := server.ReplaceCustom(appName, target.Label, bundle.FullChainPEM(), []byte(bundle.KeyPEM().Reveal())); err != nil {
				t.Fatal(err)
			}
		}}
	}
	own := func(t testing.TB, target anycert.Target, m sinktest.Material) {
		t.Helper()
		bundle := m.Stranger.Bundle
		if err := server.AddOwn(appName, target.Label, bundle.FullChainPEM(), []byte(bundle.KeyPEM().Reveal())); err != nil {
			t.Fatal(err)
		}
	}
	return []sinktest.Tamper{
		{Name: "custom certificate removed", Do: func(t testing.TB, target anycert.Target, m sinktest.Material) {
			server.DeleteCustom(appName, target.Label)
		}},
		{Name: "custom certificate removed, Fly.io's own is there", Do: func(t testing.TB, target anycert.Target, m sinktest.Material) {
			own(t, target, m)
			server.DeleteCustom(appName, target.Label)
		}},
		{Name: "hostname removed", Do: func(t testing.TB, target anycert.Target, m sinktest.Material) {
			server.DeleteHostname(appName, target.Label)
		}},
		replace("replaced by a self-signed certificate until 2099", func(m sinktest.Material) sinktest.Pair { return m.LongLived }),
		replace("replaced by an older certificate of ours", func(m sinktest.Material) sinktest.Pair { return m.Older }),
		replace("replaced by somebody else's certificate", func(m sinktest.Material) sinktest.Pair { return m.Stranger }),
	}
}

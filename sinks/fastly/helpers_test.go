package fastly_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/sinks/fastly"
	"github.com/anycert/anycert/sinks/fastly/fastlytest"
	"github.com/anycert/anycert/sinks/sinktest"
)

// place splits a target's label, as the methods of the stand-in want it.
func place(target anycert.Target) (configuration, domain string) {
	configuration, domain, _ = strings.Cut(target.Label, "/")
	return configuration, domain
}

// name writes a mark as the page docs/sinks/fastly.md says.
func name(mark anycert.Mark) string {
	return strings.Join([]string{"anycert", mark.Owner + "/" + mark.Certificate, mark.Time.Format(time.RFC3339), mark.Digest.Hex()}, " ")
}

// versions issues versions of the certificate example for the names.
func versions(t testing.TB, names []string, numbers ...int) []sinktest.Pair {
	t.Helper()
	return sinktest.Issue(t, "example", names, numbers...)
}

// pairOf makes a version of certificate example out of what o asks for.
func pairOf(t testing.TB, number int, o certs.Options) sinktest.Pair {
	t.Helper()
	ca, err := certs.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	issued, err := ca.Issue(o)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := anycert.ParseBundle(issued.ChainPEM, issued.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 2, number, 0, 0, 0, 0, time.UTC)
	entry := anycert.Entry{Name: "example", Version: number, Time: at, Digest: bundle.Digest(), Leaf: bundle.Leaf()}
	return sinktest.Pair{Entry: entry, Bundle: bundle}
}

func targets(t testing.TB, sink *fastly.Sink, names ...string) []anycert.Target {
	t.Helper()
	all, err := sink.Targets("example", names)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// pass does what a pass does with one certificate: it surveys once, and pushes to
// each target that differs and is not foreign.
func pass(t testing.TB, sink *fastly.Sink, pair sinktest.Pair) (pushed []string) {
	t.Helper()
	survey, err := sink.Survey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range targets(t, sink, pair.Bundle.Leaf().DNSNames...) {
		observed, err := survey.Observe(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		if observed.Foreign != "" || sinktest.Agrees(pair.Entry, observed) == nil {
			continue
		}
		pushed = append(pushed, target.Label)
		if err := sink.Push(t.Context(), target, pair.Entry, pair.Bundle); err != nil {
			t.Fatal(err)
		}
	}
	return pushed
}

// writes are the requests from the nth on that change something, as "METHOD path"
// with the ids left out.
func writes(server *fastlytest.Server, from int) []string {
	var all []string
	for _, request := range server.Requests()[from:] {
		if request.IsWrite() {
			parts := strings.Split(strings.TrimPrefix(request.Path, "/tls/"), "/")
			all = append(all, request.Method+" "+parts[0])
		}
	}
	return all
}

// serves fails unless a place serves the pair.
func serves(t testing.TB, server *fastlytest.Server, configuration, domain string, pair sinktest.Pair) {
	t.Helper()
	chain, _ := server.Served(configuration, domain)
	if string(chain) != string(pair.Bundle.FullChainPEM()) {
		t.Errorf("%s/%s does not serve version %d of the certificate:\n%s", configuration, domain, pair.Entry.Version, chain)
	}
}

func observe(t testing.TB, sink *fastly.Sink, target anycert.Target) anycert.Observed {
	t.Helper()
	observed, err := sink.Observe(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	return observed
}

func keyNames(server *fastlytest.Server) []string {
	var names []string
	for _, key := range server.Keys() {
		names = append(names, key.Name)
	}
	return names
}

func keyOf(t testing.TB, server *fastlytest.Server, name string, pair sinktest.Pair) {
	t.Helper()
	if _, err := server.AddKey(name, []byte(pair.Bundle.KeyPEM().Reveal())); err != nil {
		t.Fatal(err)
	}
}

func sorted(names []string) []string { return slices.Sorted(slices.Values(names)) }

const post = http.MethodPost

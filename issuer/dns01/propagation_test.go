package dns01

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/dnsserver"
)

// authorities is a zone whose name server listens on another port than 53, and a
// watch that knows the port.
func authorities(t *testing.T) (first *dnsserver.Server, w watch) {
	t.Helper()
	first = testenv.DNS(t, "example.com")
	_, port, err := net.SplitHostPort(first.Addr)
	if err != nil {
		t.Fatal(err)
	}
	r := &resolver{servers: []string{first.Addr}, port: port}
	return first, watch{resolver: r, who: Authoritative, timeout: 2 * time.Second, interval: 20 * time.Millisecond}
}

const place1 = "_acme-challenge.example.com."

func TestPropagationIsSeenAtEveryNameServer(t *testing.T) {
	first, w := authorities(t)
	if err := first.Add(place1+` 60 IN TXT "one"`, place1+` 60 IN TXT "two"`); err != nil {
		t.Fatal(err)
	}
	if err := w.wait(t.Context(), place1, []string{"one", "two"}); err != nil {
		t.Errorf("both values are there: %v", err)
	}

	w.timeout = 2 * time.Second
	err := w.wait(t.Context(), place1, []string{"one", "three"})
	if err == nil || !strings.Contains(err.Error(), "ns.example.com does not show it") || !strings.Contains(err.Error(), "_acme-challenge.example.com") {
		t.Errorf("a value is missing: %v", err)
	}

	// A second name server, where nobody answers.
	if err := first.Add("example.com. 60 IN NS ns2.example.com.", "ns2.example.com. 60 IN A 127.0.0.9"); err != nil {
		t.Fatal(err)
	}
	err = w.wait(t.Context(), place1, []string{"one"})
	if err == nil || !strings.Contains(err.Error(), "127.0.0.9") {
		t.Errorf("a name server is silent: %v", err)
	}
}

func TestPropagationWaitsUntilItIsThere(t *testing.T) {
	first, w := authorities(t)
	time.AfterFunc(100*time.Millisecond, func() { // while the wait is on
		_ = first.Add(place1 + ` 60 IN TXT "one"`)
	})
	if err := w.wait(t.Context(), place1, []string{"one"}); err != nil {
		t.Error(err)
	}
}

func TestPropagationEndsWithItsContext(t *testing.T) {
	_, w := authorities(t)
	w.timeout = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := w.wait(ctx, place1, []string{"one"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestFollow(t *testing.T) {
	server := testenv.DNS(t, "example.com", "example.org")
	if err := server.Add("a.example.com. 1 IN CNAME B.example.com.", "b.example.com. 1 IN CNAME c.example.org.",
		"x.example.com. 1 IN CNAME y.example.com.", "y.example.com. 1 IN CNAME x.example.com."); err != nil {
		t.Fatal(err)
	}
	r := &resolver{servers: []string{server.Addr}}
	for name, want := range map[string]string{"a.example.com": "c.example.org.", "A.example.com.": "c.example.org.", "none.example.com": "none.example.com.", "x.example.com": ""} {
		chain, err := r.follow(t.Context(), name)
		got := chain[len(chain)-1]
		if err != nil {
			got = ""
		}
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%s leads to %q, %v; want %q", name, got, err, want)
		}
	}
	if zone, err := r.zone(t.Context(), "deep.down.example.org."); err != nil || zone != "example.org." {
		t.Errorf("the zone is %q, %v", zone, err)
	}
	if _, err := r.zone(t.Context(), "example.net."); err == nil {
		t.Error("a zone was found that is not there")
	}
}

// TestSecondResolverIsAsked when the first one fails.
func TestSecondResolverIsAsked(t *testing.T) {
	broken, good := testenv.DNS(t, "example.com"), testenv.DNS(t, "example.com")
	broken.FailQueries("example.com", dns.RcodeServerFailure)
	r := &resolver{servers: []string{broken.Addr, good.Addr}}
	if _, err := r.zone(t.Context(), "example.com"); err != nil {
		t.Error(err)
	}
	broken.FailQueries("example.com", dns.RcodeSuccess)
	good.FailQueries("example.com", dns.RcodeServerFailure)
	if _, err := r.zone(t.Context(), "example.com"); err != nil {
		t.Error(err)
	}
	r = &resolver{servers: []string{good.Addr}}
	if _, err := r.zone(t.Context(), "example.com"); err == nil || !strings.Contains(err.Error(), "SERVFAIL") {
		t.Errorf("got %v", err)
	}
}

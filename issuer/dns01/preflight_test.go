package dns01

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/dnsserver"
)

// solverAt is one whose only provider is a backend, in a world where a server is both
// resolver and name server.
func solverAt(t *testing.T, server *dnsserver.Server, b backend, zones ...string) *Solver {
	t.Helper()
	_, port, err := net.SplitHostPort(server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	r := &resolver{servers: []string{server.Addr}, port: port}
	return &Solver{locks: new(Locks), providers: []*opened{{config: Provider{Provider: "memory", Zones: zones}, backend: b, resolver: r}}}
}

// updater is a memory whose records a server shows.
func updater(server *dnsserver.Server) *memory {
	m := &memory{}
	m.wrote = func() error {
		for name, values := range m.records {
			for _, value := range values {
				if err := server.Add(fmt.Sprintf("%s 1 IN TXT %q", name, value)); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return m
}

func add(t *testing.T, server *dnsserver.Server, lines ...string) {
	t.Helper()
	if err := server.Add(lines...); err != nil {
		t.Fatal(err)
	}
}

// want compares findings with what they begin with: "!" for one that blocks.
func want(t *testing.T, findings []Finding, texts ...string) {
	t.Helper()
	ok := len(findings) == len(texts)
	for i := range min(len(findings), len(texts)) {
		text, blocks := strings.CutPrefix(texts[i], "!")
		ok = ok && findings[i].Blocks == blocks && strings.Contains(findings[i].String(), text)
	}
	if !ok {
		t.Errorf("found %q, want %q", findings, texts)
	}
	if err := Refusal(findings); (err != nil) != slices.ContainsFunc(findings, func(f Finding) bool { return f.Blocks }) {
		t.Errorf("the refusal is %v", err)
	}
}

func TestPreflightOfWhatIsWell(t *testing.T) {
	server := testenv.DNS(t, "example.com", "example.org")
	add(t, server, "_acme-challenge.www.example.com. 1 IN CNAME www.example.org.")
	m := updater(server)
	about := About{Domains: []string{"example.com", "*.example.com", "www.example.com"}, Trial: true}
	want(t, solverAt(t, server, m).Preflight(t.Context(), about))
	slices.Sort(m.calls)
	if got := strings.Join(m.calls, ","); got != "clean preflight,clean preflight,present preflight,present preflight" || len(m.records) > 0 {
		t.Errorf("the calls were %s, and %v is left", got, m.records)
	}
	about.Trial = false
	want(t, solverAt(t, server, m).Preflight(t.Context(), about))
	if len(m.calls) != 4 {
		t.Errorf("the calls were %v", m.calls)
	}
}

func TestPreflightOfPlaces(t *testing.T) {
	server := testenv.DNS(t, "example.com")
	for i := range mostCNAMEs + 2 {
		add(t, server, fmt.Sprintf("h%d.example.com. 1 IN CNAME h%d.example.com.", i, i+1))
	}
	add(t, server,
		"_acme-challenge.far.example.com. 1 IN CNAME h0.example.com.",
		"_acme-challenge.own.example.com. 1 IN CNAME _acme-challenge.own.example.com.",
		"_acme-challenge.cdn.example.com. 1 IN CNAME hop.example.com.", "hop.example.com. 1 IN CNAME xyz.flydns.net.",
		"_acme-challenge.away.example.com. 1 IN CNAME away.example.net.")
	server.FailQueries("_acme-challenge.odd.example.com", dns.RcodeRefused)
	server.FailQueries("_acme-challenge.dark.example.com", dns.RcodeServerFailure)
	m := &memory{}
	solver := solverAt(t, server, m, "example.com")
	for domain, text := range map[string]string{
		"far.example.com":  "!far.example.com: more than 16 CNAMEs follow each other from _acme-challenge.far.example.com.",
		"own.example.com":  "!own.example.com: CNAMEs lead from _acme-challenge.own.example.com. in a circle: remove _acme-challenge.own.example.com. IN CNAME _acme-challenge.own.example.com.",
		"cdn.example.com":  "!cdn.example.com: _acme-challenge.cdn.example.com. IN CNAME hop.example.com. leads to xyz.flydns.net, which belongs to Fly.io",
		"away.example.com": "!away.example.com: _acme-challenge.away.example.com. IN CNAME away.example.net. is in the way, which none of the issuer's DNS providers can write",
		"example.org":      "!example.org: lies in no zone of the issuer's DNS providers",
		"odd.example.com":  "could not be looked up: looking up CNAME _acme-challenge.odd.example.com",
		"dark.example.com": "the resolvers answer SERVFAIL for _acme-challenge.dark.example.com.",
	} {
		want(t, solver.Preflight(t.Context(), About{Domains: []string{domain}, Trial: true}), text)
	}
	if len(m.calls) > 0 {
		t.Errorf("trial records were written: %v", m.calls)
	}
}

// TestTrialIsRemoved whatever happens, and told of where it cannot be.
func TestTrialIsRemoved(t *testing.T) {
	server := testenv.DNS(t, "example.com")
	about := About{Domains: []string{"example.com"}, Trial: true}
	failing := func(err error) *memory { return &memory{wrote: func() error { return err }} }
	for text, m := range map[string]*memory{
		"!could not write a trial record: it says no: it is to be able to add and remove _acme-challenge.example.com. IN TXT": failing(denial{errors.New("it says no")}),
		"could not write a trial record: no answer": failing(errors.New("no answer")),
		"could not write a trial record: SERVFAIL":  failing(&refusal{errors.New("SERVFAIL"), dns.RcodeServerFailure}),
	} {
		want(t, solverAt(t, server, m).Preflight(t.Context(), about), text)
		if got := strings.Join(m.calls, ","); got != "present preflight,clean preflight" {
			t.Errorf("the calls were %s", got)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	m := &memory{wrote: func() error { cancel(); return nil }}
	want(t, solverAt(t, server, m).Preflight(ctx, about), "there was no time to wait")
	if got := strings.Join(m.calls, ","); got != "present preflight,clean preflight" {
		t.Errorf("after its context has ended, the calls were %s", got)
	}

	stuck := &sticky{memory: updater(server)}
	want(t, solverAt(t, server, stuck).Preflight(t.Context(), about), `could not remove the trial record (it stays): remove _acme-challenge.example.com. IN TXT "`)
}

// sticky is a provider that removes nothing.
type sticky struct{ *memory }

func (sticky) cleanUp(context.Context, record) error { return errors.New("it stays") }

// TestTrialThatNobodyShows: the provider took it, and it is seen nowhere.
func TestTrialThatNobodyShows(t *testing.T) {
	server := testenv.DNS(t, "example.com")
	m := &hasty{&memory{}}
	want(t, solverAt(t, server, m).Preflight(t.Context(), About{Domains: []string{"example.com"}, Trial: true}),
		"!DNS provider memory took a trial record, and no name server of the zone example.com. shows it after 300ms: let it write to the zone that example.com. IN NS ns.example.com. leads to")
}

type hasty struct{ *memory }

func (hasty) pace() (timeout, interval time.Duration) {
	return 300 * time.Millisecond, 50 * time.Millisecond
}

// TestTrialsOfAProviderThatHoldsOneRecord are made one after the other.
func TestTrialsOfAProviderThatHoldsOneRecord(t *testing.T) {
	server := testenv.DNS(t, "example.com")
	m := updater(server)
	m.queue = true
	want(t, solverAt(t, server, m).Preflight(t.Context(), About{Domains: []string{"a.example.com", "b.example.com"}, Trial: true}))
	if got := strings.Join(m.calls, ","); got != "present preflight,clean preflight,present preflight,clean preflight" {
		t.Errorf("the calls were %s", got)
	}
}

// TestRefusedToken: that the API refuses the credential blocks, and is told of an order too;
// that it is broken does not, and neither shows it.
func TestRefusedToken(t *testing.T) {
	const password = "hunter2-hunter2-hunter2"
	world := startDNS(t, nil)
	for status, text := range map[int]string{http.StatusUnauthorized: "!could not write", http.StatusForbidden: "!could not write", http.StatusBadGateway: "could not write"} {
		h := newHook(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, password, status) })
		solver := h.open(t, world, password)
		findings := solver.Preflight(t.Context(), About{Domains: []string{"example.com"}, Trial: true})
		want(t, findings, text)
		err := solver.Solve(t.Context(), []Challenge{{Domain: "example.com"}, {Domain: "example.org"}}, false, func(context.Context, int) error { return nil })
		if denied := status != http.StatusBadGateway; err == nil || errors.Is(err, anycert.ErrForbidden) != denied {
			t.Errorf("%d fails an order with %v", status, err)
		}
		if strings.Contains(fmt.Sprint(findings, err), "hunter2") {
			t.Errorf("a secret is shown: %v, %v", findings, err)
		}
	}
}

// TestNameServersThatAreNot: one that refuses the zone, one that is not there, and one
// that only the zone itself names.
func TestNameServersThatAreNot(t *testing.T) {
	server := testenv.DNS(t, "example.com")
	_, port, _ := net.SplitHostPort(server.Addr)
	lame, err := net.ListenPacket("udp", "127.0.0.8:"+port)
	if err != nil {
		t.Fatal(err)
	}
	refusing := &dns.Server{PacketConn: lame, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, request *dns.Msg) {
		_ = w.WriteMsg(new(dns.Msg).SetRcode(request, dns.RcodeRefused))
	})}
	served := make(chan error, 1)
	go func() { served <- refusing.ActivateAndServe() }()
	t.Cleanup(func() { _ = lame.Close(); <-served })
	add(t, server, "example.com. 60 IN NS lame.example.com.", "lame.example.com. 60 IN A 127.0.0.8",
		"example.com. 60 IN NS gone.example.com.", "gone.example.com. 60 IN A 127.0.0.9")
	want(t, solverAt(t, server, updater(server)).Preflight(t.Context(), About{Domains: []string{"example.com", "www.example.com"}, Trial: true}),
		"example.com: the name server gone.example.com does not answer for the zone example.com., which the zone above delegates to it: if that lasts, load the zone there, or remove example.com. IN NS gone.example.com.",
		"example.com: the name server lame.example.com answers REFUSED for the zone example.com.")
}

// TestNoNameServerAnswers: a network that keeps port 53 to itself is no refusal.
func TestNoNameServerAnswers(t *testing.T) {
	server := testenv.DNS(t, "example.com")
	m := &memory{}
	solver := solverAt(t, server, m)
	solver.providers[0].resolver.port = "1"
	want(t, solver.Preflight(t.Context(), About{Domains: []string{"example.com"}, Trial: true}),
		"no name server of the zone example.com. answers for it here (ns.example.com does not answer), while the resolvers do: if port 53 is closed to them from here, write propagation: recursive")
	if got := strings.Join(m.calls, ","); got != "present preflight,clean preflight" {
		t.Errorf("the calls were %s", got)
	}
}

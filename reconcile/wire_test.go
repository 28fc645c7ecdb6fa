package reconcile

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/certs"
)

var app = anycert.Endpoint{Address: "app.example.com:443", ServerName: "app.example.com"}

// shows is what an address shows.
func shows(e anycert.Endpoint, ip string, chain ...*x509.Certificate) anycert.Served {
	return anycert.Served{Endpoint: e, IP: netip.MustParseAddr(ip), Chain: chain, At: begun}
}

func TestJudgeWire(t *testing.T) {
	w := bareWorld(t, nil, nil)
	now := time.Now()
	end := now.Add(24 * time.Hour).UTC().Truncate(time.Second)
	issue := func(o certs.Options) *anycert.Bundle {
		o.Intermediate = true
		return w.bundle(o)
	}
	bundle := issue(certs.Options{})
	old := issue(certs.Options{NotAfter: end}).Chain()
	expired := issue(certs.Options{NotBefore: now.Add(-48 * time.Hour), NotAfter: end.Add(-36 * time.Hour)}).Chain()
	early := issue(certs.Options{NotBefore: now.Add(time.Hour)}).Chain()
	others := issue(certs.Options{Names: []string{"example.net", "www.example.net"}}).Chain()
	chain := bundle.Chain()
	entry := anycert.Entry{Name: "example", Version: 2, Digest: bundle.Digest(), Leaf: bundle.Leaf()}
	alone := anycert.Entry{Name: "example", Version: 2, Digest: anycert.DigestOf(chain[:1]), Leaf: bundle.Leaf()}
	trusting := app
	trusting.Roots = w.ca.Pool()
	elsewhere := anycert.Endpoint{Address: "192.0.2.1:8443", ServerName: "www.example.com"}
	silent := anycert.Served{Endpoint: app, IP: netip.MustParseAddr("192.0.2.9"), Err: errors.New("no connection within the time limit")}
	noRoute := anycert.Served{Endpoint: app, IP: netip.MustParseAddr("2001:db8::1"), Err: anycert.ErrNoRoute}
	lost := anycert.Served{Endpoint: app, Err: errors.New("app.example.com has no address in the DNS")}
	long := issue(certs.Options{}).Chain()

	for _, test := range []struct {
		name  string
		entry anycert.Entry
		seen  []anycert.Served
		state WireState
		text  string
	}{
		{"the whole chain", entry, []anycert.Served{shows(app, "192.0.2.7", chain...)}, WireServed, ""},
		{"at every address", entry, []anycert.Served{shows(app, "192.0.2.7", chain...), shows(app, "2001:db8::1", chain...)}, WireServed, ""},
		{"the old one", entry, []anycert.Served{shows(app, "192.0.2.7", old...)}, WireBehind,
			"app.example.com:443: another certificate is served, valid until " + stamp(end) + ", issued by anycert test intermediate, at 192.0.2.7"},
		{"the old one at two of three", entry, []anycert.Served{shows(app, "192.0.2.7", old...), shows(app, "192.0.2.8", chain...), shows(app, "2001:db8::1", old...)}, WireBehind,
			"app.example.com:443: another certificate is served, valid until " + stamp(end) + ", issued by anycert test intermediate, at 2 of 3 addresses (192.0.2.7, 2001:db8::1)"},
		{"without its intermediate", entry, []anycert.Served{shows(app, "192.0.2.7", chain[0])}, WireUnfit,
			"app.example.com:443: the chain lacks its intermediate: the certificate is served alone, at 192.0.2.7"},
		{"another chain", entry, []anycert.Served{shows(app, "192.0.2.7", chain[0], long[0])}, WireBehind,
			"app.example.com:443: the certificate is served with another chain, of 2 certificates, at 192.0.2.7"},
		{"the root as well", entry, []anycert.Served{shows(app, "192.0.2.7", chain[0], chain[1], w.ca.Root())}, WireBehind,
			"app.example.com:443: the certificate is served with another chain, of 3 certificates, at 192.0.2.7"},
		{"no intermediate in the store either", alone, []anycert.Served{shows(trusting, "192.0.2.7", chain[0])}, WireUnfit,
			"app.example.com:443: the chain lacks its intermediate, in the store as well: the certificate is served alone, at 192.0.2.7"},
		{"nobody said which roots there are", alone, []anycert.Served{shows(app, "192.0.2.7", chain[0])}, WireServed, ""},
		{"it leads to the root", entry, []anycert.Served{shows(trusting, "192.0.2.7", chain...)}, WireServed, ""},
		{"expired", entry, []anycert.Served{shows(app, "192.0.2.7", expired...)}, WireUnfit,
			"app.example.com:443: another certificate is served, which expired at " + stamp(end.Add(-36*time.Hour)) + ", at 192.0.2.7"},
		{"not yet valid", entry, []anycert.Served{shows(app, "192.0.2.7", early...)}, WireUnfit,
			"app.example.com:443: another certificate is served, which is not valid before " + stamp(early[0].NotBefore) + ", at 192.0.2.7"},
		{"for other names", entry, []anycert.Served{shows(app, "192.0.2.7", others...)}, WireUnfit,
			"app.example.com:443: another certificate is served, which is not for app.example.com but for example.net, www.example.net, at 192.0.2.7"},
		{"an address that is silent", entry, []anycert.Served{shows(app, "192.0.2.7", chain...), silent}, WireUnseen,
			"app.example.com:443: no connection within the time limit, at 1 of 2 addresses (192.0.2.9)"},
		{"silent here and old there", entry, []anycert.Served{shows(app, "192.0.2.7", old...), silent}, WireBehind,
			"app.example.com:443: another certificate is served, valid until " + stamp(end) + ", issued by anycert test intermediate, at 1 of 2 addresses (192.0.2.7); " +
				"app.example.com:443: no connection within the time limit, at 1 of 2 addresses (192.0.2.9)"},
		{"no IPv6 here", entry, []anycert.Served{shows(app, "192.0.2.7", chain...), noRoute}, WireServed, ""},
		{"no IPv6 here, and nothing else there", entry, []anycert.Served{noRoute}, WireUnseen,
			"app.example.com:443: this machine has no way there, at 2001:db8::1"},
		{"not in the DNS", entry, []anycert.Served{lost}, WireUnseen, "app.example.com:443: app.example.com has no address in the DNS"},
		{"several endpoints", entry, []anycert.Served{shows(app, "192.0.2.7", chain...), shows(elsewhere, "192.0.2.1", old...)}, WireBehind,
			"192.0.2.1:8443 (www.example.com): another certificate is served, valid until " + stamp(end) + ", issued by anycert test intermediate"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := judgeWire(test.entry, test.seen, now)
			if got.State != test.state || got.Text != test.text {
				t.Errorf("%s: %s\nwant %s: %s", got.State, got.Text, test.state, test.text)
			}
			if len(got.Addresses) == 0 || (got.ill() == nil) != (test.state == WireServed) {
				t.Errorf("%+v", got)
			}
		})
	}
	if got := judgeWire(entry, nil, now); got != nil {
		t.Errorf("nobody looked, and it says %+v", got)
	}
}

// A server that was given a key could show it in its certificate: what it chose to say is
// told, but nothing that is as long as a piece of a key.
func TestWireTellsNoKeys(t *testing.T) {
	const asHex, asBase64, id = "9f86d081884c7d659a2feaa0c55ad015", "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=", "d8a928b2043db77e340b523547bf16cb4aa483f0"
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: begun.AddDate(0, -1, 0), NotAfter: begun.AddDate(0, 1, 0),
		Issuer: pkix.Name{CommonName: "Example CA " + asBase64}, DNSNames: []string{asHex + ".example.com", "app.example.com"}}
	for name, want := range map[string]string{"app.example.com": "Example CA n4bQgYhM…", "other.example.com": "but for 9f86d081….example.com, app.example.com"} {
		got := judgeAddress(anycert.Entry{Leaf: new(x509.Certificate)}, shows(anycert.Endpoint{Address: "192.0.2.7:443", ServerName: name}, "192.0.2.7", leaf), begun)
		said := got.Text + " " + got.Issuer
		if !strings.Contains(said, want) || strings.Contains(said, asHex) || strings.Contains(said, asBase64[8:24]) {
			t.Errorf("for %s it says %q, want %q", name, said, want)
		}
	}
	for _, text := range []string{"Let's Encrypt E5", "Kubernetes Ingress Controller Fake Certificate", "customer-00001-internal-production-2.eu-central-1.example.com"} {
		if got := brief(text); got != text {
			t.Errorf("%q is told as %q", text, got)
		}
	}
	if got := brief("Company CA " + id); got != "Company CA d8a928b2…" {
		t.Error(got)
	}
}

// What is done about it, and by whom.
func TestRemedies(t *testing.T) {
	fastly := anycert.Front{Keeper: "Fastly", Remedy: "look at its activation"}
	for _, test := range []struct {
		p     Promise
		front anycert.Front
		want  string
	}{
		{Promise{Verdict: Kept}, fastly, "the target holds the store's version, and Fastly goes on serving this: look at its activation"},
		{Promise{Verdict: Kept}, anycert.Front{}, "have the server read it again (a reload)"},
		{Promise{Verdict: Broken, Action: Replace}, fastly, "`anycert sync` and every pass"},
		{Promise{Verdict: Waiting}, fastly, "the target waits"},
		{Promise{Verdict: Refused}, fastly, "nothing is pushed while the target is refused"},
	} {
		test.p.Wire, test.p.sighting = &Wire{State: WireBehind}, new(sighting)
		if got := test.p.remedy(test.front); !strings.Contains(got, test.want) {
			t.Errorf("%s: %q", test.p.Verdict, got)
		}
	}
	if got := (Promise{Verdict: Kept, Wire: &Wire{State: WireServed}, sighting: new(sighting)}).remedy(fastly); got != "" {
		t.Error(got)
	}
}

// One that is well is looked at twice and then in every tenth pass, not all in one.
func TestWatcherSpreadsItsLooks(t *testing.T) {
	w := newWorld(t)
	entry, err := w.store.Stat(t.Context(), "example")
	if err != nil {
		t.Fatal(err)
	}
	var promises []Promise
	for i := range 100 {
		p := Promise{Certificate: "example", Key: string(rune('a' + i)), endpoints: []anycert.Endpoint{app}, sighting: new(sighting)}
		p.sighting.known.Entry = &entry
		promises = append(promises, p)
	}
	watcher := new(watcher)
	pass := func(state WireState) int {
		due := slices.Clone(watcher.due(promises, nil))
		for i := range due {
			due[i].Wire = &Wire{State: state}
		}
		watcher.saw(due, promises)
		return len(due)
	}
	if first, second := pass(WireServed), pass(WireServed); first != 100 || second != 100 {
		t.Fatalf("%d and %d looks in the first two passes", first, second)
	}
	most, all := 0, 0
	for range wireEvery {
		n := pass(WireServed)
		most, all = max(most, n), all+n
	}
	if all < 100 || most > 50 {
		t.Errorf("in ten passes %d looks, %d in one", all, most)
	}
	entry.Digest[0]++
	if n := pass(WireBehind); n != 100 {
		t.Errorf("%d looks after a push", n)
	}
	for i := range wirePatience {
		if n := pass(WireBehind); n != 100 {
			t.Fatalf("%d looks in pass %d with something wrong", n, i)
		}
	}
	if n := pass(WireBehind); n > 50 {
		t.Errorf("%d looks in a pass after half an hour with something wrong", n)
	}
}

package dnsserver_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/dnsserver"
)

const name = "_acme-challenge.example.com."

func TestUpdatesAddAndRemoveOneValueAmongOthers(t *testing.T) {
	server := testenv.DNS(t, "example.com")
	for _, text := range []string{"one", "two"} {
		wantRcode(t, update(t, server, server.Secret, func(m *dns.Msg) { m.Insert(txt(text)) }), dns.RcodeSuccess)
	}
	if diff := cmp.Diff([]string{"one", "two"}, server.TXT(name)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	wantRcode(t, update(t, server, server.Secret, func(m *dns.Msg) { m.Remove(txt("one")) }), dns.RcodeSuccess)
	for _, network := range []string{"udp", "tcp"} {
		if got := texts(query(t, server, network, name, dns.TypeTXT)); !slices.Equal(got, []string{"two"}) {
			t.Errorf("over %s: %q, want two", network, got)
		}
	}
	wantRcode(t, update(t, server, server.Secret, func(m *dns.Msg) { m.RemoveRRset(txt("")) }), dns.RcodeSuccess)
	if reply := query(t, server, "udp", name, dns.TypeTXT); reply.Rcode != dns.RcodeNameError || len(reply.Ns) != 1 {
		t.Errorf("a removed name answers %s, want NXDOMAIN with an SOA", reply)
	}
	soa := query(t, server, "udp", "example.com.", dns.TypeSOA).Answer[0].(*dns.SOA)
	if soa.Serial != 5 || len(server.Updates()) != 4 {
		t.Errorf("serial %d and %d updates, want 5 and 4", soa.Serial, len(server.Updates()))
	}
}

func TestUpdatesAreRefused(t *testing.T) {
	server := testenv.DNS(t, "example.com")
	insert := func(m *dns.Msg) { m.Insert(txt("one")) }
	foreign, err := dns.NewRR("www.example.org. 60 IN A 192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	wantRcode(t, update(t, server, "", insert), dns.RcodeRefused)
	wantRcode(t, update(t, server, "d3Jvbmc=", insert), dns.RcodeNotAuth)
	wantRcode(t, update(t, server, server.Secret, func(m *dns.Msg) { m.Insert([]dns.RR{foreign}) }), dns.RcodeNotZone)
	server.RefuseUpdates(name, true)
	wantRcode(t, update(t, server, server.Secret, insert), dns.RcodeRefused)
	if got := server.TXT(name); len(got) != 0 {
		t.Errorf("a refused update left %q", got)
	}
	server.RefuseUpdates(name, false)
	wantRcode(t, update(t, server, server.Secret, insert), dns.RcodeSuccess)
}

func TestResolver(t *testing.T) {
	server := testenv.DNS(t, "example.com", "acme.example.org")
	err := server.Add(
		name+" 60 IN CNAME example.acme.example.org.",
		`example.acme.example.org. 60 IN TXT "delegated"`,
		`example.com. 60 IN CAA 0 issue "pebble.letsencrypt.org"`,
		"loop.example.com. 60 IN CNAME loop.example.com.",
		"a.b.example.com. 60 IN A 192.0.2.1",
		"broken.example.com. 60 IN A 192.0.2.1",
	)
	if err != nil {
		t.Fatal(err)
	}
	server.FailQueries("broken.example.com", dns.RcodeServerFailure)
	tests := []struct {
		name    string
		kind    uint16
		rcode   int
		answers int
	}{
		{name, dns.TypeTXT, dns.RcodeSuccess, 2},
		{name, dns.TypeCNAME, dns.RcodeSuccess, 1},
		{"EXAMPLE.com.", dns.TypeCAA, dns.RcodeSuccess, 1},
		{"example.com.", dns.TypeNS, dns.RcodeSuccess, 1},
		{"loop.example.com.", dns.TypeA, dns.RcodeServerFailure, 8},
		{"b.example.com.", dns.TypeA, dns.RcodeSuccess, 0},
		{"none.example.com.", dns.TypeA, dns.RcodeNameError, 0},
		{"example.net.", dns.TypeSOA, dns.RcodeNameError, 0},
		{"broken.example.com.", dns.TypeA, dns.RcodeServerFailure, 0},
	}
	for _, test := range tests {
		reply := query(t, server, "tcp", test.name, test.kind)
		if reply.Rcode != test.rcode || len(reply.Answer) != test.answers {
			t.Errorf("%s %s: %s with %d answers, want %s with %d", test.name, dns.TypeToString[test.kind],
				dns.RcodeToString[reply.Rcode], len(reply.Answer), dns.RcodeToString[test.rcode], test.answers)
		}
	}
	server.Remove(name)
	if reply := query(t, server, "tcp", name, dns.TypeTXT); reply.Rcode != dns.RcodeNameError {
		t.Errorf("after its removal: %s", reply)
	}
}

func TestLongAnswersAreTruncatedOverUDP(t *testing.T) {
	server := testenv.DNS(t, "example.com")
	for _, letter := range "abcdefgh" {
		if err := server.Add(name + ` 60 IN TXT "` + strings.Repeat(string(letter), 200) + `"`); err != nil {
			t.Fatal(err)
		}
	}
	if !query(t, server, "udp", name, dns.TypeTXT).Truncated {
		t.Error("1,600 bytes over UDP came whole")
	}
	if got := texts(query(t, server, "tcp", name, dns.TypeTXT)); len(got) != 8 {
		t.Errorf("%d texts over TCP, want 8", len(got))
	}
}

func txt(text string) []dns.RR {
	return []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60},
		Txt: []string{text}}}
}

// patience is for a busy machine: miekg/dns gives up after two seconds.
const patience = 20 * time.Second

// update sends an update to example.com, signed unless secret is empty.
func update(t *testing.T, server *dnsserver.Server, secret string, change func(*dns.Msg)) *dns.Msg {
	t.Helper()
	message := new(dns.Msg).SetUpdate("example.com.")
	change(message)
	client := &dns.Client{Timeout: patience}
	if secret != "" {
		client.TsigSecret = map[string]string{dnsserver.KeyName: secret}
		message.SetTsig(dnsserver.KeyName, dnsserver.Algorithm, 300, time.Now().Unix())
	}
	reply, _, err := client.Exchange(message, server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func query(t *testing.T, server *dnsserver.Server, network, name string, kind uint16) *dns.Msg {
	t.Helper()
	client := &dns.Client{Net: network, Timeout: patience}
	reply, _, err := client.Exchange(new(dns.Msg).SetQuestion(name, kind), server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func texts(reply *dns.Msg) []string {
	var all []string
	for _, rr := range reply.Answer {
		if txt, ok := rr.(*dns.TXT); ok {
			all = append(all, strings.Join(txt.Txt, ""))
		}
	}
	return all
}

func wantRcode(t *testing.T, reply *dns.Msg, want int) {
	t.Helper()
	if reply.Rcode != want {
		t.Errorf("the server answered %s, want %s", dns.RcodeToString[reply.Rcode], dns.RcodeToString[want])
	}
}

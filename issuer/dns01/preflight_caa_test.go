package dns01

import (
	"net"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/anycert/anycert/internal/testenv"
)

// TestCAA reads record sets as RFC 8659 and RFC 8657 have it.
func TestCAA(t *testing.T) {
	const account = "https://ca.example.org/acct/1"
	tests := []struct {
		name     string
		records  string // parted by "|"
		wildcard bool
		account  string
		want     string // what is said; "!" before it: it blocks; empty: permitted
	}{
		{"this CA", `0 issue "ca.example.org"`, false, account, ""},
		{"in other letters", `0 ISSUE " CA.Example.ORG "`, false, account, ""},
		{"one of several", `0 issue "ca.example.net"|0 issue "ca.example.org"`, false, account, ""},
		{"another CA", `0 issue "ca.example.net"`, false, account, `!example.com. IN CAA 0 issue "ca.example.net" does not permit this CA: add example.com. IN CAA 0 issue "ca.example.org"`},
		{"nobody", `0 issue ";"`, false, account, `!0 issue ";" does not permit`},
		{"empty", `0 issue ""`, false, account, "!does not permit"},
		{"what does not parse", `0 issue "ca.example.org; policy"`, false, account, "!does not permit"},
		{"a final semicolon", `0 issue "ca.example.org;"`, false, account, ""},
		{"unknown parameters", `0 issue "ca.example.org; policy=ev"`, false, account, ""},
		{"wildcards by issue", `0 issue "ca.example.org"`, true, account, ""},
		{"wildcards by issuewild alone", `0 issue "ca.example.org"|0 issuewild ";"`, true, account, `!issuewild ";" does not permit this CA: add example.com. IN CAA 0 issuewild "ca.example.org"`},
		{"issuewild says nothing of names", `0 issuewild ";"`, false, account, ""},
		{"names by issue alone", `0 issue ";"|0 issuewild "ca.example.org"`, false, account, "!does not permit"},
		{"no issue at all", `0 iodef "mailto:ops@example.com"`, false, account, ""},
		{"unknown", `0 tbs "unknown"`, false, account, ""},
		{"unknown and critical", `128 tbs "unknown"|0 issue "ca.example.org"`, false, account, "!is critical, and no CA knows the tag tbs"},
		{"known and critical", `128 issue "ca.example.org"`, false, account, ""},
		{"this account", `0 issue "ca.example.org; accounturi=` + account + `"`, false, account, ""},
		{"another account", `0 issue "ca.example.org; accounturi=https://ca.example.org/acct/2"`, false, account, "!permits another account than this issuer's: write accounturi=" + account},
		{"this account, by an older URL", `0 issue "ca.example.org; accounturi=https://v1.ca.example.org/reg/1"`, false, account, "permits another account"},
		{"maybe the first of two", `0 issue "ca.example.org; accounturi=` + account + `"|0 issue "ca.example.org; validationmethods=http-01"`, false, "", "this issuer has none yet"},
		{"no account yet", `0 issue "ca.example.org; accounturi=https://ca.example.org/acct/2"`, false, "", "this issuer has none yet"},
		{"two accounts in one record", `0 issue "ca.example.org; accounturi=` + account + `; accounturi=` + account + `"`, false, account, "!permits another account"},
		{"two records", `0 issue "ca.example.org; accounturi=https://ca.example.org/acct/2"|0 issue "ca.example.org; accounturi=` + account + `"`, false, account, ""},
		{"dns-01", `0 issue "ca.example.org; validationmethods=http-01,DNS-01"`, false, account, ""},
		{"another method", `0 issue "ca.example.org; validationmethods=http-01"`, false, account, "!does not permit validation by dns-01"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := &preflight{about: About{CAs: []string{"ca.example.org"}, Account: test.account}}
			var records []*dns.CAA
			for text := range strings.SplitSeq(test.records, "|") {
				rr, err := dns.NewRR("example.com. 60 IN CAA " + text)
				if err != nil {
					t.Fatal(err)
				}
				records = append(records, rr.(*dns.CAA))
			}
			said, blocks := strings.CutPrefix(test.want, "!")
			switch got := p.judgeCAA(records, test.wildcard); {
			case (got == nil) != (said == ""):
				t.Errorf("got %+v, want %q", got, test.want)
			case got != nil && (!strings.Contains(got.text, said) || got.unsure == blocks):
				t.Errorf("got %+v, want %q", *got, test.want)
			}
		})
	}
}

// TestCAAIsFoundByClimbing: the closest name that has records decides, a CNAME on the
// way is followed, and what it leads to has no parents (RFC 8659, section 3).
func TestCAAIsFoundByClimbing(t *testing.T) {
	server := testenv.DNS(t, "example.com", "example.org")
	add(t, server,
		`example.com. 60 IN CAA 0 issue "ca.example.net"`,
		`free.example.com. 60 IN CAA 0 issue "ca.example.org"`,
		"alias.free.example.com. 60 IN CNAME strict.example.org.", `strict.example.org. 60 IN CAA 0 issue ";"`,
		"bare.free.example.com. 60 IN CNAME www.example.org.", `example.org. 60 IN CAA 0 issue ";"`)
	server.FailQueries("dark.example.com", dns.RcodeServerFailure)
	const forbids = `!example.com. IN CAA 0 issue "ca.example.net" does not permit this CA`
	solver := solverAt(t, server, &memory{})
	for domain, texts := range map[string][]string{
		"a.b.example.com":        {"!a.b.example.com: " + forbids[1:]},
		"*.b.example.com":        {"!*.b.example.com: " + forbids[1:]},
		"a.free.example.com":     nil,
		"*.free.example.com":     nil,
		"alias.free.example.com": {`!strict.example.org. IN CAA 0 issue ";" does not permit this CA: add strict.example.org. IN CAA`},
		"bare.free.example.com":  nil,
		"x.dark.example.com":     {"whether CAA records permit the CA is not known: looking up CAA dark.example.com"},
	} {
		want(t, solver.Preflight(t.Context(), About{Domains: []string{domain}, CAs: []string{"ca.example.org"}}), texts...)
	}
	want(t, solver.Preflight(t.Context(), About{Domains: []string{"example.com"}}), "the CA does not tell what they may call it")
}

// TestCAAThatOnlyTheResolversShow is none of the CA's business: it asks the zone's own name
// servers.
func TestCAAThatOnlyTheResolversShow(t *testing.T) {
	server := testenv.DNS(t, "example.com")
	_, port, _ := net.SplitHostPort(server.Addr)
	packets, err := net.ListenPacket("udp", "127.0.0.7:"+port)
	if err != nil {
		t.Fatal(err)
	}
	outside := &dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, request *dns.Msg) {
		reply := new(dns.Msg).SetReply(request)
		reply.Authoritative = true
		if question := request.Question[0]; question.Qtype == dns.TypeSOA && question.Name == "example.com." {
			soa, _ := dns.NewRR("example.com. 60 IN SOA ns2.example.com. hostmaster.example.com. 1000000 3600 600 86400 60")
			reply.Answer = []dns.RR{soa}
		}
		_ = w.WriteMsg(reply)
	})}
	served := make(chan error, 1)
	go func() { served <- outside.ActivateAndServe() }()
	t.Cleanup(func() { _ = packets.Close(); <-served })
	add(t, server, "example.com. 60 IN NS ns2.example.com.", "ns2.example.com. 60 IN A 127.0.0.7", `example.com. 60 IN CAA 0 issue "ca.example.net"`)
	want(t, solverAt(t, server, &memory{}).Preflight(t.Context(), About{Domains: []string{"www.example.com"}, CAs: []string{"ca.example.org"}}),
		"has serial", "which permit it")
}

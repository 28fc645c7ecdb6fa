package nameserver_test

import (
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/nameserver"
)

func TestUpdates(t *testing.T) {
	for name, start := range map[string]func(testing.TB, ...string) *nameserver.Server{
		"BIND": testenv.BIND, "Knot": testenv.Knot,
	} {
		t.Run(name, func(t *testing.T) {
			server := start(t, "example.com", "example.org")
			const txt = `_acme-challenge.example.org. 60 IN TXT "one"`
			if rcode := update(t, server, server.Secret, txt); rcode != dns.RcodeSuccess {
				t.Errorf("a TXT record: %s", dns.RcodeToString[rcode])
			}
			if n := len(query(t, server, "_acme-challenge.example.org.", dns.TypeTXT)); n != 1 {
				t.Errorf("%d TXT records are served, want 1", n)
			}
			if rcode := update(t, server, server.Secret, "www.example.org. 60 IN A 192.0.2.1"); rcode == dns.RcodeSuccess {
				t.Error("an A record was accepted")
			}
			if rcode := update(t, server, "d3Jvbmc=", txt); rcode == dns.RcodeSuccess {
				t.Error("an update with another key was accepted")
			}
		})
	}
}

// patience is for a busy machine: miekg/dns gives up after two seconds.
const patience = 20 * time.Second

func update(t *testing.T, server *nameserver.Server, secret, record string) int {
	t.Helper()
	rr, err := dns.NewRR(record)
	if err != nil {
		t.Fatal(err)
	}
	message := new(dns.Msg).SetUpdate("example.org.")
	message.Insert([]dns.RR{rr})
	message.SetTsig(nameserver.KeyName, nameserver.Algorithm, 300, time.Now().Unix())
	client := &dns.Client{Timeout: patience, TsigSecret: map[string]string{nameserver.KeyName: secret}}
	reply, _, err := client.Exchange(message, server.Addr)
	if reply == nil {
		t.Fatal(err) // a refusal is not signed, which is an error too
	}
	return reply.Rcode
}

func query(t *testing.T, server *nameserver.Server, name string, kind uint16) []dns.RR {
	t.Helper()
	reply, _, err := (&dns.Client{Timeout: patience}).Exchange(new(dns.Msg).SetQuestion(name, kind), server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	return reply.Answer
}

package dns01

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/anycert/anycert"
)

// A server that does not take the key answers NOTAUTH, signed as it can: what it
// says is told, not that its signature is bad (RFC 8945, section 5.2).
func TestRefusedUpdateSaysWhatTheServerSaid(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accept := func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept } // updates too
	server := &dns.Server{Listener: listener, MsgAcceptFunc: accept, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, request *dns.Msg) {
		reply := new(dns.Msg).SetRcode(request, dns.RcodeNotAuth)
		reply.Extra = append(reply.Extra, &dns.TSIG{
			Hdr:       dns.RR_Header{Name: "key.", Rrtype: dns.TypeTSIG, Class: dns.ClassANY},
			Algorithm: dns.HmacSHA256, Fudge: 300, OrigId: request.Id, Error: dns.RcodeBadKey,
		})
		_ = w.WriteMsg(reply)
	})}
	served := make(chan error, 1)
	go func() { served <- server.ActivateAndServe() }()
	defer func() { _ = server.Shutdown(); <-served }()

	b := &rfc2136{server: listener.Addr().String(), zones: []string{"example.com"}, key: "key",
		algorithm: dns.HmacSHA256, secret: "c2VjcmV0", perExchange: 10e9}
	err = b.present(t.Context(), record{name: "_acme-challenge.example.com."})
	if !errors.Is(err, anycert.ErrForbidden) || !strings.Contains(err.Error(), "answers NOTAUTH") || !strings.Contains(err.Error(), "it may not change this name") {
		t.Errorf("got %v", err)
	}
}

package topologies

import (
	"context"
	"io"
	stdnet "net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/nameserver"
	"github.com/anycert/anycert/issuer"
	"github.com/anycert/anycert/issuer/dns01"
)

// closed is where the name servers cannot be asked from: nobody answers at their
// addresses, and the one that is updated takes updates over TCP and nothing else. With
// the resolvers alone, or after a wait, certificates are issued, and nobody else was
// asked anything; else it is said what is closed, and nothing is refused.
func (n *net) closed(t *testing.T, ca *acmeserver.Server) {
	silent := listen(t, n.mainAddress, n.rootAddress)
	updates := forward(t, n.main.Addr)
	certificate := anycert.Certificate{Name: "closed", Issuer: "pebble", KeyType: anycert.EC256, Domains: []string{n.at("closed"), "*." + n.at("closed")}}
	config := issuer.Config{Directory: ca.URL, CABundle: n.roots, DNS: dns01.Config{n.provider(&nameserver.Server{Addr: updates}, "MAIN")}}
	config.DNS[0].Settings["DNSUPDATE_TTL"] = dns01.Setting{Plain: "1"} // the CA's resolver is to forget
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for name, propagation := range map[string]dns01.Propagation{"recursive": dns01.Recursive, "wait": dns01.Wait(1500 * time.Millisecond)} {
		config.Propagation = propagation
		made := n.issuer(t, config, silent.port)
		if warnings, err := made.Probe(ctx, "pebble", []anycert.Certificate{certificate}, true); err != nil || len(warnings) > 0 {
			t.Errorf("%s: check --connect says %v, %q", name, err, warnings)
		}
		for attempt := range 2 { // the first one and a renewal
			certificate := certificate
			certificate.KeyType = []anycert.KeyType{anycert.EC256, anycert.EC384}[attempt]
			if _, err := made.Obtain(ctx, certificate); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			n.clean(t, "_acme-challenge."+n.at("closed"))
		}
		if asked := silent.asked.Load(); asked > 0 {
			t.Errorf("%s: name servers were asked %d times", name, asked)
		}
	}

	config.Propagation = dns01.Authoritative // the server that is updated is asked for its zones
	config.DNS[0].Settings["DNSUPDATE_ZONES"] = dns01.Setting{Plain: n.at("closed")}
	warnings, err := n.issuer(t, config, silent.port).Probe(ctx, "pebble", []anycert.Certificate{certificate}, true)
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "if port 53 is closed to them from here, write propagation: recursive") || silent.asked.Load() == 0 {
		t.Errorf("authoritative: %v, %q", err, warnings)
	}
}

// silence is a port where whatever comes is counted, and nothing answered.
type silence struct {
	port  string
	asked atomic.Int64
}

func listen(t *testing.T, addresses ...string) *silence {
	t.Helper()
	s := &silence{port: "0"}
	for _, address := range addresses {
		udp, err := stdnet.ListenPacket("udp", stdnet.JoinHostPort(address, s.port))
		if err != nil {
			t.Fatal(err)
		}
		tcp, err := stdnet.Listen("tcp", udp.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { udp.Close(); tcp.Close() })
		_, s.port, _ = stdnet.SplitHostPort(udp.LocalAddr().String())
		go func() {
			for {
				if _, _, err := udp.ReadFrom(make([]byte, 1<<16)); err != nil {
					return
				}
				s.asked.Add(1)
			}
		}()
		go func() {
			for {
				connection, err := tcp.Accept()
				if err != nil {
					return
				}
				s.asked.Add(1)
				connection.Close()
			}
		}()
	}
	return s
}

// forward passes TCP connections on, and nothing else.
func forward(t *testing.T, to string) (address string) {
	t.Helper()
	listener, err := stdnet.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer client.Close()
				server, err := stdnet.Dial("tcp", to)
				if err != nil {
					return
				}
				defer server.Close()
				go func() { _, _ = io.Copy(server, client) }()
				_, _ = io.Copy(client, server)
			}()
		}
	}()
	return listener.Addr().String()
}

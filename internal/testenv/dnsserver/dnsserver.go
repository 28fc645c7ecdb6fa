// Package dnsserver is an authoritative DNS server in process: zones in memory,
// dynamic updates (RFC 2136) signed with TSIG (RFC 8945), over UDP and TCP on
// one loopback port. It answers as a resolver of its own small world as well:
// it follows CNAMEs across its zones and denies that anything else exists.
package dnsserver

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// The TSIG key's name and algorithm; its secret is new for each server.
const (
	KeyName   = "acme."
	Algorithm = dns.HmacSHA256
)

// Server is a running DNS server. Its methods may be called by several
// goroutines at once.
type Server struct {
	Addr   string // 127.0.0.1:PORT, UDP and TCP
	Secret string // of the TSIG key, in base64

	servers []*dns.Server

	mu      sync.Mutex
	zones   map[string]*zone // by canonical name
	updates []Update
	refused map[string]bool // names whose updates are refused
	failing map[string]int  // names whose queries fail, and the code
}

// Start starts a server that is authoritative for zones, such as "example.com".
func Start(zones ...string) (*Server, error) {
	secret := make([]byte, 32)
	rand.Read(secret) // never fails, see its documentation
	s := &Server{
		Secret:  base64.StdEncoding.EncodeToString(secret),
		zones:   map[string]*zone{},
		refused: map[string]bool{},
		failing: map[string]int{},
	}
	for _, name := range zones {
		s.AddZone(name)
	}
	tcp, udp, err := listen()
	if err != nil {
		return nil, fmt.Errorf("starting a DNS server: %w", err)
	}
	s.Addr = tcp.Addr().String()
	for _, server := range []*dns.Server{{Listener: tcp}, {PacketConn: udp}} {
		server.Handler = dns.HandlerFunc(s.serve)
		server.TsigSecret = map[string]string{KeyName: s.Secret}
		server.MsgAcceptFunc = acceptAll
		started := make(chan error, 1)
		server.NotifyStartedFunc = func() { started <- nil }
		go func() { started <- server.ActivateAndServe() }()
		if err := <-started; err != nil {
			s.Close()
			return nil, fmt.Errorf("starting a DNS server: %w", err)
		}
		s.servers = append(s.servers, server)
	}
	return s, nil
}

// Close ends the server.
func (s *Server) Close() {
	for _, server := range s.servers {
		_ = server.Shutdown()
	}
}

// listen opens one port for both protocols: the kernel picks it for TCP, and
// if another program has it for UDP, the next one is tried.
func listen() (net.Listener, net.PacketConn, error) {
	var failures error
	for range 20 {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, err
		}
		udp, err := net.ListenPacket("udp", tcp.Addr().String())
		if err == nil {
			return tcp, udp, nil
		}
		tcp.Close()
		failures = errors.Join(failures, err)
	}
	return nil, nil, failures
}

// acceptAll lets updates through, which the library's default refuses.
func acceptAll(h dns.Header) dns.MsgAcceptAction {
	const response = 1 << 15
	if h.Bits&response != 0 {
		return dns.MsgIgnore
	}
	return dns.MsgAccept
}

// serve answers one message.
func (s *Server) serve(w dns.ResponseWriter, request *dns.Msg) {
	reply := new(dns.Msg).SetReply(request)
	reply.RecursionAvailable = true
	switch {
	case len(request.Question) != 1:
		reply.Rcode = dns.RcodeFormatError
	case request.Opcode == dns.OpcodeUpdate:
		reply.Rcode = s.update(request, w.TsigStatus())
	case request.Opcode == dns.OpcodeQuery:
		s.query(reply, request.Question[0])
	default:
		reply.Rcode = dns.RcodeNotImplemented
	}
	if tsig := request.IsTsig(); tsig != nil && w.TsigStatus() == nil {
		reply.SetTsig(tsig.Hdr.Name, tsig.Algorithm, 300, time.Now().Unix())
	}
	if _, overUDP := w.RemoteAddr().(*net.UDPAddr); overUDP {
		size := dns.MinMsgSize
		if edns := request.IsEdns0(); edns != nil {
			size = int(edns.UDPSize())
		}
		reply.Truncate(size)
	}
	_ = w.WriteMsg(reply) // whoever asked has gone: nobody is left to tell
}

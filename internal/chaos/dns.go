package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/miekg/dns"
)

// names stands between the daemon and the DNS server, over UDP and TCP. Messages are
// passed on to the byte: updates are signed.
type names struct {
	gate   *gate
	target string // host:port
	addr   string // own
	udp    net.PacketConn
	tcp    net.Listener
}

// patience is for one answer of the DNS server.
const patience = 5 * time.Second

func startNames(g *gate, target string) (*names, error) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	udp, err := net.ListenPacket("udp", tcp.Addr().String())
	if err != nil {
		tcp.Close()
		return nil, err
	}
	n := &names{gate: g, target: target, addr: tcp.Addr().String(), udp: udp, tcp: tcp}
	go n.serveUDP()
	go n.serveTCP()
	return n, nil
}

func (n *names) close() {
	n.udp.Close()
	n.tcp.Close()
}

func (n *names) serveUDP() {
	buffer := make([]byte, dns.MaxMsgSize)
	for {
		length, from, err := n.udp.ReadFrom(buffer)
		if err != nil {
			return // closed
		}
		question := append([]byte(nil), buffer[:length]...)
		life := n.gate.now.Load()
		go func() {
			if answer := n.ask(life, "udp", question); answer != nil {
				_, _ = n.udp.WriteTo(answer, from)
			}
		}()
	}
}

func (n *names) serveTCP() {
	for {
		client, err := n.tcp.Accept()
		if err != nil {
			return // closed
		}
		life := n.gate.now.Load()
		go func() {
			defer client.Close()
			for {
				question, err := readMessage(client)
				if err != nil {
					return
				}
				answer := n.ask(life, "tcp", question)
				if answer == nil || writeMessage(client, answer) != nil {
					return
				}
			}
		}()
	}
}

// ask passes a question on: nil when there is no answer for a daemon.
func (n *names) ask(life *life, network string, question []byte) (answer []byte) {
	call := nameDNS(question)
	if life.diesAt(point{call: call}) {
		return nil
	}
	server, err := net.DialTimeout(network, n.target, patience)
	if err != nil {
		return nil
	}
	defer server.Close()
	_ = server.SetDeadline(time.Now().Add(patience))
	if network == "tcp" {
		if err = writeMessage(server, question); err == nil {
			answer, err = readMessage(server)
		}
	} else if _, err = server.Write(question); err == nil {
		buffer := make([]byte, dns.MaxMsgSize)
		var length int
		length, err = server.Read(buffer)
		answer = buffer[:length]
	}
	if err != nil || life.diesAt(point{call: call, after: true}) {
		return nil
	}
	return answer
}

// Messages over TCP follow their length (RFC 1035, section 4.2.2).
func readMessage(from io.Reader) ([]byte, error) {
	var length uint16
	if err := binary.Read(from, binary.BigEndian, &length); err != nil {
		return nil, err
	}
	message := make([]byte, length)
	_, err := io.ReadFull(from, message)
	return message, err
}

func writeMessage(to io.Writer, message []byte) error {
	_, err := to.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...))
	return err
}

// nameDNS names a message by what it asks for.
func nameDNS(text []byte) string {
	message := new(dns.Msg)
	if err := message.Unpack(text); err != nil || len(message.Question) != 1 {
		return "dns nonsense"
	}
	if message.Opcode != dns.OpcodeUpdate {
		return fmt.Sprintf("dns query %s", dns.TypeToString[message.Question[0].Qtype])
	}
	for _, change := range message.Ns {
		if change.Header().Class == dns.ClassINET {
			return "dns update, adds"
		}
	}
	return "dns update, removes"
}

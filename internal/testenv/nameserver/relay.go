package nameserver

import (
	"errors"
	"io"
	"net"
	"time"
)

// relay passes what comes to one address on to another. BIND listens at the addresses
// of interfaces alone, and the loopback interface has but one of its 16 million.
type relay struct {
	to  string
	tcp net.Listener
	udp net.PacketConn
}

func startRelay(from, to string) (*relay, error) {
	tcp, err := net.Listen("tcp", from)
	if err != nil {
		return nil, err
	}
	udp, err := net.ListenPacket("udp", from)
	if err != nil {
		return nil, errors.Join(err, tcp.Close())
	}
	r := &relay{to, tcp, udp}
	go r.streams()
	go r.datagrams()
	return r, nil
}

// Close ends the relay, and what is passed on over it in time.
func (r *relay) Close() {
	_ = r.tcp.Close()
	_ = r.udp.Close()
}

func (r *relay) streams() {
	for {
		client, err := r.tcp.Accept()
		if err != nil {
			return // closed
		}
		go func() {
			defer client.Close()
			server, err := net.Dial("tcp", r.to)
			if err != nil {
				return
			}
			defer server.Close()
			go func() {
				_, _ = io.Copy(server, client)
				_ = server.(*net.TCPConn).CloseWrite()
			}()
			_, _ = io.Copy(client, server)
		}()
	}
}

func (r *relay) datagrams() {
	for {
		question := make([]byte, 1<<16)
		n, client, err := r.udp.ReadFrom(question)
		if err != nil {
			return // closed
		}
		go func() {
			server, err := net.Dial("udp", r.to)
			if err != nil {
				return
			}
			defer server.Close()
			const patience = 20 * time.Second // as long as a resolver works at one question
			_ = server.SetDeadline(time.Now().Add(patience))
			answer := make([]byte, 1<<16)
			if _, err := server.Write(question[:n]); err != nil {
				return
			}
			if n, err := server.Read(answer); err == nil {
				_, _ = r.udp.WriteTo(answer[:n], client)
			}
		}()
	}
}

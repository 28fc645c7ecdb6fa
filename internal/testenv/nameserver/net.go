package nameserver

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Net are loopback addresses with one common port, for servers that know each other by
// NS records. Each Net has addresses of its own, so that nobody else is at their port.
type Net struct {
	Port string

	network string // "127.1.2."
	given   int
}

// NewNet picks addresses and a port that are free, below those that the kernel gives
// to others by itself.
func NewNet() (*Net, error) {
	var failures error
	for range 20 {
		n := &Net{Port: strconv.Itoa(10000 + rand.IntN(20000)), network: fmt.Sprintf("127.%d.%d.", 1+rand.IntN(250), rand.IntN(250))}
		err := n.free()
		if err == nil {
			return n, nil
		}
		failures = errors.Join(failures, err)
	}
	return nil, fmt.Errorf("picking a port: %w", failures)
}

func (n *Net) free() error {
	tcp, err := net.Listen("tcp", net.JoinHostPort(n.network+"1", n.Port))
	if err != nil {
		return err
	}
	udp, err := net.ListenPacket("udp", tcp.Addr().String())
	if err == nil {
		err = udp.Close()
	}
	return errors.Join(err, tcp.Close())
}

// Next is an address that was not given yet, without the port.
func (n *Net) Next() string {
	n.given++
	return n.network + strconv.Itoa(n.given)
}

// At completes an address.
func (n *Net) At(address string) string { return net.JoinHostPort(address, n.Port) }

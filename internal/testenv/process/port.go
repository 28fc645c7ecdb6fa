package process

import (
	"fmt"
	"net"
	"strconv"
)

// FreePort picks a loopback TCP port for a child that cannot report one it
// picked itself. A connection to it is opened and closed first: the port then
// rests in TIME_WAIT, so the kernel gives it to nobody else for a minute, while
// a server, which sets SO_REUSEADDR, may still listen on it.
func FreePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("picking a port: %w", err)
	}
	defer listener.Close()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return 0, fmt.Errorf("picking a port: %w", err)
	}
	defer client.Close()
	server, err := listener.Accept()
	if err != nil {
		return 0, fmt.Errorf("picking a port: %w", err)
	}
	server.Close() // first, so that TIME_WAIT is on the side of the port
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// FreeAddr is FreePort as 127.0.0.1:PORT.
func FreeAddr() (string, error) {
	port, err := FreePort()
	if err != nil {
		return "", err
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), nil
}

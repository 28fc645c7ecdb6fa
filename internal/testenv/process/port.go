package process

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
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

// Hold takes a loopback TCP address at which nobody listens: connections to it are
// refused, and until release the kernel gives it to nobody else. A server, which sets
// SO_REUSEADDR, may listen on it meanwhile, and again after it closed.
func Hold() (addr string, release func(), err error) {
	syscall.ForkLock.RLock() // no child is to hold it as well
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(socket)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return "", nil, fmt.Errorf("picking a port: %w", err)
	}
	release = func() { _ = syscall.Close(socket) }
	err = errors.Join(syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1),
		syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	if err != nil {
		release()
		return "", nil, fmt.Errorf("picking a port: %w", err)
	}
	name, err := syscall.Getsockname(socket)
	if err != nil {
		release()
		return "", nil, fmt.Errorf("picking a port: %w", err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(name.(*syscall.SockaddrInet4).Port)), release, nil
}

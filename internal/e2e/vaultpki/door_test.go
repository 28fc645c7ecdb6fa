package vaultpki

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/anycert/anycert/internal/testenv/process"
)

// door is an address that leads to a server while it is open, and refuses connections
// while it is closed.
type door struct {
	t      *testing.T
	Addr   string // host:port
	behind string

	mu       sync.Mutex
	listener net.Listener // nil while closed
	within   []net.Conn
}

// newDoor makes an open one. Its end is the test's.
func newDoor(t *testing.T, behind string) *door {
	t.Helper()
	addr, release, err := process.Hold() // while it is closed, too
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	d := &door{t: t, Addr: addr, behind: behind}
	d.open()
	t.Cleanup(d.close)
	return d
}

// open listens, each time at the same address.
func (d *door) open() {
	d.t.Helper()
	listener, err := net.Listen("tcp", d.Addr)
	if err != nil {
		d.t.Fatal(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.listener = listener
	go d.serve(listener)
}

// close also ends what has come in.
func (d *door) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.listener == nil {
		return
	}
	_ = d.listener.Close()
	for _, connection := range d.within {
		_ = connection.Close()
	}
	d.listener, d.within = nil, nil
}

func (d *door) serve(listener net.Listener) {
	for {
		near, err := listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", d.behind)
		if err != nil {
			_ = near.Close()
			continue
		}
		d.mu.Lock()
		if d.listener == nil {
			_, _ = near.Close(), far.Close()
		}
		d.within = append(d.within, near, far)
		d.mu.Unlock()
		for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
			go func() {
				_, _ = io.Copy(way[0], way[1])
				_, _ = way[0].Close(), way[1].Close()
			}()
		}
	}
}

// through is an address with the door's in the place of the server's.
func (d *door) through(url string) string { return strings.Replace(url, d.behind, d.Addr, 1) }

// Package fastlytest stands in for the part of Fastly's API that deals with TLS:
// private keys, custom certificates, activations, TLS configurations,
// subscriptions, mutual authentication and TLS domains
// (https://www.fastly.com/documentation/reference/api/tls/custom-certs/).
//
// Fastly has no server to run offline. This one answers as the recorded exchanges
// of the module go-fastly do, and a test holds it against them; where they are
// silent it follows the documentation, and where that is silent too it makes the
// stricter guess. [Refusals] lists what it refuses, and on what ground. That a real
// account behaves the same is not proven by any test against this package.
//
// It does not import package testing: demos run it too.
package fastlytest

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// Options say what the account has before anything is uploaded.
type Options struct {
	Token          string   // the only one that is accepted
	Configurations []string // ids of its TLS configurations
}

// Server is one account. Its methods may be called by many goroutines at once.
type Server struct {
	URL string // of the API

	options Options
	server  *http.Server
	routes  *http.ServeMux

	mu            sync.Mutex
	keys          []*key
	certificates  []*certificate
	activations   []*activation
	subscriptions []*subscription
	mutual        []*mutualAuthentication
	requests      []Request
	remaining     int       // writes left until reset
	reset         time.Time // when remaining is refilled
	faults        faults
}

// Request is one that was received, refused ones included.
type Request struct{ Method, Path string }

// IsWrite reports whether the request is of a kind that changes something. Fastly
// counts these against the limit.
func (r Request) IsWrite() bool { return r.Method != http.MethodGet && r.Method != http.MethodHead }

// The limit of writes an hour
// (https://www.fastly.com/documentation/reference/api/#rate-limiting).
const writesAnHour = 1000

// New makes a stand-in that listens nowhere: it is an http.Handler.
func New(options Options) *Server {
	s := &Server{options: options, remaining: writesAnHour, reset: time.Now().Add(time.Hour)}
	s.routes = s.router()
	return s
}

// Start makes a stand-in that listens on a loopback port that the kernel picks.
// Close stops it.
func Start(options Options) (*Server, error) {
	s := New(options)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("fastlytest: %w", err)
	}
	s.URL = "http://" + listener.Addr().String()
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.server.Serve(listener) }()
	return s, nil
}

// Close stops what Start began, and answers whatever hangs.
func (s *Server) Close() error {
	s.Hang(false)
	if s.server == nil {
		return nil
	}
	return s.server.Close()
}

// Requests lists what was received, in order.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Count counts the requests of one method to one path, without the query.
func (s *Server) Count(method, path string) int {
	n := 0
	for _, request := range s.Requests() {
		if request == (Request{method, path}) {
			n++
		}
	}
	return n
}

// Writes counts the requests that would change something, refused ones included.
func (s *Server) Writes() int {
	n := 0
	for _, request := range s.Requests() {
		if request.IsWrite() {
			n++
		}
	}
	return n
}

// newID makes an id of the form that Fastly's have: 22 letters and digits.
func newID() string {
	const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	id := make([]byte, 22)
	_, _ = rand.Read(id) // never fails
	for i, b := range id {
		id[i] = letters[int(b)%len(letters)]
	}
	return string(id)
}

// now is the server's clock, in the whole seconds that the API shows.
func now() time.Time { return time.Now().UTC().Truncate(time.Second) }

// Package flytest stands in for Fly.io: the certificates part of the Machines API,
// and the edge that serves what was imported.
//
// Fly.io has no server to run offline and no recorded exchanges, so this one is
// built after its documentation (https://fly.io/docs/machines/api/certificates-resource/)
// and held against the types of the client github.com/superfly/fly-go/flaps. Where
// neither says anything it is the stricter of the two guesses; [Refusals] lists what
// it refuses, and on what ground. That a real account behaves the same is not proven
// by any test against this package.
//
// It does not import package testing: demos run it too.
package flytest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Options say what the stand-in knows and how it behaves. The zero value is an API
// that knows no app.
type Options struct {
	// Apps are the apps that exist, each with the token that may manage it.
	Apps map[string]string

	// RateLimit turns on Fly.io's limit: a request a second for an action and app,
	// three at once. Beyond it the answer is 429.
	RateLimit bool

	// TXT looks up a TXT record, to see by itself whether an ownership record is
	// there. Nil: only ConfirmOwnership makes a record known.
	TXT func(name string) ([]string, error)

	// Forbidden is told of every call that a sink must never make: those that
	// remove a hostname with all it has, or touch Fly.io's own certificates.
	// The call is carried out all the same.
	Forbidden func(call string)
}

// Server is one stand-in. Its methods may be called by many goroutines at once.
type Server struct {
	URL  string // of the API
	Edge string // host:port where the imported certificates are served over TLS

	options Options
	api     *http.Server
	edge    net.Listener

	mu       sync.Mutex
	apps     map[string]*app
	limiters map[string]*rate.Limiter
	limited  bool
	requests map[string]int
	writes   int
	faults   faults
}

// app is one app with its hostnames, and what the DNS says of it.
type app struct {
	name, token string
	hosts       map[string]*host
	txt         map[string]bool // names whose TXT record holds the app's value
	pointed     map[string]bool // hostnames that point at the app
}

// New makes a stand-in that listens nowhere: Handler answers for its API.
func New(options Options) *Server {
	s := &Server{
		options:  options,
		apps:     map[string]*app{},
		limiters: map[string]*rate.Limiter{},
		limited:  options.RateLimit,
		requests: map[string]int{},
	}
	for name, token := range options.Apps {
		s.apps[name] = &app{
			name: name, token: token,
			hosts: map[string]*host{}, txt: map[string]bool{}, pointed: map[string]bool{},
		}
	}
	return s
}

// Start makes a stand-in and lets its API and its edge listen on loopback ports
// that the kernel picks. Close stops it.
func Start(options Options) (*Server, error) {
	s := New(options)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("flytest: %w", err)
	}
	s.edge, err = tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: s.certificate})
	if err != nil {
		listener.Close()
		return nil, fmt.Errorf("flytest: %w", err)
	}
	s.URL, s.Edge = "http://"+listener.Addr().String(), s.edge.Addr().String()
	s.api = &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.api.Serve(listener) }()
	go s.serveEdge()
	return s, nil
}

// Close stops what Start began, and answers whatever hangs.
func (s *Server) Close() error {
	s.Hang(false)
	if s.api == nil {
		return nil
	}
	return errors.Join(s.api.Close(), s.edge.Close())
}

// serveEdge ends each connection after its handshake: there is no app behind it.
func (s *Server) serveEdge() {
	for {
		connection, err := s.edge.Accept()
		if err != nil {
			return
		}
		go func() {
			_ = connection.SetDeadline(time.Now().Add(10 * time.Second))
			_ = connection.(*tls.Conn).Handshake()
			connection.Close()
		}()
	}
}

// certificate is what the edge serves: the hostname itself before a wildcard, and
// for each the custom certificate before Fly.io's own.
func (s *Server) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range []string{hello.ServerName, wildcardOf(hello.ServerName)} {
		for _, app := range s.apps {
			if certificate := app.hosts[name].serves(); certificate != nil {
				return certificate, nil
			}
		}
	}
	return nil, fmt.Errorf("no certificate is active for %q", hello.ServerName)
}

// Requests counts the requests of an action so far, refused ones included. The
// actions are those of flaps: "list", "get", "create_custom", "delete_custom",
// "create_acme", "delete_acme", "delete", "check"; "" counts all.
func (s *Server) Requests(action string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if action != "" {
		return s.requests[action]
	}
	total := 0
	for _, n := range s.requests {
		total += n
	}
	return total
}

// Writes counts the requests that changed something.
func (s *Server) Writes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

// LimitRate switches Fly.io's rate limit on or off.
func (s *Server) LimitRate(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limited = on
	clear(s.limiters)
}

// Custom returns what is imported for a hostname as PEM, or two empty texts. The
// real API shows neither.
func (s *Server) Custom(appName, hostname string) (fullchain, privateKey []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if host := s.host(appName, hostname); host != nil && host.custom != nil {
		return []byte(host.custom.fullchain), []byte(host.custom.key)
	}
	return nil, nil
}

// Hostnames lists what an app knows, sorted.
func (s *Server) Hostnames(appName string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.apps[appName].hostnames()
}

// allow takes one request from the budget of an action and app.
func (s *Server) allow(action, appName string) bool {
	if !s.limited {
		return true
	}
	key := action + " " + appName
	if s.limiters[key] == nil {
		s.limiters[key] = rate.NewLimiter(rate.Every(time.Second), 3)
	}
	return s.limiters[key].Allow()
}

// host returns a hostname's record, or nil.
func (s *Server) host(appName, hostname string) *host {
	if app := s.apps[appName]; app != nil {
		return app.hosts[hostname]
	}
	return nil
}

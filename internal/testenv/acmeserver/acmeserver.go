// Package acmeserver runs Pebble, the ACME server that is hostile by design, in
// process over TLS, and keeps records of what was asked of it and issued.
package acmeserver

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"

	"github.com/anycert/anycert/internal/testenv/certs"
)

// Options vary the server. Resolver is needed, all else has defaults.
type Options struct {
	Resolver string // host:port of the DNS server that validation asks, over TCP

	// Profiles are those offered. Default: default (90 days), tlsserver (45
	// days) and shortlived (160 hours). An order without a profile gets any of
	// them, by Pebble's dice.
	Profiles map[string]time.Duration

	// EAB maps key ids to MAC keys in base64url. If there are any, an account
	// needs one (RFC 8555, section 7.3.4).
	EAB map[string]string

	RejectNonces    int // per cent of good nonces refused; 0 is Pebble's 5, -1 none
	ReuseAuthz      int // per cent of authorizations reused from earlier orders
	AlternateChains int // how many, each with a root of its own
	RetryAfterOrder int // seconds, with an order that is being processed; 0 is none

	// RetryAfterAdvice is seconds, with renewal information; 0 leaves Pebble's six hours.
	RetryAfterAdvice int

	// Impatient answers a challenge before it was tried and without
	// Retry-After, as Pebble does by itself: a client then polls for seconds.
	Impatient bool
}

// Server is a running Pebble. Its methods may be called by several goroutines
// at once.
type Server struct {
	URL   string // of the directory
	CAPEM []byte // to trust for URL, as a config's ca_bundle

	options Options
	db      *db.MemoryStore
	ca      atomic.Pointer[ca.CAImpl]
	pebble  atomic.Pointer[http.Handler]
	server  *http.Server

	intercept   atomic.Pointer[Interceptor]
	leavesAlone atomic.Bool
	registering sync.Mutex   // see front.serve
	authorizing sync.RWMutex // see front.apart

	mu       sync.Mutex
	requests []Request
	orders   []*order
}

// Start starts a server.
func Start(o Options) (*Server, error) {
	if o.Resolver == "" {
		return nil, errors.New("starting Pebble: Options.Resolver is empty, so no challenge could be validated")
	}
	if o.Profiles == nil {
		const day = 24 * time.Hour
		o.Profiles = map[string]time.Duration{"default": 90 * day, "tlsserver": 45 * day, "shortlived": 160 * time.Hour}
	}
	s := &Server{options: o, db: db.NewMemoryStore()}
	for id, key := range o.EAB {
		if err := s.db.AddExternalAccountKeyByID(id, key); err != nil {
			return nil, fmt.Errorf("starting Pebble: %w", err)
		}
	}
	if err := s.SetProfiles(o.Profiles); err != nil {
		return nil, fmt.Errorf("starting Pebble: %w", err)
	}
	pebble := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*s.pebble.Load()).ServeHTTP(w, r) })
	if err := s.listen(front{server: s, pebble: pebble, patient: !o.Impatient}); err != nil {
		return nil, fmt.Errorf("starting Pebble: %w", err)
	}
	return s, nil
}

// Close ends the server and its connections.
func (s *Server) Close() { _ = s.server.Close() }

// SetProfiles has the server offer other profiles from now on, as a CA does after a
// restart: over the same accounts and orders, with new roots. No order may be about to be
// issued.
func (s *Server) SetProfiles(offered map[string]time.Duration) error {
	o := s.options
	o.Profiles = offered
	authority, pebble, err := s.newPebble(o)
	if err != nil {
		return err
	}
	s.ca.Store(authority)
	s.pebble.Store(&pebble)
	return nil
}

// newPebble puts Pebble together as its own main does.
func (s *Server) newPebble(o Options) (authority *ca.CAImpl, handler http.Handler, err error) {
	profiles := map[string]ca.Profile{}
	for name, validity := range o.Profiles {
		profiles[name] = ca.Profile{Description: name, ValidityPeriod: uint64(validity / time.Second)}
	}
	quiet := log.New(io.Discard, "", 0)
	err = withEnvironment(o.environment(), func() {
		authority = ca.New(quiet, s.db, "", "ecdsa", o.AlternateChains, 1, profiles)
		const noPort = 0 // only DNS-01 is used
		validation := va.New(quiet, noPort, noPort, false, o.Resolver, s.db)
		frontEnd := wfe.New(quiet, s.db, validation, authority, []string{"pebble.letsencrypt.org"},
			false, len(o.EAB) > 0, 1, o.RetryAfterOrder)
		handler = frontEnd.Handler()
	})
	return authority, handler, err
}

// environment is how Pebble takes these settings.
func (o Options) environment() map[string]string {
	env := map[string]string{
		"PEBBLE_VA_NOSLEEP": "1",
		"PEBBLE_AUTHZREUSE": strconv.Itoa(o.ReuseAuthz),
	}
	if o.RejectNonces != 0 {
		env["PEBBLE_WFE_NONCEREJECT"] = strconv.Itoa(max(0, o.RejectNonces))
	}
	return env
}

// environmentLock keeps two servers that start at once apart.
var environmentLock sync.Mutex

// withEnvironment calls f with variables set, and puts back what was there.
func withEnvironment(variables map[string]string, f func()) (err error) {
	environmentLock.Lock()
	defer environmentLock.Unlock()
	for name, value := range variables {
		if old, was := os.LookupEnv(name); was {
			defer func() { err = errors.Join(err, os.Setenv(name, old)) }()
		} else {
			defer func() { err = errors.Join(err, os.Unsetenv(name)) }()
		}
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	f()
	return nil
}

// listen serves over TLS with a certificate of its own CA.
func (s *Server) listen(handler http.Handler) error {
	authority, err := certs.NewCA()
	if err != nil {
		return err
	}
	pair, err := authority.Issue(certs.Options{Names: []string{"127.0.0.1", "localhost"}})
	if err != nil {
		return err
	}
	certificate, err := tls.X509KeyPair(pair.ChainPEM, pair.KeyPEM)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.URL, s.CAPEM = "https://"+listener.Addr().String()+wfe.DirectoryPath, authority.PEM()
	s.server = &http.Server{
		Handler:   handler,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
		ErrorLog:  log.New(io.Discard, "", 0), // clients that hang up are not news
	}
	go func() { _ = s.server.ServeTLS(listener, "", "") }() // ends with Close
	return nil
}

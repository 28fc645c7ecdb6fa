package calimits

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"

	"github.com/anycert/anycert/internal/testenv/certs"
)

// Server is a Limiter in front of an ACME server, over TLS.
type Server struct {
	*Limiter
	URL   string // of the directory
	CAPEM []byte // to trust for URL, as a config's ca_bundle

	server *http.Server
}

// Start starts a server in front of the one with a directory, which trusted signed. The
// Host header stays as the client sent it: the addresses that the ACME server names,
// and that clients sign, are then this server's.
func Start(directory string, trusted []byte, l *Limiter) (*Server, error) {
	s, err := start(directory, trusted, l)
	if err != nil {
		return nil, fmt.Errorf("starting the limits in front of %s: %w", directory, err)
	}
	return s, nil
}

func start(directory string, trusted []byte, l *Limiter) (*Server, error) {
	upstream, err := url.Parse(directory)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(trusted)
	authority, err := certs.NewCA()
	if err != nil {
		return nil, err
	}
	pair, err := authority.Issue(certs.Options{Names: []string{"127.0.0.1", "localhost"}})
	if err != nil {
		return nil, err
	}
	certificate, err := tls.X509KeyPair(pair.ChainPEM, pair.KeyPEM)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	quiet := log.New(io.Discard, "", 0) // clients that hang up are not news
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = upstream.Scheme, upstream.Host
			p.Out.Host = p.In.Host
		},
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 16},
		ErrorLog:  quiet,
	}
	s := &Server{Limiter: l, URL: "https://" + listener.Addr().String() + upstream.Path, CAPEM: authority.PEM(),
		server: &http.Server{
			Handler:   l.Handler(proxy),
			TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
			ErrorLog:  quiet,
		}}
	go func() { _ = s.server.ServeTLS(listener, "", "") }() // ends with Close
	return s, nil
}

// Close ends the server and its connections.
func (s *Server) Close() { _ = s.server.Close() }

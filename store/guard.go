package store

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/trusted"
)

// maxAnswer bounds an answer. A raft entry of Vault has 1 MiB at most by default,
// and a list of 50,000 names fits.
const maxAnswer = 4 << 20

// maxRoots bounds a file of CAs, in bytes: all that a system trusts have about 220 KiB.
const maxRoots = 1 << 20

// guard is the transport of every request that carries a token: to one host
// alone, whatever answers say, and back with a bounded answer.
type guard struct {
	scheme, host string
	next         http.RoundTripper
}

func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != g.scheme || r.URL.Host != g.host {
		return nil, unavailable("a request to another host than the configured one was stopped")
	}
	response, err := g.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode >= 300 && response.StatusCode < 400 {
		return nil, unavailable("it redirects to another address, to which no token is sent: name the active node, or what balances the load, as the address")
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("%w: the answer has more than %d bytes", anycert.ErrMalformed, maxAnswer)
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response, nil
}

// newTransport makes the connections. HTTP/2 is off: with GODEBUG=http2debug=2 the
// standard library prints every header and the begin of every body, and so tokens
// and keys.
func newTransport(roots *x509.CertPool) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		Protocols:             protocols,
		TLSClientConfig:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: timeout,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConnsPerHost:   16,
		MaxConnsPerHost:       32,
	}
}

// readRoots reads the CA to trust; without one it is the system's.
func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := trusted.Read(file, maxRoots)
	if err != nil {
		return nil, fmt.Errorf("reading the CA for Vault: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("reading the CA for Vault: %s holds no certificate in PEM", file)
	}
	return roots, nil
}

package dns01

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// maxAnswer bounds an answer of a DNS provider's API, in bytes: a zone with 50,000
// records fits.
const maxAnswer = 16 << 20

// guard is the transport of lego's HTTP clients. Their tokens stand in headers that
// net/http takes along to another host, and their own reading has no end.
type guard struct {
	next   http.RoundTripper
	denied *atomic.Int64 // counts the answers that the credential is refused; or nil
}

// newGuard speaks HTTP/1.1 only: with GODEBUG=http2debug=2 the standard library logs
// the headers of HTTP/2, and so tokens.
func newGuard(denied *atomic.Int64) guard {
	t := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		IdleConnTimeout:     30 * time.Second, // one is made for each order
		Protocols:           new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	return guard{t, denied}
}

func (g guard) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := g.next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	if denies(response.StatusCode) && g.denied != nil {
		g.denied.Add(1)
	}
	if to, err := response.Location(); err == nil && response.StatusCode/100 == 3 && (to.Host != request.URL.Host || to.Scheme != request.URL.Scheme) {
		_ = response.Body.Close()
		return nil, fmt.Errorf("the DNS provider's API redirects from %s to %s://%s, which is not followed", request.URL.Host, to.Scheme, to.Host)
	}
	response.Body = &limited{response.Body, maxAnswer}
	return response, nil
}

// limited is a body that fails behind its bound.
type limited struct {
	io.ReadCloser
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, fmt.Errorf("the DNS provider's answer has more than %d bytes", maxAnswer)
	}
	return n, err
}

// denies tells whether a status says that the credential or its rights are not enough.
func denies(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusForbidden
}

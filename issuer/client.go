package issuer

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-acme/lego/v4/acme/api"
)

const (
	requestTime = 30 * time.Second // for one request and its answer
	maxAnswer   = 1 << 20          // bytes of one answer
	maxAnswers  = 64 << 20         // bytes of all answers of one order
	maxHeader   = 64 << 10         // bytes of one answer's header, which names alternate chains
	maxRoots    = 1 << 20          // bytes of a ca_bundle
)

// newTransport makes the transport of one issuer: connections are kept from order
// to order.
func newTransport(roots *x509.CertPool) *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: requestTime,
		ForceAttemptHTTP2:     true,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConnsPerHost:   8,

		MaxResponseHeaderBytes: maxHeader,
	}
}

// parseRoots reads the CAs of a file; nil for no file: the system's.
func parseRoots(path string, text []byte) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("ca_bundle %s holds no certificate in PEM", path)
	}
	return roots, nil
}

// bound is a RoundTripper for the calls of one order. lego takes no context, so
// it is bound here; what an answer may be is bounded here as well, and its
// Retry-After kept, which lego drops.
type bound struct {
	ctx  context.Context
	next http.RoundTripper

	// guard is asked before each request; nil: none. An order that another process may
	// have taken over asks the CA for nothing any more.
	guard func(context.Context) error

	left  atomic.Int64 // bytes that answers may still have
	mu    sync.Mutex
	later map[string]time.Duration // Retry-After of the last answer, by URL
	last  int                      // the status of the last answer; 0: there was none
	once  string                   // a URL that is not asked again; see errConflict
}

// errConflict ends a request to where one was answered 409 before: lego would make an
// order without replaces at once, which the CA's limits have to be asked for first.
var errConflict = errors.New("the CA says that the certificate was replaced already")

// newCore makes lego's client for the calls of one order. It asks for the CA's
// directory.
func newCore(ctx context.Context, transport http.RoundTripper, userAgent, directory, account string, key crypto.PrivateKey) (*api.Core, *bound, error) {
	client, b := newClient(ctx, transport)
	core, err := api.New(client, userAgent, directory, account, key)
	if err != nil {
		return nil, nil, b.noDirectory(directory, err)
	}
	return core, b, nil
}

// newClient makes the client of one order: a fresh one, since lego wraps its Transport.
func newClient(ctx context.Context, transport http.RoundTripper) (*http.Client, *bound) {
	b := &bound{ctx: ctx, next: transport, later: map[string]time.Duration{}}
	b.left.Store(maxAnswers)
	return &http.Client{Transport: b, Timeout: requestTime, CheckRedirect: sameHost}, b
}

// sameHost lets a redirect stay where the request went: requests are signed for
// one CA. The addresses that a directory or an order names may lie elsewhere, as
// RFC 8555 has it: what is sent there is public but for its signature, which is good
// for that address alone. lego asks over https only.
func sameHost(request *http.Request, via []*http.Request) error {
	switch first := via[0].URL; {
	case len(via) >= 5:
		return mend{errors.New("more than five redirects follow each other")}
	case request.URL.Scheme != "https" || request.URL.Host != first.Host:
		return mend{fmt.Errorf("the CA redirects from %s to %s://%s, which is not followed: write the new address as directory", first.Host, request.URL.Scheme, request.URL.Host)}
	}
	return nil
}

func (b *bound) RoundTrip(request *http.Request) (*http.Response, error) {
	if err := b.allow(request.URL.String()); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(request.Context())
	stop := context.AfterFunc(b.ctx, func() { cancel(context.Cause(b.ctx)) })
	response, err := b.next.RoundTrip(request.WithContext(ctx))
	if err != nil {
		stop()
		cancel(nil)
		if b.ctx.Err() != nil {
			return nil, context.Cause(b.ctx)
		}
		return nil, err
	}
	b.note(request.URL.String(), response)
	response.Body = &boundBody{
		order: b,
		left:  maxAnswer,
		body:  response.Body,
		end:   func() { stop(); cancel(nil) },
	}
	return response, nil
}

// boundBody is the body of an answer, bounded in length and time.
type boundBody struct {
	order *bound
	left  int64
	body  io.ReadCloser
	end   func()
}

func (b *boundBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return 0, fmt.Errorf("the CA's answer has more than %d bytes", maxAnswer)
	}
	if b.order.left.Add(-int64(n)) < 0 {
		return 0, fmt.Errorf("the CA's answers to one order have more than %d bytes", maxAnswers)
	}
	return n, err
}

func (b *boundBody) Close() error {
	defer b.end()
	return b.body.Close()
}

// allow asks whether a request may be made.
func (b *bound) allow(url string) error {
	b.mu.Lock()
	conflict := b.once == url
	if conflict {
		b.once = ""
	}
	b.mu.Unlock()
	switch {
	case conflict:
		return errConflict
	case b.guard != nil:
		return b.guard(b.ctx)
	}
	return nil
}

func (b *bound) note(url string, response *http.Response) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last = response.StatusCode; b.last == http.StatusConflict {
		b.once = url
	}
	if after, ok := parseRetryAfter(response.Header.Get("Retry-After"), time.Now()); ok {
		b.later[url] = after
		return
	}
	delete(b.later, url)
}

// retryAfter is what the last answer from url asked for; 0 when it did not.
func (b *bound) retryAfter(url string) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.later[url]
}

// parseRetryAfter reads seconds or a date (RFC 9110, section 10.2.3).
func parseRetryAfter(value string, now time.Time) (time.Duration, bool) {
	if seconds, err := strconv.Atoi(value); err == nil && seconds >= 0 {
		return time.Duration(min(seconds, int(maxPostpone/time.Second))) * time.Second, true
	}
	if date, err := http.ParseTime(value); err == nil {
		return min(max(0, date.Sub(now)), maxPostpone), true
	}
	return 0, false
}

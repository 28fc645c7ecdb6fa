package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/anycert/anycert"
)

const (
	requestTime = 15 * time.Second // for one request and its answer
	maxAnswer   = 16 << 10         // bytes of an answer that are read, and thrown away
	maxHeader   = 16 << 10         // bytes of its header
	maxWait     = time.Hour        // that a Retry-After may ask for
)

// endpoint is where a receiver is posted to. Its errors show nothing of the URL, which may
// be a secret, and nothing of an answer.
type endpoint struct {
	plain       string             // the URL, or
	kept        anycert.Credential // where it is
	path        string             // below it
	credentials bool               // are sent there
	agent       string
	client      *http.Client
}

// newEndpoint speaks HTTP/1.1 only: with GODEBUG=http2debug=2 the standard library logs the
// headers of HTTP/2. It follows no redirect: what is signed, or comes with a password, goes
// where the configuration says.
func newEndpoint(to URL, caBundle, path string, env Env) (*endpoint, error) {
	roots, err := readRoots(caBundle)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    10 * time.Second,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
		Protocols:              new(http.Protocols),
	}
	transport.Protocols.SetHTTP1(true)
	e := &endpoint{plain: to.Plain, path: path, agent: env.UserAgent, client: &http.Client{
		Transport:     transport,
		Timeout:       requestTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if !to.Reference.IsZero() {
		e.kept = env.Credential(to.Reference)
	}
	return e, nil
}

// address is the URL to ask.
func (e *endpoint) address(ctx context.Context, path string) (*url.URL, error) {
	text := e.plain
	if e.kept != nil {
		secret, err := e.kept.Secret(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading its url: %w", err)
		}
		text = secret.Reveal()
	}
	u, err := parseURL(text, e.credentials || e.kept != nil) // a URL that is kept is a secret itself
	if err != nil {
		return nil, err
	}
	if path != "" {
		u = u.JoinPath(path)
	}
	return u, nil
}

// refusal is an answer that is none of success.
type refusal struct {
	status int
	after  time.Duration // not asked again before; zero where the answer does not say
}

func (r refusal) Error() string {
	switch {
	case r.status >= 300 && r.status < 400:
		return fmt.Sprintf("it answers %d, a redirect, which is not followed: configure where it leads to", r.status)
	case r.status == http.StatusUnauthorized || r.status == http.StatusForbidden:
		return fmt.Sprintf("it answers %d: check the secret, token or password", r.status)
	case r.status == http.StatusNotFound || r.status == http.StatusGone:
		return fmt.Sprintf("it answers %d: check the url", r.status)
	}
	return fmt.Sprintf("it answers %d", r.status)
}

// post sends body; head adds to the request's header.
func (e *endpoint) post(ctx context.Context, body []byte, head func(http.Header)) error {
	return e.ask(ctx, http.MethodPost, e.path, body, head)
}

func (e *endpoint) ask(ctx context.Context, method, path string, body []byte, head func(http.Header)) error {
	to, err := e.address(ctx, path)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, to.String(), bytes.NewReader(body))
	if err != nil {
		return errors.New("this is no URL: write https://HOST/…")
	}
	request.Header.Set("User-Agent", e.agent)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	head(request.Header)
	response, err := e.client.Do(request)
	if err != nil {
		return unreached(err)
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, maxAnswer) // so that the connection can be used again
	if response.StatusCode >= 200 && response.StatusCode < 300 {
		return nil
	}
	if e.kept != nil && response.StatusCode >= 400 && response.StatusCode < 500 {
		e.kept.Refused()
	}
	return refusal{response.StatusCode, retryAfter(response.Header.Get("Retry-After"))}
}

// retryAfter reads the header's seconds or date.
func retryAfter(text string) time.Duration {
	if seconds, err := strconv.Atoi(text); err == nil {
		return min(max(time.Duration(seconds)*time.Second, 0), maxWait)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(time.Until(at), 0), maxWait)
	}
	return 0
}

// unreached says in our own words why there was no answer: the library's have the URL in
// them.
func unreached(err error) error {
	var (
		name        *net.DNSError
		network     net.Error
		operation   *net.OpError
		unknown     x509.UnknownAuthorityError
		hostname    x509.HostnameError
		certificate *tls.CertificateVerificationError
	)
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.As(err, &unknown):
		return errors.New("its certificate is signed by a CA that is not trusted: name that in ca_bundle")
	case errors.As(err, &hostname):
		return errors.New("its certificate is for other names")
	case errors.As(err, &certificate):
		return errors.New("its certificate is not valid")
	case errors.As(err, &name):
		return errors.New("its name does not resolve")
	case errors.As(err, &network) && network.Timeout():
		return fmt.Errorf("no answer within %s", requestTime)
	case errors.As(err, &operation) && operation.Op == "dial":
		return errors.New("nobody listens there, or no way leads there")
	}
	return errors.New("the connection broke before there was an answer")
}

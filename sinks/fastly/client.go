package fastly

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/fastly/go-fastly/v9/fastly"

	"github.com/anycert/anycert"
)

const (
	requestTimeout = 60 * time.Second
	maxAnswer      = 8 << 20   // bytes: a page of 100 certificates with 100 names each is well below
	maxAnswers     = 256 << 20 // bytes of all answers of one conversation
)

// api is the way to one account. It is used by one session at a time: go-fastly v9
// takes no context, so the one of the session is bound to the transport, and an
// account does not bear two writers that look first and write then.
type api struct {
	client    *fastly.Client
	transport *transport
	turn      chan struct{} // holds one token: whose turn it is
	token     string        // where the token is kept, for errors
}

func newAPI(endpoint *url.URL, credential anycert.Credential, token, userAgent string) (*api, error) {
	// The library is not given the token: the transport adds it, so that it may
	// rotate. NewClient would obey FASTLY_API_URL, and send our keys there.
	client, err := fastly.NewClientForEndpoint("", endpoint.String())
	if err != nil {
		return nil, errors.New("the endpoint is not a URL")
	}
	// FASTLY_DEBUG_MODE would print the bodies of requests, keys included.
	client.DebugMode = false
	t := &transport{
		base:       newTransport(),
		credential: credential,
		userAgent:  userAgent,
	}
	client.HTTPClient = &http.Client{
		Transport: t,
		// net/http would send Fastly-Key along to another host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &api{client: client, transport: t, turn: make(chan struct{}, 1), token: token}, nil
}

// newTransport speaks HTTP/1.1 only: with GODEBUG=http2debug=2 the standard library
// logs the token and the beginning of each body of HTTP/2. (A clone of
// http.DefaultTransport would not do: it brings HTTP/2's ALPN with it.)
func newTransport() *http.Transport {
	t := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		IdleConnTimeout:     90 * time.Second,
		Protocols:           new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	return t
}

// session is one conversation with the account, bound to a context.
type session struct {
	*api
	ctx context.Context // see api
}

// begin waits for its turn.
func (a *api) begin(ctx context.Context) (*session, error) {
	if err := ctx.Err(); err != nil {
		return nil, outOfTime(err)
	}
	select {
	case a.turn <- struct{}{}:
		a.transport.ctx, a.transport.received = ctx, 0
		return &session{api: a, ctx: ctx}, nil
	case <-ctx.Done():
		return nil, outOfTime(ctx.Err())
	}
}

func (s *session) end() {
	s.transport.ctx = nil
	<-s.turn
}

// transport does for every request what the library does not: it binds the
// session's context and a time limit, adds the token, bounds the answer, and obeys
// the limit of writes. Its fields are guarded by the turn.
type transport struct {
	base       http.RoundTripper
	credential anycert.Credential
	userAgent  string
	ctx        context.Context // see api

	received  int            // bytes in this conversation
	sent      anycert.Secret // the token that was used last
	exhausted bool           // no writes are left
	reset     time.Time      // until then
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	isWrite := r.Method != http.MethodGet && r.Method != http.MethodHead
	if isWrite && t.exhausted && time.Now().Before(t.reset) {
		return nil, &limitError{t.reset}
	}
	ctx, cancel := context.WithTimeout(t.ctx, requestTimeout)
	defer cancel()
	token, err := t.credential.Secret(ctx)
	if err != nil {
		return nil, &credentialError{err}
	}
	t.sent = token
	r = r.Clone(ctx)
	r.Header.Set(fastly.APIKeyHeader, token.Reveal())
	r.Header.Set("User-Agent", t.userAgent)
	response, err := t.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	t.note(response.Header, response.StatusCode)
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	t.received += len(body)
	switch {
	case err != nil:
		return nil, err
	case t.received > maxAnswers:
		return nil, fmt.Errorf("%w: the answers have more than %d bytes", anycert.ErrMalformed, maxAnswers)
	case len(body) > maxAnswer:
		return nil, fmt.Errorf("%w: the answer has more than %d bytes", anycert.ErrMalformed, maxAnswer)
	case response.StatusCode == http.StatusTooManyRequests:
		return nil, &limitError{t.reset}
	case response.StatusCode == http.StatusUnauthorized, response.StatusCode == http.StatusForbidden:
		t.credential.Refused()
	case r.Method == http.MethodGet && response.StatusCode == http.StatusOK && !hasData(body):
		return nil, fmt.Errorf("%w: the answer is no JSON:API document with data", anycert.ErrMalformed)
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response, nil
}

// hasData tells whether body is a document that can be believed. The library takes
// one without data for a listing with nothing in it.
func hasData(body []byte) bool {
	var document struct{ Data json.RawMessage }
	return json.Unmarshal(body, &document) == nil && len(document.Data) > 0 && document.Data[0] != 'n'
}

// note keeps what an answer says of the limit: it comes with writes.
func (t *transport) note(header http.Header, status int) {
	remaining, err := strconv.Atoi(header.Get("Fastly-RateLimit-Remaining"))
	if err == nil || status == http.StatusTooManyRequests {
		t.exhausted = remaining <= 0
	}
	if reset, err := strconv.ParseInt(header.Get("Fastly-RateLimit-Reset"), 10, 64); err == nil {
		t.reset = time.Unix(reset, 0)
	}
}

// The least number of objects that a full page has. Fastly's default is 20; more
// are asked for, and it may give fewer than asked.
const (
	pageSize    = 100
	minPageSize = 20
	maxPages    = 1000
)

// pages reads a listing to its end. The library hides how many there are, so a page
// that is shorter than any full one is the last.
func pages[T any](list func(number int) ([]T, error)) ([]T, error) {
	var all []T
	for number := 1; number <= maxPages; number++ {
		page, err := list(number)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) < minPageSize {
			return all, nil
		}
	}
	return nil, fmt.Errorf("%w: the listing does not end after %d pages", anycert.ErrMalformed, maxPages)
}

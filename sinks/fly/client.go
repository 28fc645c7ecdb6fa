package fly

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/anycert/anycert"
	"github.com/superfly/fly-go/flaps"
	"github.com/superfly/fly-go/tokens"
	"golang.org/x/time/rate"
)

const (
	attemptTimeout = 30 * time.Second // of one request; flaps makes up to four of one call
	maxAnswer      = 4 << 20          // bytes; a page of 500 hostnames has about 250 KiB
	// A request a second, and a little more, since not every request takes equally
	// long to arrive: https://fly.io/docs/machines/api/working-with-machines-api/#rate-limits
	interval = 1050 * time.Millisecond
	burst    = 3
)

// newAPI makes the client. It is given no token and no Logger: transport adds the
// token to each request, and a Logger would print request bodies, keys included.
func newAPI(userAgent string, t *transport) (*flaps.Client, error) {
	client, err := flaps.NewWithOptions(context.Background(), flaps.NewClientOpts{UserAgent: userAgent, Transport: t})
	if err != nil {
		// The one thing that can fail: flaps parses FLY_FLAPS_BASE_URL, which is
		// not used.
		return nil, fmt.Errorf("making the client: %w: unset FLY_FLAPS_BASE_URL", err)
	}
	return client, nil
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

// transport carries the requests of flaps. Whatever address flaps took from its
// environment, they go to the endpoint; each waits its turn, has the token of the
// moment, a body of its own, and a time limit. It lies below flaps' own retries, so
// that these are paced as well.
type transport struct {
	base     http.RoundTripper
	endpoint *url.URL
	token    anycert.Credential
	limits   *limits
}

func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	body, err := bodyOf(request)
	if err != nil {
		return nil, err
	}
	for turn := 1; ; turn++ {
		response, err := t.send(request, body)
		if err != nil || response.StatusCode != http.StatusTooManyRequests || turn == turns {
			return response, err
		}
		response.Body.Close()
	}
}

// turns is how often a request takes its turn while the answer is 429: the limit is
// the app's, and other sinks, hubs and people use it as well. What is asked for can
// be asked for twice.
const turns = 4

// send sends a request when its turn has come.
func (t *transport) send(request *http.Request, body []byte) (*http.Response, error) {
	ctx := request.Context()
	token, err := t.admit(ctx, request)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	request = request.Clone(ctx)
	request.Body = io.NopCloser(bytes.NewReader(body))
	request.URL.Scheme, request.URL.Host, request.Host = t.endpoint.Scheme, t.endpoint.Host, ""
	request.Header.Set("Authorization", tokens.Parse(token.Reveal()).FlapsHeader())

	response, err := t.base.RoundTrip(request)
	if err != nil {
		cancel()
		return nil, err
	}
	response.Body = &answer{ReadCloser: http.MaxBytesReader(nil, response.Body, maxAnswer), cancel: cancel}
	if response.StatusCode >= 300 && response.StatusCode < 400 {
		// Following it would send the key to whatever address the answer names.
		response.Body.Close()
		return nil, local{fmt.Errorf("%w: the answer is a redirect (%d), which is not followed: check endpoint in the sink's config", anycert.ErrUnavailable, response.StatusCode)}
	}
	return response, nil
}

// bodyOf takes the body out of a request. The retries of flaps (rehttp) give the
// same reader to each attempt, while the one before may still be looking for its
// end: a request that is sent as it comes loses its body now and then.
func bodyOf(request *http.Request) ([]byte, error) {
	if request.Body == nil {
		return nil, nil
	}
	defer request.Body.Close()
	return io.ReadAll(request.Body)
}

// admit waits for the request's turn and fetches the token.
func (t *transport) admit(ctx context.Context, request *http.Request) (anycert.Secret, error) {
	if err := t.limits.wait(ctx, request); err != nil {
		if ctx.Err() == nil { // the limiter saw that the turn comes too late, and did not wait
			err = fmt.Errorf("%w: Fly.io allows one request a second, and the turn of this one comes after its deadline: %w", anycert.ErrUnavailable, context.DeadlineExceeded)
			return anycert.Secret{}, local{err}
		}
		return anycert.Secret{}, err
	}
	token, err := t.token.Secret(ctx)
	switch {
	case err != nil:
		return anycert.Secret{}, local{fmt.Errorf("reading the token: %w", err)}
	case strings.TrimSpace(token.Reveal()) == "":
		t.token.Refused()
		return anycert.Secret{}, local{fmt.Errorf("%w: the token is empty", anycert.ErrForbidden)}
	}
	return token, nil
}

// answer ends the time limit of its request when it was read.
type answer struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (a *answer) Close() error {
	defer a.cancel()
	return a.ReadCloser.Close()
}

// limits paces the requests: Fly.io counts for each action and app. It is safe for
// concurrent use.
type limits struct {
	every    time.Duration
	mu       sync.Mutex
	limiters map[string]*rate.Limiter
}

func newLimits(every time.Duration) *limits {
	if every == 0 {
		every = interval
	}
	return &limits{every: every, limiters: map[string]*rate.Limiter{}}
}

func (l *limits) wait(ctx context.Context, request *http.Request) error {
	return l.of(action(request)).Wait(ctx)
}

func (l *limits) of(action string) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.limiters[action] == nil {
		l.limiters[action] = rate.NewLimiter(rate.Every(l.every), burst)
	}
	return l.limiters[action]
}

// action tells apart the three that the sink uses: a listing, a reading and an
// import.
func action(request *http.Request) string {
	if strings.HasSuffix(request.URL.Path, "/certificates") {
		return "list"
	}
	return request.Method
}

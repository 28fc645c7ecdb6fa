package kubernetes

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
)

// Bounds on what an API server may answer. etcd takes 1.5 MiB of an object, which
// base64 makes 2 MiB.
const (
	maxObject  = 4 << 20          // bytes of an object, or of any other answer
	maxListed  = 50_000           // Secrets of ours in one namespace
	maxPage    = 1 << 30          // bytes of one answer to a listing, of which one object is held
	maxHanging = 4 * defaultBurst // requests that heed no context, see bounded
)

// bounded is the transport of every request. It bounds the answers, and gives up a
// request whose context ends: client-go waits for a plugin of the kubeconfig (users.
// user.exec) without end, whatever the context says.
type bounded struct {
	next    http.RoundTripper
	hanging atomic.Int64
}

func (b *bounded) RoundTrip(request *http.Request) (*http.Response, error) {
	if b.hanging.Load() >= maxHanging {
		return nil, fmt.Errorf("%d requests before this one have not ended, so it is not made: see whether the command that the kubeconfig gets its credentials from hangs", maxHanging)
	}
	type result struct {
		response *http.Response
		err      error
	}
	done := make(chan result) // without a buffer: what nobody waits for is closed
	ctx := request.Context()
	b.hanging.Add(1)
	go func() {
		defer b.hanging.Add(-1)
		response, err := b.next.RoundTrip(request)
		select {
		case done <- result{response, err}:
		case <-ctx.Done():
			if err == nil {
				_ = response.Body.Close()
			}
		}
	}()
	select {
	case got := <-done:
		if got.err == nil {
			got.response.Body = limit(got.response.Body, mostOf(request))
		}
		return got.response, got.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func mostOf(request *http.Request) int64 {
	if request.URL.Query().Has("limit") {
		return maxPage
	}
	return maxObject
}

// limited is a body that fails behind its bound.
type limited struct {
	io.Closer
	meter
}

func limit(body io.ReadCloser, most int64) *limited {
	return &limited{body, meter{from: body, most: most, left: most}}
}

// meter fails when more than most bytes were read since its last reset.
type meter struct {
	from       io.Reader
	most, left int64
}

func (m *meter) reset() { m.left = m.most }

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.from.Read(p)
	if m.left -= int64(n); m.left < 0 {
		return 0, fmt.Errorf("the answer has more than %d bytes", m.most)
	}
	return n, err
}

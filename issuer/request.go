package issuer

import (
	"context"
	"sync"

	"github.com/anycert/anycert"
)

// requests are what people asked for, as it was read last.
type requests struct {
	mu    sync.Mutex
	known map[string]anycert.Request
}

// recallRequests reads what people asked for.
func (i *Issuer) recallRequests(ctx context.Context) error { return nil }

// requested is what a person asked for about a certificate whose current version is
// the one given (0: none), as it was read last; nil when nothing is to be replaced.
func (i *Issuer) requested(name string, version int) *anycert.Request {
	i.requests.mu.Lock()
	defer i.requests.mu.Unlock()
	request, ok := i.requests.known[name]
	if !ok || version > request.Version {
		return nil
	}
	return &request
}

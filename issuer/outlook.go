package issuer

import (
	"context"
	"errors"
	"sync"

	"github.com/anycert/anycert"
)

// outlooks are what the store keeps about the renewal of each certificate, as it was
// read last.
type outlooks struct {
	mu    sync.Mutex
	known map[string]outlook
}

// outlook is what is kept about the renewal of one certificate. It holds no key.
type outlook struct {
	Schema int `json:"schema"`
}

// Recall implements [anycert.Issuer].
func (i *Issuer) Recall(ctx context.Context, wanted []anycert.Wanted, ask bool) error {
	return errors.Join(i.recallRequests(ctx), i.recallBudgets(ctx))
}

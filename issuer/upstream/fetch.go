package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/anycert/anycert"
)

// patience is how long one look at a source may take.
const patience = 10 * time.Second

// outage is that a source could not be reached.
type outage struct {
	at  time.Time
	err error
}

// fetch asks a source, unless it did not answer another look of the same pass: a dead
// cluster with many certificates must not keep the orders of others waiting.
func (i *Issuer) fetch(ctx context.Context, source anycert.Source, certificate anycert.Certificate) (*anycert.Bundle, error) {
	if err := i.outage(certificate.Issuer); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	bundle, err := source.Fetch(limited, certificate.Name)
	if errors.Is(err, anycert.ErrUnavailable) && ctx.Err() == nil {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.down[certificate.Issuer] = outage{i.now(), err}
	}
	return bundle, err
}

func (i *Issuer) outage(issuer string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	past, ok := i.down[issuer]
	if !ok || i.now().Sub(past.at) >= pause {
		return nil
	}
	return fmt.Errorf("not asked, since there was no answer a moment ago: %w", past.err)
}

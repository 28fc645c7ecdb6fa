package kubernetes

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/anycert/anycert"
)

// Survey lists the Secrets that carry our label, with list: true, and answers from
// that for one pass. Without it the answer is the sink itself, which reads each
// Secret by its name. A namespace that cannot be listed fails its own targets.
func (s *Sink) Survey(ctx context.Context) (anycert.Observer, error) {
	if !s.config.List {
		return s, ctx.Err()
	}
	survey := &survey{sink: s, seen: make(map[string]anycert.Observed), failed: make(map[string]error)}
	for _, namespace := range s.config.Namespaces {
		err := s.cluster.list(ctx, namespace, func(secret *corev1.Secret) {
			survey.seen[address{namespace, secret.Name}.String()] = s.inspect(secret)
		})
		if err != nil {
			survey.failed[namespace] = err
		}
	}
	return survey, ctx.Err()
}

// survey is what the listings of one pass showed, without keys.
type survey struct {
	sink   *Sink
	seen   map[string]anycert.Observed // by address
	failed map[string]error            // by namespace
}

// Observe answers from the listings. What is in none of them is read by its name: a
// Secret that lost our label is there all the same.
func (v *survey) Observe(ctx context.Context, target anycert.Target) (anycert.Observed, error) {
	if observed, ok := v.seen[target.Label]; ok {
		return forTarget(observed, target), nil
	}
	at, err := parseAddress(target.Label)
	if err != nil {
		return anycert.Observed{}, fmt.Errorf("target of certificate %q: %w", target.Certificate, err)
	}
	var gone *missingError
	if err := v.failed[at.namespace]; err != nil && !errors.As(err, &gone) {
		return anycert.Observed{}, err
	}
	return v.sink.Observe(ctx, target)
}

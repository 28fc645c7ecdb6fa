package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/failures"
)

var _ anycert.LookalikeLister = (*Sink)(nil)

// Lookalikes lists the TLS Secrets of the configured namespaces that are none of the
// declared targets, do not carry our mark, and hold a certificate for one of names. It
// needs the right that Orphans needs; who lacks it is told by that. A Secret comes as a
// whole: its key is dropped unread.
func (s *Sink) Lookalikes(ctx context.Context, names []string, declared []anycert.Target) ([]anycert.Lookalike, error) {
	known := make(map[string]bool, len(declared))
	for _, target := range declared {
		known[target.Key] = true
	}
	var found []anycert.Lookalike
	var failed []error
	for _, namespace := range s.config.Namespaces {
		others := map[string]string{"fieldSelector": "type=" + string(corev1.SecretTypeTLS)}
		err := s.cluster.listBy(ctx, namespace, others, func(secret *corev1.Secret) {
			at := address{namespace, secret.Name}
			if known[s.key(at)] || s.left(secret) != nil {
				return
			}
			chain, err := anycert.ParseChain(secret.Data[certificateKey])
			if err != nil || !slices.ContainsFunc(names, func(name string) bool { return anycert.Covers(chain[0].DNSNames, name) }) {
				return
			}
			found = append(found, anycert.Lookalike{Label: at.String(), Names: chain[0].DNSNames, NotAfter: chain[0].NotAfter.UTC(),
				Owner: s.holder(secret, writes(secret.ManagedFields))})
		})
		var gone *missingError
		if err != nil && !errors.As(err, &gone) && !errors.Is(err, anycert.ErrForbidden) {
			failed = append(failed, fmt.Errorf("looking for look-alikes: %w", err))
		}
	}
	return found, failures.Join(failed...)
}

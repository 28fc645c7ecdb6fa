package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/failures"
)

// Orphans lists the Secrets of the configured namespaces that carry our mark, that
// we wrote, and that are not declared. It needs the right to list Secrets, whatever
// list says. A namespace that cannot be listed is told in the error, beside the
// orphans of the others.
func (s *Sink) Orphans(ctx context.Context, declared []anycert.Target) ([]anycert.Orphan, error) {
	known := make(map[string]bool, len(declared))
	for _, target := range declared {
		known[target.Key] = true
	}
	var orphans []anycert.Orphan
	var failed []error
	for _, namespace := range s.config.Namespaces {
		err := s.cluster.list(ctx, namespace, func(secret *corev1.Secret) {
			at := address{namespace, secret.Name}
			if mark := s.left(secret); mark != nil && !known[s.key(at)] {
				orphans = append(orphans, anycert.Orphan{Key: s.key(at), Label: at.String(), Mark: *mark})
			}
		})
		var gone *missingError
		if err != nil && !errors.As(err, &gone) {
			failed = append(failed, fmt.Errorf("looking for orphans: %w", err))
		}
	}
	slices.SortFunc(orphans, func(a, b anycert.Orphan) int { return strings.Compare(a.Label, b.Label) })
	return orphans, failures.Join(failed...)
}

// left is the mark of a Secret that we wrote, or nil. The mark alone does not tell:
// tools that copy Secrets to other namespaces copy it too, and the copy is theirs.
func (s *Sink) left(secret *corev1.Secret) *anycert.Mark {
	mark := s.readMark(secret.Annotations)
	if mark == nil || newer(secret.Annotations) != "" || secret.Labels[labelManager] != us || s.held(writes(secret.ManagedFields)) == nil {
		return nil
	}
	return mark
}

// Remove deletes an orphan when it still carries the mark that Orphans saw, and
// only the very object that it looked at.
func (s *Sink) Remove(ctx context.Context, orphan anycert.Orphan) error {
	at, err := parseAddress(orphan.Label)
	if err != nil || orphan.Key != s.key(at) {
		return fmt.Errorf("removing orphan %s: %w: it is not of this cluster", orphan.Key, anycert.ErrRefused)
	}
	secret, err := s.cluster.get(ctx, at)
	if err != nil {
		return fmt.Errorf("removing orphan %s: %w", at, err)
	}
	if secret == nil {
		return nil // someone was faster
	}
	if mark := s.left(secret); mark == nil || *mark != orphan.Mark {
		return fmt.Errorf("removing orphan %s: %w: it has changed since it was listed: look again (anycert audit), or delete it by hand", at, anycert.ErrRefused)
	}
	if err := s.cluster.delete(ctx, secret); err != nil {
		return fmt.Errorf("removing orphan %s: %w", at, err)
	}
	return nil
}

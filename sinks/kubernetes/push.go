package kubernetes

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anycert/anycert"
)

const (
	// onlyIfAbsent is a resourceVersion that no object has: etcd counts from 1, and
	// its first write is 2. An apply that carries it creates, and conflicts with
	// whatever has appeared meanwhile.
	onlyIfAbsent = "1"
	// looks is how often a push looks again when the Secret changed between its
	// look and its apply. Who changes it faster than that is named as its writer.
	looks = 4
)

// Push makes the Secret hold the bundle with one server-side apply, which sets our
// fields, whoever has them, and leaves all others. It looks first, and the API
// server refuses the apply when the Secret has changed since.
func (s *Sink) Push(ctx context.Context, target anycert.Target, entry anycert.Entry, bundle *anycert.Bundle) error {
	var err error
	for range looks {
		if err = s.pushOnce(ctx, target, entry, bundle); !errors.Is(err, anycert.ErrConflict) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("pushing certificate %q: %w", entry.Name, err)
	}
	return nil
}

func (s *Sink) pushOnce(ctx context.Context, target anycert.Target, entry anycert.Entry, bundle *anycert.Bundle) error {
	current, err := s.read(ctx, target)
	if err != nil {
		return err
	}
	at, _ := parseAddress(target.Label) // read has parsed it
	secret := &corev1.Secret{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       at.namespace,
			Name:            at.name,
			ResourceVersion: onlyIfAbsent,
			Labels:          s.label(),
			Annotations:     s.annotate(anycert.MarkOf(s.owner, entry)),
		},
		Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{
			certificateKey: bundle.FullChainPEM(),
			privateKey:     []byte(bundle.KeyPEM().Reveal()),
		},
	}
	if current != nil {
		if foreign := s.foreign(current, writes(current.ManagedFields)); foreign != "" {
			return fmt.Errorf("writing Secret %s in %s: %w: %s", at, s.cluster.server, anycert.ErrRefused, foreign)
		}
		secret.UID, secret.ResourceVersion = current.UID, current.ResourceVersion
	}
	return s.cluster.apply(ctx, s.manager, secret)
}

package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/failures"
)

var _ anycert.LookalikeLister = (*Sink)(nil)

// Lookalikes lists the TLS Secrets of the configured namespaces that are none of the
// declared targets, do not carry our mark, and hold a certificate for one of names. It
// needs the right to list Secrets, and is ErrForbidden without it, beside what other
// namespaces showed. Kubernetes sends each Secret with its key; of it is read what a
// bystander has.
func (s *Sink) Lookalikes(ctx context.Context, names []string, declared []anycert.Target) ([]anycert.Lookalike, error) {
	if len(names) == 0 {
		return nil, nil // nobody asks for keys of others in vain
	}
	known := make(map[string]bool, len(declared))
	for _, target := range declared {
		known[target.Key] = true
	}
	var found []anycert.Lookalike
	var failed []error
	var closed []string
	for _, namespace := range s.config.Namespaces {
		err := listAs(ctx, s.cluster, namespace, "fieldSelector", "type="+string(corev1.SecretTypeTLS), func(b *bystander) {
			secret, at := b.secret(), address{namespace, b.Metadata.Name}
			if known[s.key(at)] || s.left(secret) != nil {
				return
			}
			chain, err := anycert.ParseChain(b.Data.Certificate)
			if err != nil || !slices.ContainsFunc(names, func(name string) bool { return anycert.Covers(chain[0].DNSNames, name) }) {
				return
			}
			found = append(found, anycert.Lookalike{Label: at.String(), Names: chain[0].DNSNames, NotAfter: chain[0].NotAfter.UTC(),
				Owner: s.holder(secret, writes(secret.ManagedFields))})
		})
		var gone *missingError
		switch {
		case errors.Is(err, anycert.ErrForbidden):
			closed = append(closed, namespace)
		case err != nil && !errors.As(err, &gone):
			failed = append(failed, fmt.Errorf("looking for look-alikes: %w", err))
		}
	}
	if len(closed) > 0 {
		failed = append(failed, fmt.Errorf("%w to list the Secrets of %s: nothing else is missing without it", anycert.ErrForbidden, strings.Join(closed, ", ")))
	}
	return found, failures.Join(failed...)
}

// bystander is what is read of a Secret of somebody else. Its key is none of it, and
// neither are annotations but these: `kubectl apply` notes the whole Secret in one. What
// is not in here is skipped where the answer is decoded, and never a value of ours.
type bystander struct {
	Metadata struct {
		Name            string                      `json:"name"`
		Labels          map[string]string           `json:"labels"`
		Annotations     signs                       `json:"annotations"`
		OwnerReferences []metav1.OwnerReference     `json:"ownerReferences"`
		ManagedFields   []metav1.ManagedFieldsEntry `json:"managedFields"`
	} `json:"metadata"`
	Data struct {
		Certificate []byte `json:"tls.crt"`
	} `json:"data"`
}

// signs are the annotations that tell whose a Secret is.
type signs struct {
	Owner       string `json:"anycert.dev/owner"`
	Certificate string `json:"anycert.dev/certificate"`
	Time        string `json:"anycert.dev/version-time"`
	Digest      string `json:"anycert.dev/digest"`
	Schema      string `json:"anycert.dev/schema"`
	CertManager string `json:"cert-manager.io/certificate-name"`
	Helm        string `json:"meta.helm.sh/release-name"`
}

// secret is b for those who tell whose a Secret is. It has no data.
func (b *bystander) secret() *corev1.Secret {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: b.Metadata.Name, Labels: b.Metadata.Labels, Annotations: map[string]string{},
		OwnerReferences: b.Metadata.OwnerReferences, ManagedFields: b.Metadata.ManagedFields}}
	is := b.Metadata.Annotations
	for name, value := range map[string]string{
		annotationOwner: is.Owner, annotationCertificate: is.Certificate, annotationTime: is.Time, annotationDigest: is.Digest, annotationSchema: is.Schema,
		annotationCertManager: is.CertManager, annotationHelm: is.Helm,
	} {
		if value != "" {
			secret.Annotations[name] = value
		}
	}
	return secret
}

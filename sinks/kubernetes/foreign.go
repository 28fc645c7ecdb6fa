package kubernetes

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What the tools of others leave at their Secrets.
const (
	annotationCertManager = "cert-manager.io/certificate-name"
	annotationHelm        = "meta.helm.sh/release-name"
)

// foreign says why a Secret must not be touched, and what helps; "" when it may be
// written.
func (s *Sink) foreign(secret *corev1.Secret, all []write) string {
	at := address{secret.Namespace, secret.Name}
	remove := fmt.Sprintf("delete it (kubectl -n %s delete secret %s) and the next pass makes it anew", at.namespace, at.name)
	switch {
	case secret.DeletionTimestamp != nil:
		return fmt.Sprintf("it is being deleted and waits for its finalizers (%s): the next pass after makes it anew", strings.Join(secret.Finalizers, ", "))
	case !s.ours(secret, all) && !s.adopt[at.String()]:
		return fmt.Sprintf("it belongs to %s: name %s under adopt to take it over, or choose another name with secret", s.holder(secret, all), at)
	case newer(secret.Annotations) != "":
		return newer(secret.Annotations)
	case secret.Immutable != nil && *secret.Immutable:
		return "it is immutable, so that nobody can change it: " + remove
	case secret.Type != corev1.SecretTypeTLS:
		return fmt.Sprintf("its type is %s, which cannot be changed to %s: %s", secret.Type, corev1.SecretTypeTLS, remove)
	}
	return ""
}

// ours reports whether a Secret is ours: by the owner in its annotations, or, where
// that was stripped, because the certificate is still the one that we applied. A
// Secret that says of itself that another tool manages it is not, unless that tool
// left the certificate to us.
func (s *Sink) ours(secret *corev1.Secret, all []write) bool {
	unclaimed := secret.Labels[labelManager] == "" || secret.Labels[labelManager] == us
	applied := s.held(all).has("data", certificateKey)
	switch secret.Annotations[annotationOwner] {
	case s.owner:
		return unclaimed || applied
	case "":
		return unclaimed && applied
	}
	return false
}

// holder names whose a Secret is, by what the tools of others leave there.
func (s *Sink) holder(secret *corev1.Secret, all []write) string {
	label, annotation := secret.Labels, secret.Annotations
	controller := metav1.GetControllerOfNoCopy(secret)
	switch {
	case annotation[annotationOwner] != "" && annotation[annotationOwner] != s.owner:
		return fmt.Sprintf("the anycert with the owner %q", shorten(annotation[annotationOwner]))
	case annotation[annotationCertManager] != "":
		return fmt.Sprintf("cert-manager (Certificate %s)", shorten(annotation[annotationCertManager]))
	case annotation[annotationHelm] != "":
		return fmt.Sprintf("the Helm release %s", shorten(annotation[annotationHelm]))
	case label["reconcile.external-secrets.io/managed"] == "true":
		return "External Secrets"
	case controller != nil:
		return fmt.Sprintf("%s %s", controller.Kind, controller.Name)
	case label[labelManager] != "" && label[labelManager] != us:
		return shorten(label[labelManager])
	case s.writer(all) != "":
		return fmt.Sprintf("someone else (last written by %s)", shorten(s.writer(all)))
	}
	return "someone else"
}

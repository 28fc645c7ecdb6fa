package e2e

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/anycert/anycert/internal/testenv/world"
)

func (c careless) breakagesAtKubernetes() []breakage {
	at := func(certificate, target string) world.Place { return place(certificate, "prod", target) }
	return []breakage{
		{"Kubernetes: deleted", at("example", "web/example-tls"), "create", "nothing is there", func(c careless) error {
			return c.Clusters["prod"].Client().CoreV1().Secrets("web").Delete(c.T.Context(), "example-tls", metav1.DeleteOptions{})
		}},
		{"Kubernetes: emptied by another field manager", at("api", "api/api-tls"), "replace", "no certificate that can be read is there (last written by kubectl-edit)", func(c careless) error {
			_, err := c.Clusters["prod"].Client().CoreV1().Secrets("api").Patch(c.T.Context(), "api-tls", types.MergePatchType,
				[]byte(`{"data":{"tls.crt":"","tls.key":""}}`), metav1.PatchOptions{FieldManager: "kubectl-edit"})
			return err
		}},
		{"Kubernetes: longer-lived and self-signed", at("api", "web/api-tls"), "replace", "another certificate is there, valid until 2099-12-31", func(c careless) error {
			pair := c.forever(true, "api.example.com")
			return c.change("web/api-tls", "a-person", func(secret *corev1.Secret) {
				secret.Data = map[string][]byte{"tls.crt": pair.ChainPEM, "tls.key": pair.KeyPEM}
			})
		}},
		{"Kubernetes: foreign, with our mark left on and in our name", at("example", "api/example-tls"), "replace", "another certificate is there", func(c careless) error {
			pair := c.forever(false, "example.com", "*.example.com")
			return c.change("api/example-tls", "anycert/e2e", func(secret *corev1.Secret) {
				secret.Data["tls.crt"], secret.Data["tls.key"] = pair.ChainPEM, pair.KeyPEM
			})
		}},
		{"Kubernetes: wrong key beside the right certificate", at("example", "web/example-tls"), "replace", "the private key there does not belong to the certificate", func(c careless) error {
			return c.change("web/example-tls", "a-person", func(secret *corev1.Secret) {
				secret.Data["tls.key"] = c.older["example"].Key
			})
		}},
		{"Kubernetes: an older one of ours, as it was then", at("api", "web/api-tls"), "replace", "another certificate is there", func(c careless) error {
			return c.change("web/api-tls", "velero", func(secret *corev1.Secret) {
				older := c.olderSecret["web/api-tls"]
				secret.Data, secret.Labels, secret.Annotations = older.Data, older.Labels, older.Annotations
			})
		}},
		{"Kubernetes: labels stripped", at("example", "api/example-tls"), "mend", "label: ", func(c careless) error {
			return c.change("api/example-tls", "a-person", func(secret *corev1.Secret) { secret.Labels = nil })
		}},
		{"Kubernetes: annotation changed", at("api", "api/api-tls"), "mend", "our mark names another version", func(c careless) error {
			return c.change("api/api-tls", "a-person", func(secret *corev1.Secret) {
				secret.Annotations["anycert.dev/digest"] = digestOf(c.scene, c.older["api"].Chain)
			})
		}},
		{"Kubernetes: mark stripped", at("example", "web/example-tls"), "mend", "our mark is missing", func(c careless) error {
			return c.change("web/example-tls", "a-person", func(secret *corev1.Secret) { secret.Annotations = nil })
		}},
		{"Kubernetes: the chain alone", at("api", "web/api-tls"), "replace", "the chain differs, the certificate is the same", func(c careless) error {
			return c.change("web/api-tls", "a-person", func(secret *corev1.Secret) {
				secret.Data["tls.crt"], _ = splitLeaf(secret.Data["tls.crt"])
			})
		}},
	}
}

package moving

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/internal/testenv/world"
)

const day = 24 * time.Hour

var domains = []string{"example.com", "*.example.com"}

// aged is a certificate of 90 days that began so long ago.
func aged(t *testing.T, w *world.World, age time.Duration) certs.Pair {
	t.Helper()
	return testenv.IssueFrom(t, w.Strangers, ageing(age, certs.EC256))
}

func ageing(age time.Duration, kind certs.KeyType) certs.Options {
	begin := time.Now().Add(-age)
	return certs.Options{Names: domains, NotBefore: begin, NotAfter: begin.Add(90 * day), KeyType: kind, Intermediate: true}
}

// certManager is who cert-manager writes Secrets as: with server-side apply, by force.
const certManager = "cert-manager-certificates-issuing"

// keep makes the Secret web/example-tls of a cluster what cert-manager leaves there
// after it issued pair for a Certificate named example, and lets it be what it is else.
func keep(w *world.World, cluster string, pair certs.Pair) {
	w.T.Helper()
	w.Must(apply(w.T.Context(), w, cluster, pair))
}

func apply(ctx context.Context, w *world.World, cluster string, pair certs.Pair) error {
	secret := &corev1.Secret{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: "example-tls",
			Labels: map[string]string{"controller.cert-manager.io/fao": "true"},
			Annotations: map[string]string{
				"cert-manager.io/alt-names":        "*.example.com,example.com",
				"cert-manager.io/certificate-name": "example",
				"cert-manager.io/common-name":      "example.com",
				"cert-manager.io/ip-sans":          "",
				"cert-manager.io/issuer-group":     "cert-manager.io",
				"cert-manager.io/issuer-kind":      "ClusterIssuer",
				"cert-manager.io/issuer-name":      "letsencrypt",
				"cert-manager.io/uri-sans":         "",
			}},
		Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{"tls.crt": pair.ChainPEM, "tls.key": pair.KeyPEM},
	}
	body, err := json.Marshal(secret)
	if err != nil {
		return err
	}
	force := true
	_, err = w.Clusters[cluster].Client().CoreV1().Secrets("web").Patch(ctx, "example-tls", types.ApplyPatchType, body,
		metav1.PatchOptions{FieldManager: certManager, Force: &force})
	return err
}

// secret reads a Secret as the administrator.
func secret(w *world.World, cluster, namespace, name string) *corev1.Secret {
	w.T.Helper()
	found, err := w.Clusters[cluster].Client().CoreV1().Secrets(namespace).Get(w.T.Context(), name, metav1.GetOptions{})
	w.Must(err)
	return found
}

// holds expects that a Secret holds the pair.
func holds(w *world.World, cluster, namespace string, pair certs.Pair) {
	w.T.Helper()
	chain, key := w.InCluster(cluster, namespace, "example-tls")
	if string(chain) != string(pair.ChainPEM) || string(key) != string(pair.KeyPEM) {
		w.T.Errorf("%s/%s/example-tls does not hold what it should", cluster, namespace)
	}
}

// contexts writes a kubeconfig with a context for each of clusters, of which the first
// is current, and returns its path.
func contexts(w *world.World, clusters ...string) string {
	w.T.Helper()
	var entries []kubeserver.Entry
	for _, name := range clusters {
		entries = append(entries, kubeserver.Entry{Context: name, Server: w.Clusters[name], Token: w.Clusters[name].AdminToken})
	}
	path := w.Path("kubeconfig")
	w.Must(kubeserver.WriteKubeconfig(path, entries...))
	return path
}

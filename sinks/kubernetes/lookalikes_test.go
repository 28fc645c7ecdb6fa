package kubernetes_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anycert/anycert"
)

// Secrets of others for our names are listed: not ours, not those for other names, not
// those that hold no certificate.
func TestLookalikes(t *testing.T) {
	r, sink, target := begin(t, nil)
	pair, _ := versions(t)
	mustPush(t, sink, target, pair)
	tls := func(name string, certificate []byte) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: name}, Type: corev1.SecretTypeTLS,
			Data: map[string][]byte{"tls.crt": certificate, "tls.key": []byte(pair.Bundle.KeyPEM().Reveal())}}
	}
	theirs := tls("old-tls", pair.Bundle.FullChainPEM())
	theirs.Annotations = map[string]string{"cert-manager.io/certificate-name": "old"}
	r.create("cert-manager", theirs)
	r.create("kubectl", tls("damaged", []byte("no certificate")))
	opaque := tls("opaque", pair.Bundle.FullChainPEM())
	opaque.Type = corev1.SecretTypeOpaque
	r.create("kubectl", opaque)

	leaf := pair.Bundle.Leaf()
	found, err := sink.Lookalikes(t.Context(), leaf.DNSNames, []anycert.Target{target})
	if err != nil || len(found) != 1 {
		t.Fatalf("%+v, %v", found, err)
	}
	if l := found[0]; l.Label != "web/old-tls" || l.Owner != "cert-manager (Certificate old)" || !l.NotAfter.Equal(leaf.NotAfter) {
		t.Errorf("%+v", l)
	}
	if found, err := sink.Lookalikes(t.Context(), []string{"example.org"}, nil); err != nil || len(found) != 0 {
		t.Errorf("%+v, %v", found, err)
	}
}

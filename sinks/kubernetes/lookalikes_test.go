package kubernetes_test

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/sinks/sinktest"
)

// tlsSecret is one of web that somebody else made of a pair.
func tlsSecret(name string, pair sinktest.Pair) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: name}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{"tls.crt": pair.Bundle.FullChainPEM(), "tls.key": []byte(pair.Bundle.KeyPEM().Reveal())}}
}

// Secrets of others for our names are listed: not ours, not those for other names, not
// those that hold no certificate. A copy of ours that somebody made with its mark is
// theirs.
func TestLookalikes(t *testing.T) {
	r, sink, target := begin(t, nil)
	pair, _ := versions(t)
	mustPush(t, sink, target, pair)
	theirs := tlsSecret("old-tls", pair)
	theirs.Annotations = map[string]string{"cert-manager.io/certificate-name": "old"}
	r.create("cert-manager", theirs)
	mirrored := tlsSecret("mirrored", pair)
	ours := r.get("web", "example-tls")
	mirrored.Labels, mirrored.Annotations = ours.Labels, ours.Annotations
	r.create("reflector", mirrored)
	damaged := tlsSecret("damaged", pair)
	damaged.Data["tls.crt"] = []byte("no certificate")
	r.create("kubectl", damaged)
	opaque := tlsSecret("opaque", pair)
	opaque.Type = corev1.SecretTypeOpaque
	r.create("kubectl", opaque)

	leaf := pair.Bundle.Leaf()
	found, err := sink.Lookalikes(t.Context(), leaf.DNSNames, []anycert.Target{target})
	if err != nil || len(found) != 2 {
		t.Fatalf("%+v, %v", found, err)
	}
	if l := found[0]; l.Label != "web/mirrored" || l.Owner != "someone else (last written by reflector)" {
		t.Errorf("%+v", l)
	}
	if l := found[1]; l.Label != "web/old-tls" || l.Owner != "cert-manager (Certificate old)" || !l.NotAfter.Equal(leaf.NotAfter) {
		t.Errorf("%+v", l)
	}
	if found, err := sink.Lookalikes(t.Context(), []string{"example.org"}, nil); err != nil || len(found) != 0 {
		t.Errorf("%+v, %v", found, err)
	}
}

// Keys of others are asked for in an audit alone, and where there is a name to look for:
// one listing of the TLS Secrets of each namespace of ours.
func TestLookalikesAskForNoMore(t *testing.T) {
	r := cluster(t)
	r.grant([]string{"web", "api"}, r.rule("secrets", "list"))
	sink := r.open(sinktest.Owner, r.config())
	start, err := r.Mark()
	r.must(err)
	if _, err := sink.Lookalikes(t.Context(), nil, nil); err != nil {
		t.Error(err)
	}
	if _, err := sink.Lookalikes(t.Context(), []string{"example.com"}, targets(t, sink)); err != nil {
		t.Error(err)
	}
	requests, err := r.Requests(start)
	r.must(err)
	if got := kubeserver.Count(kubeserver.From("anycert", requests)); fmt.Sprint(got) != "map[list secrets:2]" {
		t.Errorf("it asked %v", got)
	}
}

// Who may not list is told so once, in a line for all namespaces, and sees those of others.
func TestLookalikesWithoutTheRight(t *testing.T) {
	r := cluster(t)
	r.grant([]string{"web", "api"})
	sink := r.open(sinktest.Owner, r.config())
	pair, _ := versions(t)
	r.create("kubectl", tlsSecret("old-tls", pair))
	found, err := sink.Lookalikes(t.Context(), []string{"example.com"}, nil)
	wants(t, err, anycert.ErrForbidden, "permission denied to list the Secrets of web, api: nothing else is missing without it")
	if len(found) != 0 || strings.Contains(fmt.Sprint(err), "\n") {
		t.Errorf("%+v, %v", found, err)
	}
	r.allow("web", r.rule("secrets", "list"))
	found, err = sink.Lookalikes(t.Context(), []string{"example.com"}, nil)
	wants(t, err, anycert.ErrForbidden, "the Secrets of api:")
	if len(found) != 1 || found[0].Label != "web/old-tls" {
		t.Errorf("%+v, %v", found, err)
	}
}

package kubernetes_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/sinks/kubernetes"
	"github.com/anycert/anycert/sinks/sinktest"
)

// readOnly goes on as an account that may get this one Secret, and nothing else.
func (r *rig) readOnly() {
	r.t.Helper()
	account := kubeserver.Account{Namespace: "anycert", Name: strings.ToLower(r.t.Name()), Rules: map[string][]rbacv1.PolicyRule{
		"web": {{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"example-tls"}, Verbs: []string{"get"}}}}}
	var err error
	r.token, err = r.Login(r.ctx(), account)
	r.must(err)
	r.until("the account may read the Secret", func() bool {
		_, err := r.source(nil).Fetch(r.ctx(), "example")
		return !errors.Is(err, anycert.ErrForbidden)
	})
}

// source leads to the cluster as the account.
func (r *rig) source(change func(*kubernetes.SourceConfig)) anycert.Source {
	r.t.Helper()
	config := kubernetes.SourceConfig{Server: r.Host, CA: r.write("ca.pem", r.CAPEM), Token: anycert.Reference{Env: "TOKEN"}, Secret: "web/{{ .Name }}-tls"}
	if change != nil {
		change(&config)
	}
	if problems := config.Check(); len(problems) > 0 {
		r.t.Fatalf("the test's own configuration: %v", problems)
	}
	source, err := config.OpenSource(anycert.SinkEnv{Name: "old", Owner: sinktest.Owner, UserAgent: "anycert/test",
		Credential: func(anycert.Reference) anycert.Credential { return &credential{token: r.token} }})
	r.must(err)
	return source
}

// kept is a Secret as cert-manager keeps it.
func kept(pair certs.Pair) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: "example-tls",
			Labels:      map[string]string{"controller.cert-manager.io/fao": "true"},
			Annotations: map[string]string{"cert-manager.io/certificate-name": "example"}},
		Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{"tls.crt": pair.ChainPEM, "tls.key": pair.KeyPEM},
	}
}

// A source needs one right, and asks for nothing else.
func TestSourceReadsWhatOthersKeep(t *testing.T) {
	r := cluster(t)
	r.readOnly()
	source := r.source(nil)
	for name, test := range map[string]struct {
		options certs.Options
		change  func(*corev1.Secret)
	}{
		"cert-manager's":       {certs.Options{Intermediate: true}, func(*corev1.Secret) {}},
		"an RSA key in PKCS#1": {certs.Options{KeyType: certs.RSA2048, KeyFormat: certs.PKCS1}, func(*corev1.Secret) {}},
		"of an older tool":     {certs.Options{}, func(s *corev1.Secret) { s.Type = corev1.SecretTypeOpaque }},
		"KCert's": {certs.Options{}, func(s *corev1.Secret) {
			s.Labels, s.Annotations = map[string]string{"kcert.dev/secret": "managed"}, nil
		}},
		"a copy of another hub's": {certs.Options{}, func(s *corev1.Secret) { s.Annotations["anycert.dev/owner"] = "other-hub" }},
	} {
		t.Run(name, func(t *testing.T) {
			pair := testenv.Issue(t, test.options)
			secret := kept(pair)
			test.change(secret)
			r.create("cert-manager-certificates-issuing", secret)
			defer func() {
				r.must(r.Client().CoreV1().Secrets("web").Delete(r.ctx(), "example-tls", metav1.DeleteOptions{}))
			}()
			start, err := r.Mark()
			r.must(err)
			bundle, err := source.Fetch(t.Context(), "example")
			r.must(err)
			if got, want := bundle.Digest(), anycert.DigestOf(pair.Chain); got != want {
				t.Errorf("%s was read, want %s", got, want)
			}
			requests, err := r.Requests(start)
			r.must(err)
			ours := kubeserver.From("anycert/test", requests)
			if count := kubeserver.Count(ours); len(ours) != 1 || count["get secrets"] != 1 {
				t.Errorf("it asked for %v, want one get", count)
			}
		})
	}
}

func TestSourceRefuses(t *testing.T) {
	r := cluster(t)
	r.readOnly()
	source := r.source(nil)
	other := testenv.Issue(t, certs.Options{})
	for name, test := range map[string]struct {
		options certs.Options
		change  func(*corev1.Secret)
		want    error
		words   []string
	}{
		"our own copy": {certs.Options{}, func(s *corev1.Secret) { s.Annotations["anycert.dev/owner"] = sinktest.Owner }, anycert.ErrRefused,
			[]string{"Secret web/example-tls of cluster 127.0.0.1:", "a copy that this hub (owner " + sinktest.Owner + ") made"}},
		"a temporary one": {certs.Options{Names: []string{"cert-manager.local", "example.com"}, SelfSigned: true}, func(*corev1.Secret) {}, anycert.ErrRefused,
			[]string{"the temporary certificate that cert-manager puts there", "kubectl -n web describe certificate"}},
		"no key yet":         {certs.Options{}, func(s *corev1.Secret) { s.Data["tls.key"] = nil }, anycert.ErrMalformed, []string{"it has no tls.key"}},
		"no certificate":     {certs.Options{}, func(s *corev1.Secret) { s.Data = nil; s.Type = corev1.SecretTypeOpaque }, anycert.ErrMalformed, []string{"it has no tls.crt"}},
		"the key of another": {certs.Options{}, func(s *corev1.Secret) { s.Data["tls.key"] = other.KeyPEM }, anycert.ErrMalformed, []string{"the private key does not belong to the certificate"}},
		"not a certificate":  {certs.Options{}, func(s *corev1.Secret) { s.Data["tls.crt"] = other.KeyPEM }, anycert.ErrMalformed, []string{"of cluster 127.0.0.1:"}},
		"a key that is weak": {certs.Options{KeyType: certs.RSA1024}, func(*corev1.Secret) {}, anycert.ErrMalformed, []string{"1024"}},
	} {
		t.Run(name, func(t *testing.T) {
			secret := kept(testenv.Issue(t, test.options))
			test.change(secret)
			r.create("cert-manager-certificates-issuing", secret)
			defer func() {
				r.must(r.Client().CoreV1().Secrets("web").Delete(r.ctx(), "example-tls", metav1.DeleteOptions{}))
			}()
			bundle, err := source.Fetch(t.Context(), "example")
			wants(t, err, test.want, test.words...)
			if bundle != nil {
				t.Error("it gave a bundle as well")
			}
		})
	}
}

// What is not there, what may not be read and what does not answer are told apart.
func TestSourceWithoutASecret(t *testing.T) {
	r := cluster(t)
	r.readOnly()
	_, err := r.source(nil).Fetch(t.Context(), "example")
	wants(t, err, anycert.ErrNotFound, "has no Secret web/example-tls: check the name, the namespace and the cluster")
	elsewhere := func(c *kubernetes.SourceConfig) { c.Secret = "api/{{ .Name }}-tls" }
	_, err = r.source(elsewhere).Fetch(t.Context(), "example")
	wants(t, err, anycert.ErrForbidden, "reading Secret api/example-tls", "resourceNames: [example-tls], verbs: [get]")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = r.source(nil).Fetch(ended, "example")
	wants(t, err, anycert.ErrUnavailable, "no answer in time")
}

// A source and a sink call one place by one key, however they reach the cluster.
func TestSourceAndSinkShareKeys(t *testing.T) {
	r := cluster(t)
	byContext := func(c *kubernetes.SourceConfig) {
		*c = kubernetes.SourceConfig{Kubeconfig: r.Kubeconfig, Context: "admin", Secret: c.Secret}
	}
	want := targets(t, r.open(sinktest.Owner, r.config()))[0].Key
	for label, change := range map[string]func(*kubernetes.SourceConfig){
		"Secret web/example-tls of cluster admin":                       byContext,
		"Secret web/example-tls of cluster " + r.Host[len("https://"):]: nil,
	} {
		place, err := r.source(change).Place("example")
		r.must(err)
		if place.Key != want || place.Label != label || place.Certificate != "example" {
			t.Errorf("%+v, want the key %s and the label %q", place, want, label)
		}
	}
}

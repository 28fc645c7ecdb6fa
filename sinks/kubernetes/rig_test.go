package kubernetes_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/sinks/kubernetes"
)

// shared is the kube-apiserver of this package's tests, started by the first that
// needs it.
var shared struct {
	sync.Once
	dir    string
	server *kubeserver.Server
	err    error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.server != nil {
		shared.server.Close()
	}
	_ = os.RemoveAll(shared.dir)
	os.Exit(code)
}

// rig is the shared cluster with the service account anycert/anycert, and the
// rights of the sink's page for it.
type rig struct {
	*kubeserver.Server
	t     testing.TB
	token string
}

// cluster returns the shared cluster, in which the namespaces web and api are empty
// of Secrets. What rights the account has is left from the test before: see grant.
func cluster(t testing.TB) *rig {
	t.Helper()
	shared.Do(func() {
		if shared.dir, shared.err = os.MkdirTemp("", "anycert-kubernetes"); shared.err != nil {
			return
		}
		shared.server, shared.err = kubeserver.Start(context.Background(), shared.dir, kubeserver.Options{})
		if shared.err == nil {
			shared.err = shared.server.CreateNamespaces(context.Background(), "anycert", "web", "api")
		}
		if shared.err == nil {
			(&rig{Server: shared.server, t: t}).apply("web") // makes the account
		}
	})
	if shared.err != nil {
		t.Fatalf("this test runs against the real kube-apiserver: %v", shared.err)
	}
	r := &rig{Server: shared.server, t: t}
	for _, namespace := range []string{"web", "api"} {
		r.must(r.Client().CoreV1().Secrets(namespace).DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}))
	}
	seconds := int64(3600)
	request, err := r.Client().CoreV1().ServiceAccounts("anycert").CreateToken(t.Context(), "anycert", &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	r.must(err)
	r.token = request.Status.Token
	return r
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// ctx outlives the test's own context, so that it may be used while cleaning up.
func (r *rig) ctx() context.Context { return context.WithoutCancel(r.t.Context()) }

func (r *rig) until(what string, done func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// get reads a Secret as the administrator; nil when there is none.
func (r *rig) get(namespace, name string) *corev1.Secret {
	r.t.Helper()
	secret, err := r.Client().CoreV1().Secrets(namespace).Get(r.ctx(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	r.must(err)
	return secret
}

// change updates a Secret as the administrator, under a field manager's name.
func (r *rig) change(namespace, name, manager string, change func(*corev1.Secret)) {
	r.t.Helper()
	secret := r.get(namespace, name)
	change(secret)
	_, err := r.Client().CoreV1().Secrets(namespace).Update(r.ctx(), secret, metav1.UpdateOptions{FieldManager: manager})
	r.must(err)
}

// create makes a Secret as the administrator, under a field manager's name.
func (r *rig) create(manager string, secret *corev1.Secret) {
	r.t.Helper()
	_, err := r.Client().CoreV1().Secrets(secret.Namespace).Create(r.ctx(), secret, metav1.CreateOptions{FieldManager: manager})
	r.must(err)
}

// config leads to the cluster as the account.
func (r *rig) config() kubernetes.Config {
	r.t.Helper()
	return kubernetes.Config{
		Server:     r.Host,
		CA:         r.write("ca.pem", r.CAPEM),
		Token:      anycert.Reference{Env: "TOKEN"},
		Namespaces: []string{"web", "api"},
		QPS:        1000,
		Burst:      1000,
	}
}

func (r *rig) write(name string, text []byte) (path string) {
	r.t.Helper()
	path = filepath.Join(r.t.TempDir(), name)
	r.must(os.WriteFile(path, text, 0o600))
	return path
}

// open makes a sink that sends the account's token.
func (r *rig) open(owner string, config kubernetes.Config) *kubernetes.Sink {
	r.t.Helper()
	return open(r.t, owner, config, &credential{token: r.token})
}

func open(t testing.TB, owner string, config kubernetes.Config, token *credential) *kubernetes.Sink {
	t.Helper()
	if problems := config.Check(); len(problems) > 0 {
		t.Fatalf("the test's own configuration: %v", problems)
	}
	sink, err := config.Open(anycert.SinkEnv{Name: "prod", Owner: owner, UserAgent: "anycert/test",
		Credential: func(anycert.Reference) anycert.Credential { return token }})
	if err != nil {
		t.Fatal(err)
	}
	return sink.(*kubernetes.Sink)
}

// credential is a token in memory.
type credential struct {
	mu      sync.Mutex
	token   string
	err     error
	refused int
}

func (c *credential) Secret(context.Context) (anycert.Secret, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return anycert.NewSecret(c.token), c.err
}

func (c *credential) Refused() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused++
}

func chmod(path string) error { return os.Chmod(path, 0o700) }

func encode(t testing.TB, value any) []byte {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

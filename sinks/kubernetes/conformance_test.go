package kubernetes_test

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/sinks/sinktest"
)

// With list, so that the survey is one: Observe reads by name either way.
func TestConformance(t *testing.T) { sinktest.Run(t, harness) }

// harness leads the sink through a proxy, which can fail as networks and servers
// do, to the real kube-apiserver, with the rights that the page names.
func harness(t testing.TB) *sinktest.Harness {
	r := cluster(t)
	remove := r.rule("secrets", "delete")
	remove.ResourceNames = []string{"example-tls"}
	namespaces := []string{"web", "api"}
	r.grant(namespaces, r.rule("secrets", "list"), remove)
	proxy := newProxy(r)
	config := r.config()
	config.Server, config.CA = proxy.URL, r.write("proxy.pem", proxy.ca())
	config.List = true
	start, err := r.Mark()
	r.must(err)
	admin := r.Client()
	return &sinktest.Harness{
		New:         func(owner string) anycert.Sink { return r.open(owner, config) },
		Certificate: "example",
		Names:       []string{"example.com", "*.example.com"},
		Served: func(target anycert.Target) (sinktest.Served, error) {
			namespace, name, _ := strings.Cut(target.Label, "/")
			secret, err := admin.CoreV1().Secrets(namespace).Get(r.ctx(), name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return sinktest.Served{}, nil
			} else if err != nil {
				return sinktest.Served{}, err
			}
			return sinktest.Served{ChainPEM: secret.Data["tls.crt"], KeyPEM: secret.Data["tls.key"]}, nil
		},
		Writes: func() int {
			requests, err := r.Requests(start)
			r.must(err)
			return writes(requests)
		},
		Tamper:    tampers(r),
		Foreign:   foreigners(r),
		FailWrite: proxy.failWrite,
		Forbid: func() func() {
			r.revoke("web")
			r.revoke("api")
			return func() { r.grant(namespaces, r.rule("secrets", "list"), remove) }
		},
		Unavailable: func() func() {
			return proxy.enter(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		},
		Hang: func() func() {
			return proxy.enter(func(_ http.ResponseWriter, request *http.Request) { <-request.Context().Done() })
		},
		Secrets: []string{r.token},
	}
}

// writes counts what the sink wrote to Secrets: a review of rights is none.
func writes(requests []kubeserver.Request) (n int) {
	for _, request := range kubeserver.Writes(kubeserver.From("anycert", requests)) {
		if request.Resource == "secrets" {
			n++
		}
	}
	return n
}

func tampers(r *rig) []sinktest.Tamper {
	change := func(name string, change func(*corev1.Secret, sinktest.Material)) sinktest.Tamper {
		return sinktest.Tamper{Name: name, Do: func(_ testing.TB, target anycert.Target, m sinktest.Material) {
			namespace, secret, _ := strings.Cut(target.Label, "/")
			r.change(namespace, secret, "kubectl-edit", func(s *corev1.Secret) { change(s, m) })
		}}
	}
	remove := func(target anycert.Target) {
		namespace, name, _ := strings.Cut(target.Label, "/")
		r.must(r.Client().CoreV1().Secrets(namespace).Delete(r.ctx(), name, metav1.DeleteOptions{}))
	}
	return []sinktest.Tamper{
		change("replaced by a self-signed certificate until 2099", func(s *corev1.Secret, m sinktest.Material) { lay(s, m.LongLived) }),
		{Name: "deleted", Do: func(_ testing.TB, target anycert.Target, _ sinktest.Material) { remove(target) }},
		change("somebody else's certificate under our mark", func(s *corev1.Secret, m sinktest.Material) { lay(s, m.Stranger) }),
		change("an older certificate of ours", func(s *corev1.Secret, m sinktest.Material) { lay(s, m.Older) }),
		change("a wrong key beside the right certificate", func(s *corev1.Secret, m sinktest.Material) {
			s.Data["tls.key"] = []byte(m.Stranger.Bundle.KeyPEM().Reveal())
		}),
		change("the chain cut", func(s *corev1.Secret, m sinktest.Material) { s.Data["tls.crt"] = m.Pushed.Bundle.LeafPEM() }),
		change("text before the certificate", func(s *corev1.Secret, _ sinktest.Material) {
			s.Data["tls.crt"] = append([]byte("subject=example\n"), s.Data["tls.crt"]...)
		}),
		change("emptied", func(s *corev1.Secret, _ sinktest.Material) {
			s.Data["tls.crt"], s.Data["tls.key"] = []byte{}, []byte{}
		}),
		change("no longer PEM", func(s *corev1.Secret, _ sinktest.Material) { s.Data["tls.crt"] = []byte("broken") }),
		change("our label removed", func(s *corev1.Secret, _ sinktest.Material) { s.Labels = nil }),
		change("label and mark removed", func(s *corev1.Secret, _ sinktest.Material) { s.Labels, s.Annotations = nil, nil }),
		change("the mark of an older version", func(s *corev1.Secret, m sinktest.Material) {
			s.Annotations["anycert.dev/digest"] = m.Older.Entry.Digest.String()
		}),
		change("the mark of another certificate", func(s *corev1.Secret, m sinktest.Material) {
			s.Annotations["anycert.dev/certificate"] = "other"
		}),
		{Name: "deleted, and made again by hand with our mark", Do: func(_ testing.TB, target anycert.Target, m sinktest.Material) {
			namespace, name, _ := strings.Cut(target.Label, "/")
			old := r.get(namespace, name)
			remove(target)
			old.ObjectMeta = metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: old.Labels, Annotations: old.Annotations}
			lay(old, m.Stranger)
			r.create("kubectl-create", old)
		}},
	}
}

func foreigners(r *rig) []sinktest.Tamper {
	make := func(name string, change func(*corev1.Secret)) sinktest.Tamper {
		return sinktest.Tamper{Name: name, Do: func(_ testing.TB, target anycert.Target, m sinktest.Material) {
			secret := stranger(target.Label, m.Stranger)
			change(secret)
			r.create("kubectl-create", secret)
		}}
	}
	yes := true
	return []sinktest.Tamper{
		make("by hand", func(*corev1.Secret) {}),
		make("immutable", func(s *corev1.Secret) { s.Immutable = &yes }),
		make("opaque", func(s *corev1.Secret) { s.Type = corev1.SecretTypeOpaque }),
		make("another hub's", func(s *corev1.Secret) {
			s.Labels = map[string]string{"app.kubernetes.io/managed-by": "anycert"}
			s.Annotations = map[string]string{"anycert.dev/owner": "someone"}
		}),
		make("our label alone", func(s *corev1.Secret) {
			s.Labels = map[string]string{"app.kubernetes.io/managed-by": "anycert"}
		}),
		make("Helm's, with our owner in it", func(s *corev1.Secret) {
			s.Labels = map[string]string{"app.kubernetes.io/managed-by": "Helm"}
			s.Annotations = map[string]string{"anycert.dev/owner": sinktest.Owner}
		}),
	}
}

func stranger(label string, pair sinktest.Pair) *corev1.Secret {
	namespace, name, _ := strings.Cut(label, "/")
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Type: corev1.SecretTypeTLS}
	lay(secret, pair)
	return secret
}

func lay(secret *corev1.Secret, pair sinktest.Pair) {
	secret.Data = map[string][]byte{"tls.crt": pair.Bundle.FullChainPEM(), "tls.key": []byte(pair.Bundle.KeyPEM().Reveal())}
}

// proxy stands before the API server and fails when told to.
type proxy struct {
	*httptest.Server
	pass http.Handler

	mu      sync.Mutex
	nth     int
	instead http.HandlerFunc
}

func newProxy(r *rig) *proxy {
	r.t.Helper()
	target, err := url.Parse(r.Host)
	r.must(err)
	transport, err := rest.TransportFor(&rest.Config{TLSClientConfig: rest.TLSClientConfig{CAData: r.CAPEM}})
	r.must(err)
	p := &proxy{pass: &httputil.ReverseProxy{
		Rewrite:   func(request *httputil.ProxyRequest) { request.SetURL(target) },
		Transport: transport,
		// A client that gave up is no news.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}}
	p.Server = httptest.NewTLSServer(p)
	r.t.Cleanup(p.Close)
	return p
}

func (p *proxy) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw})
}

func (p *proxy) failWrite(nth int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nth = nth
}

func (p *proxy) enter(instead http.HandlerFunc) (undo func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.instead = instead
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.instead = nil
	}
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	p.mu.Lock()
	instead := p.instead
	if p.nth > 0 && request.Method != http.MethodGet && instead == nil {
		if p.nth--; p.nth == 0 {
			instead = echo
		}
	}
	p.mu.Unlock()
	if instead == nil {
		instead = p.pass.ServeHTTP
	}
	instead(w, request)
}

// echo fails as Kubernetes does, and says all that it was sent.
func echo(w http.ResponseWriter, request *http.Request) {
	body, _ := io.ReadAll(request.Body)
	var secret corev1.Secret
	_ = json.NewDecoder(bytes.NewReader(body)).Decode(&secret)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusInternalServerError)
	_ = json.NewEncoder(w).Encode(metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure,
		Code:     http.StatusInternalServerError,
		Reason:   metav1.StatusReason(request.Header.Get("Authorization")),
		Message:  fmt.Sprintf("cannot take %s with %s, which is %s or %v", body, request.Header, secret.Data["tls.key"], secret.Data["tls.key"]),
	})
}

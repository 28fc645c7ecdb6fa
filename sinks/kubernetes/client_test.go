package kubernetes_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/klog/v2"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/sinks/kubernetes"
	"github.com/anycert/anycert/sinks/sinktest"
)

// stranded is a sink whose server is some other than Kubernetes.
func stranded(t *testing.T, token *credential, answer http.HandlerFunc) (*kubernetes.Sink, anycert.Target) {
	t.Helper()
	server := httptest.NewTLSServer(answer)
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	sink := open(t, sinktest.Owner, kubernetes.Config{Server: server.URL, CA: ca, Token: anycert.Reference{Env: "TOKEN"}, Namespaces: []string{"web"}, List: true}, token)
	return sink, targets(t, sink)[0]
}

func status(code int, reason, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
			Status: metav1.StatusFailure, Code: int32(code), Reason: metav1.StatusReason(reason), Message: message})
	}
}

func text(code int, kind, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// What is not Kubernetes' own word that nothing is there, is no absence.
func TestAnswersAreToldApart(t *testing.T) {
	tests := map[string]struct {
		answer http.HandlerFunc
		want   error
		says   string
	}{
		"a proxy's 404":      {text(404, "text/html", "<h1>not found</h1>"), anycert.ErrUnavailable, "404"},
		"a 404 for the path": {status(404, "NotFound", "the server could not find the requested resource"), anycert.ErrUnavailable, "could not find the requested resource"},
		"a login page":       {text(200, "text/html", "<h1>log in</h1>"), anycert.ErrUnavailable, "check the server's address"},
		"another object":     {text(200, "application/json", `{"metadata":{"name":"other","namespace":"web"}}`), anycert.ErrUnavailable, "check the server's address"},
		"nothing":            {text(200, "application/json", ""), anycert.ErrUnavailable, "check the server's address"},
		"overload":           {status(429, "TooManyRequests", "slow down"), anycert.ErrUnavailable, "429: slow down"},
		"overload with a delay": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "60")
			text(429, "text/plain", "")(w, r)
		}, anycert.ErrUnavailable, "429"},
		"no leader":              {status(500, "InternalError", "etcdserver: leader changed"), anycert.ErrUnavailable, "500: etcdserver: leader changed"},
		"a gateway":              {text(502, "text/plain", "bad gateway"), anycert.ErrUnavailable, "502"},
		"timeout":                {status(504, "Timeout", "took too long"), anycert.ErrUnavailable, "504"},
		"a wrong token":          {status(401, "Unauthorized", "token t0ps3cr3t is not known"), anycert.ErrForbidden, "does not accept our credentials"},
		"RBAC":                   {status(403, "Forbidden", `User "me" cannot get resource "secrets"`), anycert.ErrForbidden, "verbs: [get]"},
		"a webhook":              {status(403, "Forbidden", `admission webhook "policy.example.com" denied the request: no`), anycert.ErrForbidden, `admission webhook "policy.example.com" denied the request: no`},
		"a request that is sent": {status(400, "t0ps3cr3t", "Bearer t0ps3cr3t"), nil, "400 Bad Request"},
		"a closed connection":    {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, anycert.ErrUnavailable, "EOF"},
	}
	pair, _ := versions(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			sink, target := stranded(t, &credential{token: "t0ps3cr3t"}, test.answer)
			observed, err := sink.Observe(t.Context(), target)
			wants(t, err, test.want, test.says, target.Label)
			pushErr := sink.Push(t.Context(), target, pair.Entry, pair.Bundle)
			wants(t, pushErr, test.want, test.says, target.Label)
			survey, _ := sink.Survey(t.Context())
			_, listErr := survey.Observe(t.Context(), target)
			wants(t, listErr, test.want, "listing the Secrets of namespace web")
			if observed.Found || strings.Contains(fmt.Sprint(err, pushErr, listErr), "t0ps3cr3t") {
				t.Errorf("%+v, %v, %v, %v", observed, err, pushErr, listErr)
			}
		})
	}
}

func TestARefusedTokenIsSaid(t *testing.T) {
	token := &credential{token: "old"}
	var seen atomic.Value
	sink, target := stranded(t, token, func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.Header.Get("Authorization") + " " + r.UserAgent())
		status(401, "Unauthorized", "no")(w, r)
	})
	_, err := sink.Observe(t.Context(), target)
	wants(t, err, anycert.ErrForbidden)
	if got := seen.Load(); got != "Bearer old anycert/test" || token.refused != 1 {
		t.Errorf("the server saw %q, and the token was refused %d times", got, token.refused)
	}
	token.err = fmt.Errorf("vault: %w", anycert.ErrForbidden)
	_, err = sink.Observe(t.Context(), target)
	wants(t, err, anycert.ErrForbidden, "reading the token", "vault", target.Label)
	if errors.Is(err, anycert.ErrUnavailable) {
		t.Errorf("a token that cannot be read is told as a server that cannot be reached: %v", err)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	var visited atomic.Int32
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visited.Add(1) }))
	t.Cleanup(elsewhere.Close)
	sink, target := stranded(t, &credential{token: "t0ps3cr3t"}, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusTemporaryRedirect)
	})
	_, err := sink.Observe(t.Context(), target)
	wants(t, err, anycert.ErrUnavailable, "redirect to 127.0.0.1:", "not followed")
	if visited.Load() > 0 {
		t.Error("the redirect was followed")
	}
}

func TestAServerThatIsNotThere(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	server.Close()
	config := kubernetes.Config{Server: server.URL, Token: anycert.Reference{Env: "TOKEN"}, Namespaces: []string{"web"}}
	sink := open(t, sinktest.Owner, config, &credential{token: "t0ps3cr3t"})
	_, err := sink.Observe(t.Context(), targets(t, sink)[0])
	wants(t, err, anycert.ErrUnavailable, "web/example-tls", "connection refused")
}

// buffer collects what klog writes.
type buffer struct {
	sync.Mutex
	bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) { b.Lock(); defer b.Unlock(); return b.Buffer.Write(p) }
func (b *buffer) text() string                { b.Lock(); defer b.Unlock(); return b.Buffer.String() }

// With the loudest level that client-go has, a push shows nothing of key and token,
// while client-go's own clientset shows them: the search can find.
func TestClientGoLogsNoKey(t *testing.T) {
	flags := flag.NewFlagSet("klog", flag.PanicOnError)
	klog.InitFlags(flags)
	var log buffer
	state := klog.CaptureState()
	t.Cleanup(state.Restore)
	for name, value := range map[string]string{"v": "10", "logtostderr": "false", "stderrthreshold": "FATAL"} {
		if err := flags.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	klog.SetOutput(&log)

	r, sink, target := begin(t, func(c *kubernetes.Config) { c.List = true })
	one, two := versions(t)
	p := newProxy(r)
	p.failWrite(2)
	config := r.config()
	config.Server, config.CA = p.URL, r.write("proxy.pem", p.ca())
	echoed := r.open(sinktest.Owner, config)
	klog.Flush()
	quietFrom := len(log.text())
	for range 2 {
		mustPush(t, sink, target, one)
		_ = echoed.Push(t.Context(), target, two.Entry, two.Bundle)
		survey, err := sink.Survey(t.Context())
		r.must(err)
		observe(t, survey, target)
	}
	klog.Flush()
	ours := log.text()[quietFrom:]
	if i := strings.Index(ours, "Request Body"); i >= 0 {
		t.Errorf("a body was logged")
	}
	for _, pair := range []sinktest.Pair{one, two} {
		if err := sinktest.Leaks(ours, pair.Bundle); err != nil {
			t.Errorf("klog shows a key: %v", err)
		}
	}
	if strings.Contains(ours, r.token) {
		t.Error("klog shows the token")
	}

	loud := r.Config(r.AdminToken)
	loud.ContentType, loud.AcceptContentTypes = "application/json", "application/json"
	_, err := corev1client.NewForConfigOrDie(loud).Secrets("web").Get(t.Context(), "example-tls", metav1.GetOptions{})
	r.must(err)
	klog.Flush()
	if sinktest.Leaks(log.text(), one.Bundle) == nil {
		t.Error("client-go's own client leaked nothing: this test proves nothing")
	}
}

// Others' Secrets are not even sent.
func TestListingSkipsTheSecretsOfOthers(t *testing.T) {
	const others, size = 20, 1_000_000
	r, direct, target := begin(t, func(c *kubernetes.Config) { c.List = true })
	pair, _ := versions(t)
	mustPush(t, direct, target, pair)
	blob := make([]byte, size)
	_, _ = rand.Read(blob) // what can be compressed would hide in the count
	for i := range others {
		r.create("tool", &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: fmt.Sprintf("large-%d", i)},
			Data: map[string][]byte{"blob": blob}})
	}
	p := newProxy(r)
	var sent atomic.Int64
	p.enter(func(w http.ResponseWriter, request *http.Request) {
		p.pass.ServeHTTP(&counter{w, &sent}, request)
	})
	config := r.config()
	config.Server, config.CA, config.List = p.URL, r.write("proxy.pem", p.ca()), true
	config.Namespaces = []string{"web"}
	sink := r.open(sinktest.Owner, config)
	survey, err := sink.Survey(t.Context())
	r.must(err)
	if err := sinktest.Agrees(pair.Entry, observe(t, survey, targets(t, sink)[0])); err != nil {
		// The key of the target names the proxy; all else is the same.
		t.Error(err)
	}
	if got := sent.Load(); got == 0 || got > 50_000 {
		t.Errorf("a survey beside %d Secrets of %d bytes was sent %d bytes", others, size, got)
	}
}

type counter struct {
	http.ResponseWriter
	sent *atomic.Int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.sent.Add(int64(len(p)))
	return c.ResponseWriter.Write(p)
}

// Whatever happened to a Secret, the survey tells what Observe tells: also of one
// that lost the label which the listing selects by.
func TestListingSeesWhatReadingSees(t *testing.T) {
	one, two := versions(t)
	r, sink, target := begin(t, func(c *kubernetes.Config) { c.List = true })
	m := sinktest.Material{Pushed: two, Older: one, LongLived: one, Stranger: one}
	compare := func(name string) anycert.Observed {
		survey, err := sink.Survey(t.Context())
		r.must(err)
		observed := observe(t, sink, target)
		if diff := cmp.Diff(observed, observe(t, survey, target)); diff != "" {
			t.Errorf("%s (-Observe +Survey):\n%s", name, diff)
		}
		return observed
	}
	for _, tamper := range tampers(r) {
		mustPush(t, sink, target, two)
		tamper.Do(t, target, m)
		compare(tamper.Name)
	}
	for _, foreign := range foreigners(r) {
		r.must(r.Client().CoreV1().Secrets("web").DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}))
		foreign.Do(t, target, m)
		if !compare(foreign.Name).Found {
			t.Errorf("%s: nothing is found", foreign.Name)
		}
	}
}

// A pass over more Secrets than one page holds sees them all.
func TestListingTurnsPages(t *testing.T) {
	const secrets = 260
	r, sink, _ := begin(t, func(c *kubernetes.Config) { c.List = true })
	pair, _ := versions(t)
	for i := range secrets {
		secret := stranger(fmt.Sprintf("web/many-%d", i), pair)
		secret.Labels = map[string]string{"app.kubernetes.io/managed-by": "anycert"}
		r.create("tool", secret)
	}
	start, err := r.Mark()
	r.must(err)
	survey, err := sink.Survey(t.Context())
	r.must(err)
	for i := range secrets {
		label := fmt.Sprintf("web/many-%d", i)
		if !observe(t, survey, anycert.Target{Label: label}).Found {
			t.Errorf("%s is not seen", label)
		}
	}
	requests, err := r.Requests(start)
	r.must(err)
	if len(requests) != 2 {
		t.Errorf("%d requests were made, want two pages", len(requests))
	}
}

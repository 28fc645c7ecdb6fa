package kubernetes

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/trusted"
)

// requestTimeout bounds one request with its answer.
const requestTimeout = 30 * time.Second

// connect makes the client of the cluster. Files are read; nobody is asked.
func (c Config) connect(env anycert.SinkEnv) (*cluster, error) {
	settings, err := c.settings()
	if err != nil {
		return nil, err
	}
	if err := trust(settings.CAFile, settings.CertFile, settings.KeyFile, settings.BearerTokenFile); err != nil {
		return nil, err
	}
	if c.Server != "" {
		credential := env.Credential(c.Token)
		settings.Wrap(func(next http.RoundTripper) http.RoundTripper { return &bearer{credential, next} })
	}
	settings.UserAgent = env.UserAgent
	settings.Timeout = requestTimeout
	settings.QPS, settings.Burst = defaultQPS, defaultBurst
	if c.QPS > 0 {
		settings.QPS = c.QPS
	}
	if c.Burst > 0 {
		settings.Burst = c.Burst
	}
	return newCluster(settings)
}

// settings reads the way to the cluster that the configuration names.
func (c Config) settings() (*rest.Config, error) {
	switch {
	case c.InCluster:
		settings, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("reading the pod's service account: %w: in_cluster works in a pod with a mounted service account token only", err)
		}
		return settings, nil
	case c.Server != "":
		return &rest.Config{Host: c.Server, TLSClientConfig: rest.TLSClientConfig{CAFile: c.CA}}, nil
	}
	return c.fromKubeconfig()
}

// Files are the kubeconfigs that are read, which hold credentials or lead to them.
func (c Config) Files() []string {
	if c.InCluster || c.Server != "" {
		return nil
	}
	return c.loadingRules().GetLoadingPrecedence()
}

func (c Config) loadingRules() *clientcmd.ClientConfigLoadingRules {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.Kubeconfig
	rules.Warner = func(error) {} // what it would log follows from the errors of who uses it
	return rules
}

// trust refuses files that someone else may write: a kubeconfig can name any server,
// and any command to run, and a CA can vouch for any server. A file that is not there
// is left to client-go, which knows whether it is needed.
func trust(paths ...string) error {
	for _, path := range paths {
		if path == "" {
			continue
		}
		if err := trusted.Check(path, maxFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// maxFile bounds, in bytes, a kubeconfig and each file that it names.
const maxFile = 4 << 20

func (c Config) fromKubeconfig() (*rest.Config, error) {
	rules := c.loadingRules()
	if err := trust(c.Files()...); err != nil {
		return nil, fmt.Errorf("the kubeconfig: %w", err)
	}
	where := strings.Join(rules.GetLoadingPrecedence(), ":")
	file, err := rules.Load()
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig %s: %w", where, err)
	}
	name := c.Context
	if name == "" {
		name = file.CurrentContext
	}
	context, ok := file.Contexts[name]
	if !ok && len(file.Contexts) == 0 {
		return nil, fmt.Errorf("there is no kubeconfig at %s: name one with kubeconfig, or in KUBECONFIG", where)
	}
	if !ok {
		return nil, fmt.Errorf("the kubeconfig %s has no context %q: it has %q", where, name, slices.Sorted(maps.Keys(file.Contexts)))
	}
	settings, err := clientcmd.NewNonInteractiveClientConfig(*file, name, nil, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("the kubeconfig %s, context %q: %w", where, name, err)
	}
	if err := usable(settings); err != nil {
		return nil, fmt.Errorf("the kubeconfig %s, context %q, user %q: %w", where, name, context.AuthInfo, err)
	}
	return settings, nil
}

// usable refuses what would show keys to strangers, and what cannot work here.
func usable(settings *rest.Config) error {
	if err := checkServer(settings.Host); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	if settings.Insecure {
		return errors.New("insecure-skip-tls-verify is set: private keys would be sent to whoever answers; set certificate-authority")
	}
	if settings.AuthProvider != nil {
		return fmt.Errorf("auth-provider %q is no longer a part of Kubernetes clients: use a service account's token, as server, ca and token", settings.AuthProvider.Name)
	}
	if plugin := settings.ExecProvider; plugin != nil {
		plugin.StdinUnavailable = true // a daemon has nobody to ask
		if _, err := exec.LookPath(plugin.Command); err != nil {
			return fmt.Errorf("it gets its credentials from the command %q, which is not here (the image of anycert has no such plugins): use a service account's token, as server, ca and token", plugin.Command)
		}
	}
	return nil
}

// newCluster builds the client. It differs from client-go's own clientset in what
// happens to a body: no redirect takes it to another host, nothing logs it, and
// listings are read one Secret at a time.
func newCluster(settings *rest.Config) (*cluster, error) {
	known := runtime.NewScheme() // of the answers that are decoded there: errors
	metav1.AddToGroupVersion(known, schema.GroupVersion{Version: "v1"})
	settings.APIPath = "/api"
	settings.GroupVersion = &schema.GroupVersion{Version: "v1"}
	settings.NegotiatedSerializer = serializer.NewCodecFactory(known).WithoutConversion()
	settings.ContentType, settings.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	settings.WarningHandlerWithContext, settings.WarningHandler = rest.NoWarnings{}, rest.NoWarnings{}
	// Without HTTP/2: with GODEBUG=http2debug=2 the standard library logs the token
	// and the beginning of each body.
	settings.NextProtos = []string{"http/1.1"}

	server, _, err := rest.DefaultServerUrlFor(settings)
	if err != nil {
		return nil, fmt.Errorf("the API server's address: %w", err)
	}
	client, err := rest.HTTPClientFor(settings)
	if err != nil {
		return nil, fmt.Errorf("the API server %s: %w", server.Host, err)
	}
	client.Transport = &bounded{next: client.Transport}
	client.CheckRedirect = func(to *http.Request, _ []*http.Request) error {
		return fmt.Errorf("the API server answered with a redirect to %s, which is not followed: name the server itself", to.URL.Host)
	}
	api, err := rest.RESTClientForConfigAndClient(settings, client)
	if err != nil {
		return nil, fmt.Errorf("the API server %s: %w", server.Host, err)
	}
	return &cluster{server: identify(server), api: api}, nil
}

// bearer sends the current token with each request, and says when it was refused.
type bearer struct {
	credential anycert.Credential
	next       http.RoundTripper
}

func (b *bearer) RoundTrip(request *http.Request) (*http.Response, error) {
	token, err := b.credential.Secret(request.Context())
	if err != nil {
		return nil, &credentialError{err}
	}
	request = request.Clone(request.Context())
	request.Header.Set("Authorization", "Bearer "+token.Reveal())
	response, err := b.next.RoundTrip(request)
	if err == nil && response.StatusCode == http.StatusUnauthorized {
		b.credential.Refused()
	}
	return response, err
}

// credentialError tells a token that could not be read from a server that could
// not be reached.
type credentialError struct{ err error }

func (e *credentialError) Error() string { return "reading the token: " + e.err.Error() }
func (e *credentialError) Unwrap() error { return e.err }

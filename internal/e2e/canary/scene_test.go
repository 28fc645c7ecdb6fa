package canary

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/hookserver"
	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/internal/testenv/nginxserver"
	"github.com/anycert/anycert/internal/testenv/world"
)

func TestMain(m *testing.M) { world.Main(m) }

// scene is a certificate at an nginx that is its canary, and at five other kinds of
// places, each of which can be shaken hands with.
type scene struct {
	*world.World
	Canary, Second *nginxserver.Server
	Hook           *hookserver.Server
	Roots          string // a file: those of Pebble
	Soak           string
	KeyType        string
	Prod           string // how the cluster is reached

	config string
	places map[string]place // but for the canary
}

// place is where the world is served.
type place struct{ addr, name string }

const configuration = `version: 1
owner: hub
store: {{.Store .Root}}
issuers: [{{.Issuer "pebble"}}]
certificates:
  - {name: example, domains: [example.com, "*.example.com"], issuer: pebble, key_type: {{.KeyType}}}
sinks:
  - name: first
    type: file
    certificates: [example]
    canary: true
    verify: [{address: "{{.Canary.Addr}}", server_name: example.com, ca_bundle: {{.Roots}}}]
    config: {dir: {{.Files}}/first, reload: {{json .Canary.ReloadCommand}}}
  - {name: app, type: fly, certificates: [example], config: { {{.AtFly "example-web"}}, hostnames: [example.com, "*.example.com"]}}
  - {name: edge, type: fastly, certificates: [example], config: { {{.AtFastly}} }}
  - {name: prod, type: kubernetes, certificates: [example], config: { {{.Prod}}, namespaces: [web, api]}}
  - {name: second, type: file, certificates: [example], config: {dir: {{.Files}}/second, reload: {{json .Second.ReloadCommand}}}}
notify: [{name: oncall, webhook: {url: {{.Reference .Hook.URL}}, secret: {{.Reference .Hook.Secret}}}}]
reconcile: {schedule: "@every 5s", soak: {{.Soak}}}
http: {listen: "127.0.0.1:0"}
`

// newScene starts everything. Nothing is obtained yet.
func newScene(t *testing.T, soak string, ca acmeserver.Options) *scene {
	t.Helper()
	w := world.New(t, world.Options{Clusters: []string{"prod"}, ACME: ca})
	w.Must(w.Clusters["prod"].CreateNamespaces(t.Context(), "web", "api"))
	s := &scene{World: w, Soak: soak, KeyType: "ec256", Hook: hookserver.Start("hook-"+rand.Text(), []byte(rand.Text()+rand.Text()))}
	t.Cleanup(s.Hook.Close)
	s.Roots = s.File("roots.pem", string(s.ACME.RootPEM(0)))
	s.Canary, s.Second = s.nginx("first"), s.nginx("second")
	s.places = map[string]place{
		"the second nginx":              {s.Second.Addr, "example.com"},
		"the Secret in web":             {s.ingress("web"), "example.com"},
		"the Secret in api":             {s.ingress("api"), "example.com"},
		"Fastly, by name":               {s.fastly(), "example.com"},
		"Fastly, by the wildcard":       {s.fastly(), "www.example.com"},
		"the app at Fly, by name":       {s.Fly.Edge, "example.com"},
		"the app at Fly, by a wildcard": {s.Fly.Edge, "www.example.com"},
	}
	s.Prod = s.Admin("prod")
	s.write()
	return s
}

// write writes the configuration.
func (s *scene) write() { s.T.Helper(); s.config = s.Config("hub.yaml", configuration, s) }

// nginx is one that serves the files of a sink, and something old until they are there.
func (s *scene) nginx(sink string) *nginxserver.Server {
	s.T.Helper()
	old := testenv.IssueFrom(s.T, s.Strangers, certs.Options{SelfSigned: true})
	before, served := s.Path(sink+"-before"), s.Path(sink+"-served")
	s.Must(os.Mkdir(before, 0o700))
	s.File(sink+"-before/fullchain.pem", string(old.ChainPEM))
	s.File(sink+"-before/privkey.pem", string(old.KeyPEM))
	s.Must(os.Symlink(before, served))
	nginx := testenv.Nginx(s.T, served)
	dir := filepath.Join(s.Files, sink)
	s.Must(os.MkdirAll(dir, 0o700))
	s.Must(os.Remove(served))
	s.Must(os.Symlink(filepath.Join(dir, "example"), served))
	return nginx
}

// ingress serves the Secret of a namespace as it is when it is asked.
func (s *scene) ingress(namespace string) (addr string) {
	return front(s.T, func(string) (chain, key []byte, err error) {
		secret, err := s.Clusters["prod"].Client().CoreV1().Secrets(namespace).Get(s.T.Context(), "example-tls", metav1.GetOptions{})
		if err != nil {
			return nil, nil, err
		}
		return secret.Data["tls.crt"], secret.Data["tls.key"], nil
	})
}

// fastly serves what is active at the stand-in.
func (s *scene) fastly() (addr string) {
	return front(s.T, func(name string) (chain, key []byte, err error) {
		if strings.HasPrefix(name, "www.") {
			name = "*" + strings.TrimPrefix(name, "www")
		}
		chain, key = s.Fastly.Served(world.TLSConfiguration, name)
		return chain, key, nil
	})
}

// front is a TLS server that asks for each handshake what to serve.
func front(t *testing.T, serves func(name string) (chain, key []byte, err error)) (addr string) {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		chain, key, err := serves(hello.ServerName)
		if err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair(chain, key)
		return &pair, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = conn.(*tls.Conn).Handshake()
			}()
		}
	}()
	return listener.Addr().String()
}

func (s *scene) canary() place { return place{s.Canary.Addr, "example.com"} }

// serves shakes hands with a place and tells how what it serves differs from a version.
func (s *scene) serves(at place, version world.Stored) error {
	chain, err := nginxserver.Handshake(s.T.Context(), at.addr, at.name)
	if err != nil {
		return err
	}
	if !bytes.Equal(certs.ChainPEM(chain...), version.Chain) {
		return fmt.Errorf("it serves a chain of %d with number %x, and version %d is one of %d with number %x",
			len(chain), chain[0].SerialNumber, version.Version, bytes.Count(version.Chain, []byte("BEGIN")), version.Leaf.SerialNumber)
	}
	return nil
}

// trusted shakes hands as a client does that knows the root alone.
func (s *scene) trusted(at place) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.ACME.RootPEM(0))
	dialer := &tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: at.name}}
	conn, err := dialer.DialContext(s.T.Context(), "tcp", at.addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

// others expects that every place but the canary serves a version that clients take.
func (s *scene) others(when string, version world.Stored) {
	s.T.Helper()
	for _, name := range slices.Sorted(maps.Keys(s.places)) {
		at := s.places[name]
		if err := errors.Join(s.serves(at, version), s.trusted(at)); err != nil {
			s.T.Errorf("%s: %s: %v", when, name, err)
		}
	}
}

// follow tells which place does not serve a version.
func (s *scene) follow(version world.Stored) error {
	for name, at := range s.places {
		if err := s.serves(at, version); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// awaitCanary waits until the canary serves a version and nothing else: an nginx has old
// workers for a moment.
func (s *scene) awaitCanary(version world.Stored) {
	s.T.Helper()
	s.Must(s.Canary.WaitServing(s.T.Context(), version.Leaf))
	if err := s.serves(s.canary(), version); err != nil {
		s.T.Errorf("the canary: %v", err)
	}
}

// begin has everything kept.
func (s *scene) begin() world.Stored {
	s.T.Helper()
	s.Kept(s.Report(0, s.config, "sync"))
	first := s.Stored("example")
	s.Must(s.Second.WaitServing(s.T.Context(), first.Leaf))
	s.awaitCanary(first)
	s.others("at first", first)
	return first
}

// pushes counts what was written to the places since m, by the logs and counters of the
// servers.
type pushes struct{ secrets, fastly, fly int }

type moment struct {
	world.Moment
	fastly, fly int
}

func mark(w *world.World) moment { return moment{w.Now(), w.Fastly.Writes(), w.Fly.Writes()} }

func since(w *world.World, m moment) pushes {
	w.T.Helper()
	p := pushes{fastly: w.Fastly.Writes() - m.fastly, fly: w.Fly.Writes() - m.fly}
	for name := range w.Clusters {
		for _, r := range kubeserver.Writes(w.ClusterSince(m.Moment, name)) {
			if r.Resource == "secrets" {
				p.secrets++
			}
		}
	}
	return p
}

// passes waits until a daemon has made some passes more over a sink.
func passes(w *world.World, d *world.Daemon, sink string, n int) {
	w.T.Helper()
	begun := passed(w, d, sink)
	d.Await(fmt.Sprintf("has made %d passes", n), func() error {
		if done := passed(w, d, sink) - begun; done < n {
			return fmt.Errorf("it has made %d", done)
		}
		return nil
	})
}

func passed(w *world.World, d *world.Daemon, sink string) int {
	w.T.Helper()
	_, text, err := d.Get(w.T.Context(), "/metrics")
	w.Must(err)
	found := regexp.MustCompile(`(?m)^anycert_pass_duration_seconds_count\{sink="` + sink + `"\} (\d+)$`).FindStringSubmatch(text)
	if found == nil {
		return 0
	}
	n, err := strconv.Atoi(found[1])
	w.Must(err)
	return n
}

// told waits until the webhook has taken an event that begins with these words.
func told(d *world.Daemon, hook *hookserver.Server, words string) (told hookserver.Event) {
	d.Await("has told "+words, func() error {
		var all []string
		for _, e := range hook.Events() {
			if strings.HasPrefix(e.String(), words) {
				told = e
				return nil
			}
			all = append(all, e.String())
		}
		return fmt.Errorf("it has told %q; wrong was %q", all, hook.Problems())
	})
	return told
}

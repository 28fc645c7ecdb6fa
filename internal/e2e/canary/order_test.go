package canary

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/nginxserver"
	"github.com/anycert/anycert/internal/testenv/world"
)

// gatekeeper stands before the APIs of the places. For each write it notes what the
// canary serves at that time, by handshakes.
type gatekeeper struct {
	scene *scene

	mu     sync.Mutex
	writes []write
}

// write is one that was about to reach a place.
type write struct {
	at     time.Time
	where  string
	canary string // the numbers of the certificates that it served: one, or two while an old worker still answers
}

// before lets requests through to an API, and returns where it is reached through here.
func (g *gatekeeper) before(where, api string, roots *x509.CertPool) *httptest.Server {
	g.scene.T.Helper()
	to, err := url.Parse(api)
	g.scene.Must(err)
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(to) },
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}},
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && !strings.Contains(r.URL.Path, "/events") && !strings.Contains(r.URL.Path, "reviews") {
			g.note(where + ": " + r.Method + " " + r.URL.Path)
		}
		proxy.ServeHTTP(w, r)
	}))
	if roots != nil {
		server.StartTLS()
	} else {
		server.Start()
	}
	g.scene.T.Cleanup(server.Close)
	return server
}

func (g *gatekeeper) note(where string) {
	at, served := time.Now(), ""
	for range 30 { // old and new workers of the nginx answer as they come
		chain, err := nginxserver.Handshake(g.scene.T.Context(), g.scene.Canary.Addr, "example.com")
		if err == nil && !strings.Contains(served, chain[0].SerialNumber.String()) {
			served += " " + chain[0].SerialNumber.String()
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writes = append(g.writes, write{at, where, served})
}

// forget gives what was noted so far.
func (g *gatekeeper) forget() []write {
	g.mu.Lock()
	defer g.mu.Unlock()
	noted := g.writes
	g.writes = nil
	return noted
}

// newWatched is a scene with a gatekeeper before everything but the files.
func newWatched(t *testing.T, soak string) (*scene, *gatekeeper) {
	t.Helper()
	s := newScene(t, soak, acmeserver.Options{})
	g := &gatekeeper{scene: s}
	prod := s.Clusters["prod"]
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(prod.CAPEM)
	api := g.before("prod", prod.Host, roots)
	trust := s.File("gate.pem", string(certs.ChainPEM(api.Certificate())))
	s.Prod = fmt.Sprintf("server: %q, ca: %s, token: %s", api.URL, trust, s.Reference(prod.AdminToken))
	s.Fastly.URL = g.before("edge", s.Fastly.URL, nil).URL
	s.Fly.URL = g.before("app", s.Fly.URL, nil).URL
	s.write()
	return s, g
}

// inOrder expects that every place was written to, and none before its canary served the
// version and had done so for the soak time.
func (s *scene) inOrder(noted []write, version world.Stored, soak time.Duration) {
	s.T.Helper()
	entry, err := s.Vault.Client().KVv2("secret").Get(s.T.Context(), "anycert/certs/example")
	s.Must(err)
	made := entry.VersionMetadata.CreatedTime
	places := map[string]bool{}
	for _, w := range noted {
		where, _, _ := strings.Cut(w.where, ":")
		places[where] = true
		if !strings.Contains(w.canary, version.Leaf.SerialNumber.String()) {
			s.T.Errorf("%s was written to while the canary served%s", w.where, w.canary)
		}
		if w.at.Sub(made) < soak {
			s.T.Errorf("%s was written to %s after the version was made", w.where, w.at.Sub(made))
		}
	}
	if len(places) != 3 {
		s.T.Errorf("written to were %v", places)
	}
	first, second := s.swapped("first"), s.swapped("second")
	if second.Sub(made) < soak || second.Before(first) {
		s.T.Errorf("the second nginx was given its files %s after the version was made, and %s after the canary", second.Sub(made), second.Sub(first))
	}
	s.T.Logf("after the version was made: the canary's files %s, the others %s to %s, the second's files %s", first.Sub(made).Round(time.Millisecond),
		noted[0].at.Sub(made).Round(time.Millisecond), noted[len(noted)-1].at.Sub(made).Round(time.Millisecond), second.Sub(made).Round(time.Millisecond))
}

// swapped is when the files of a sink took the place of others.
func (s *scene) swapped(sink string) time.Time {
	s.T.Helper()
	info, err := os.Lstat(filepath.Join(s.Files, sink, "example"))
	s.Must(err)
	return info.ModTime()
}

// A good renewal goes to the canary first, and to the others when it has soaked there. The
// daemon needs nobody for that.
func TestOthersFollowAfterTheSoak(t *testing.T) {
	t.Parallel()
	s, gate := newWatched(t, "5s")
	old := s.begin()
	d := s.Daemon(s.config)
	d.AwaitReady()
	gate.forget()
	renewed := s.Run(s.config, "renew", "example")
	if renewed.Code != 0 {
		t.Error(renewed)
	}
	d.AwaitReady()
	fresh := s.Stored("example")
	if fresh.Version != old.Version+1 {
		t.Fatalf("version %d is in Vault", fresh.Version)
	}
	d.Await("has every place follow", func() error { return s.follow(fresh) })
	s.awaitCanary(fresh)
	s.others("in the end", fresh)
	s.inOrder(gate.forget(), fresh, 5*time.Second)
	d.End()
	s.Kept(s.Report(0, s.config, "audit"))
}

// A daemon alone does the same, without a command that looks after it.
func TestADaemonReleasesWhatSoaked(t *testing.T) {
	t.Parallel()
	s, gate := newWatched(t, "5s")
	s.begin()
	gate.forget()
	s.KeyType = "ec384" // what is declared anew is obtained at once
	s.write()
	d := s.Daemon(s.config)
	d.Await("obtains it", func() error {
		if now := s.Stored("example"); now.Version != 2 {
			return fmt.Errorf("version %d is in Vault", now.Version)
		}
		return nil
	})
	fresh := s.Stored("example")
	d.Await("has every place follow", func() error { return s.follow(fresh) })
	s.awaitCanary(fresh)
	s.inOrder(gate.forget(), fresh, 5*time.Second)
	d.AwaitReady()
	d.End()
}

// Without a daemon, `renew` sees it through by itself.
func TestRenewSeesItThrough(t *testing.T) {
	t.Parallel()
	s, gate := newWatched(t, "2s")
	s.begin()
	gate.forget()
	if got := s.Run(s.config, "renew", "example", "--timeout", "1m"); got.Code != 0 {
		t.Error(got)
	}
	fresh := s.Stored("example")
	s.awaitCanary(fresh)
	s.Must(s.Second.WaitServing(t.Context(), fresh.Leaf))
	s.others("after the renewal", fresh)
	s.inOrder(gate.forget(), fresh, 2*time.Second)
}

// The replacement of a key that others know has to be seen at the canary, and does not soak.
func TestACompromisedKeyDoesNotSoak(t *testing.T) {
	t.Parallel()
	s, gate := newWatched(t, "1h")
	s.begin()
	gate.forget()
	if got := s.Run(s.config, "renew", "example", "--reason", "compromised", "--timeout", "1m"); got.Code != 0 {
		t.Error(got)
	}
	fresh := s.Stored("example")
	s.awaitCanary(fresh)
	s.Must(s.Second.WaitServing(t.Context(), fresh.Leaf))
	s.others("after the renewal", fresh)
	s.inOrder(gate.forget(), fresh, 0)
}

// One sync obtains a certificate, gives it to the canary, looks what its clients are
// served, and gives it to the others.
func TestOneSyncDoesAll(t *testing.T) {
	t.Parallel()
	s, gate := newWatched(t, "0s")
	s.begin()
	gate.forget()
	s.KeyType = "ec384"
	s.write()
	report := s.Report(0, s.config, "sync")
	s.Kept(report)
	for _, p := range report.Promises {
		if !p.Pushed || p.Version != 2 {
			t.Errorf("it was not pushed: %v", p)
		}
	}
	fresh := s.Stored("example")
	s.awaitCanary(fresh)
	s.Must(s.Second.WaitServing(t.Context(), fresh.Leaf))
	s.others("after one sync", fresh)
	s.inOrder(gate.forget(), fresh, 0)
	before := s.Now()
	s.Kept(s.Report(0, s.config, "sync"))
	s.WroteNothing("a second sync", before)
}

// With a soak time, a sync tells when the others follow, and the first one after that has
// them follow.
func TestSyncsAndTheSoak(t *testing.T) {
	t.Parallel()
	const soak = 25 * time.Second // for two syncs on a busy machine
	s, gate := newWatched(t, soak.String())
	old := s.begin()
	gate.forget()
	s.KeyType = "ec384"
	s.write()
	s.Report(0, s.config, "sync")
	s.awaitCanary(s.Stored("example"))
	report := s.Report(0, s.config, "sync") // the first may have seen the nginx before it had read its files again
	for _, p := range report.NotKept() {
		if p.Sink == "first" || p.Verdict != "waiting" || !strings.HasPrefix(p.Reason, "canary first has version 2 since ") || !strings.Contains(p.Reason, ": the others follow at ") {
			t.Errorf("%v", p)
		}
	}
	if n := len(report.NotKept()); n != 7 {
		t.Errorf("%d promises wait", n)
	}
	s.others("while it soaks", old)
	if noted := gate.forget(); len(noted) > 0 {
		t.Errorf("places were written to: %v", noted)
	}
	fresh := s.Stored("example")
	deadline := time.Now().Add(time.Minute)
	for len(s.Report(0, s.config, "sync").NotKept()) > 0 {
		if time.Now().After(deadline) {
			t.Fatal("the others do not follow")
		}
	}
	s.awaitCanary(fresh)
	s.Must(s.Second.WaitServing(t.Context(), fresh.Leaf))
	s.others("after the soak", fresh)
	s.inOrder(gate.forget(), fresh, soak)
}

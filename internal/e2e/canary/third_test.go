package canary

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/world"
)

// Two certificates that people keep, whose canary is a cluster of its own.
const kept = `version: 1
owner: hub
store: {{.Store .Root}}
certificates:
  - {name: late, domains: [api.example.com]}
  - {name: shop, domains: [example.com, "*.example.com"]}
sinks:
  - {name: first, type: kubernetes, certificates: ["*"], canary: true, config: { {{.Admin "first"}}, namespaces: [web]}}
  - {name: api, type: fly, certificates: [late], config: { {{.AtFly "example-api"}}, hostnames: [api.example.com]}}
  - {name: app, type: fly, certificates: [shop], config: { {{.AtFly "example-web"}}, hostnames: [example.com, "*.example.com"]}}
  - {name: edge, type: fastly, certificates: ["*"], config: { {{.AtFastly}} }}
  - {name: files, type: file, certificates: ["*"], config: {dir: {{.Files}}}}
  - {name: prod, type: kubernetes, certificates: ["*"], config: { {{.Admin "prod"}}, namespaces: [web, api]}}
reconcile: {soak: 0s, brake: {percent: 100}}
`

// estate is a world with them.
type estate struct {
	*world.World
	config string
}

func (e *estate) issue(validSince, validFor time.Duration, names ...string) certs.Pair {
	begins := time.Now().Add(-validSince)
	return testenv.IssueFrom(e.T, e.Strangers, certs.Options{Names: names, NotBefore: begins, NotAfter: begins.Add(validFor), Intermediate: true})
}

// at is what lies at a place, by the name of its sink and target.
func (e *estate) at(p world.Promise) []byte {
	switch p.Sink {
	case "files":
		chain, _ := e.InFiles(e.Files, p.Certificate)
		return chain
	case "prod":
		namespace, name, _ := strings.Cut(p.Target, "/")
		chain, _ := e.InCluster("prod", namespace, name)
		return chain
	case "edge":
		_, domain, _ := strings.Cut(p.Target, "/")
		chain, _ := e.Fastly.Served(world.TLSConfiguration, domain)
		return chain
	}
	app := map[string]string{"app": world.FlyApp, "api": world.FlyAPIApp}[p.Sink]
	chain, _ := e.Fly.Custom(app, p.Target)
	return chain
}

// served expects of each promise of a certificate, but those of the canary, that its place
// serves one of two, as which says, and the verdict that goes with that.
func (e *estate) served(when string, r world.Report, certificate string, old, fresh certs.Pair, follows func(world.Promise) bool) {
	e.T.Helper()
	n := 0
	for _, p := range r.Promises {
		if p.Certificate != certificate || p.Sink == "first" {
			continue
		}
		n++
		want, verdict := old, "waiting"
		if follows(p) {
			want, verdict = fresh, "kept"
		}
		if !bytes.Equal(e.at(p), want.ChainPEM) || p.Verdict != verdict || verdict == "waiting" && !strings.HasPrefix(p.Reason, "canary first is not there yet: web/"+certificate+"-tls is unknown: ") {
			e.T.Errorf("%s: want it %s, and what goes with that: %v", when, verdict, p)
		}
	}
	if n < 5 {
		e.T.Errorf("%s: %d promises", when, n)
	}
}

func all(world.Promise) bool  { return true }
func none(world.Promise) bool { return false }

const day = 24 * time.Hour

// The canary is a cluster that died. Nobody waits for it with what has less than a third of
// its life left, with what is missing, and with what was changed by hand.
func TestNobodyWaitsForADeadCanary(t *testing.T) {
	t.Parallel()
	e := &estate{World: world.New(t, world.Options{Clusters: []string{"first", "prod"}})}
	e.Must(e.Clusters["first"].CreateNamespaces(t.Context(), "web"))
	e.Must(e.Clusters["prod"].CreateNamespaces(t.Context(), "web", "api"))
	e.config = e.Config("hub.yaml", kept, e.World)
	waning := e.issue(61*day, 90*day, "api.example.com")
	fine := e.issue(59*day, 90*day, "example.com", "*.example.com")
	e.Put("late", waning)
	e.Put("shop", fine)
	e.Kept(e.Report(0, e.config, "sync"))
	e.Clusters["first"].Close()

	late, shop := e.issue(0, 90*day, "api.example.com"), e.issue(0, 90*day, "example.com", "*.example.com")
	e.Put("late", late)
	e.Put("shop", shop)
	r := e.Report(1, e.config, "sync")
	e.served("with less than a third left", r, "late", waning, late, all)
	e.served("with more than a third left", r, "shop", fine, shop, none)
	for _, p := range r.Promises {
		if p.Sink == "first" && p.Verdict != "unknown" {
			t.Errorf("the canary is dead: %v", p)
		}
	}

	e.Must(os.RemoveAll(filepath.Join(e.Files, "shop")))
	e.Must(e.Clusters["prod"].Client().CoreV1().Secrets("api").Delete(t.Context(), "shop-tls", metav1.DeleteOptions{}))
	e.Fly.DeleteCustom(world.FlyApp, "example.com")
	missing := map[string]bool{"files " + filepath.Join(e.Files, "shop"): true, "prod api/shop-tls": true, "app example.com": true}
	wasMissing := func(p world.Promise) bool { return missing[p.Sink+" "+p.Target] }
	r = e.Report(1, e.config, "sync")
	e.served("missing", r, "shop", fine, shop, wasMissing)
	e.Must(os.WriteFile(filepath.Join(e.Files, "shop", "fullchain.pem"), e.issue(0, 365*day, "example.com", "*.example.com").ChainPEM, 0o600))
	e.byHand("api", "shop-tls", e.issue(0, 365*day, "example.com", "*.example.com"))
	r = e.Report(1, e.config, "sync")
	e.served("changed by hand", r, "shop", fine, shop, wasMissing)
	pushed := 0
	for _, p := range r.Promises {
		if p.Pushed {
			pushed++
		}
	}
	if pushed != 2 {
		t.Errorf("%d places were put right, want the two that were changed", pushed)
	}
	before := e.Now()
	e.served("once more", e.Report(1, e.config, "sync"), "shop", fine, shop, wasMissing)
	e.WroteNothing("once more", before)

	// Without a mark nobody knows which version a place had: it waits as for a new one.
	changed := e.issue(0, 365*day, "example.com", "*.example.com")
	e.Must(e.Fly.ReplaceCustom(world.FlyApp, "example.com", changed.ChainPEM, changed.KeyPEM))
	for _, p := range e.Report(1, e.config, "sync").Promises {
		if p.Sink == "app" && p.Target == "example.com" && (p.Verdict != "waiting" || !bytes.Equal(e.at(p), changed.ChainPEM)) {
			t.Errorf("at Fly.io: %v", p)
		}
	}
}

// byHand writes a certificate into a Secret and leaves all else as it is.
func (e *estate) byHand(namespace, name string, pair certs.Pair) {
	e.T.Helper()
	secrets := e.Clusters["prod"].Client().CoreV1().Secrets(namespace)
	secret, err := secrets.Get(e.T.Context(), name, metav1.GetOptions{})
	e.Must(err)
	secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey] = pair.ChainPEM, pair.KeyPEM
	_, err = secrets.Update(e.T.Context(), secret, metav1.UpdateOptions{})
	e.Must(err)
}

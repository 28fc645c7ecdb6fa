//go:build linux

package leaks

import (
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anycert/anycert/internal/testenv/acmeserver"
)

// What a verb may end with.
var (
	well  = []int{0}
	badly = []int{1}
)

// TestNoSecretIsShown lets anycert do all that it can, in calm and among servers
// that repeat what they are sent, and searches everything that came of it.
func TestNoSecretIsShown(t *testing.T) {
	dependOnSources(t)
	w := newWorld(t)
	w.plant()
	w.ordersAmongEchoes()
	w.everyVerb()
	w.readsAmongEchoes()
	w.pushesAmongEchoes()
	w.wrongConfiguration()
	w.daemon()
	w.harvest()
	w.keepWhatIsLeft()
	for _, finding := range w.search(w.secrets...) {
		t.Error(finding)
	}
	for _, path := range w.made() {
		if path != filepath.Join(w.home, ".cache") { // see cacheOfTools
			t.Errorf("anycert made the file %s", path)
		}
	}
	w.cacheOfTools()
	t.Logf("searched for %d secrets in %d texts", len(w.secrets), len(w.kept))
	for name, f := range w.fronts() {
		_, protocols, echoed := f.seen()
		t.Logf("%s: %v, %d of them echoed", name, protocols, echoed)
		switch overHTTP2 := protocols["HTTP/2.0"] > 0; {
		case name == "DNS" && !overHTTP2:
			t.Error("no client spoke HTTP/2: that package log is silent was not tried")
		case name != "DNS" && overHTTP2:
			t.Errorf("%s was asked over HTTP/2, of which net/http prints headers and bodies when it is told to", name)
		}
	}
}

// cacheOfTools expects that the folder is empty which a library makes in the cache
// of whoever starts anycert: fly-go imports a code generator, and with it
// golang.org/x/tools/internal/modindex.
func (w *world) cacheOfTools() {
	w.t.Helper()
	must(w.t, filepath.WalkDir(w.home, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			w.t.Errorf("anycert made the file %s", path)
		}
		return err
	}))
}

func (w *world) fronts() map[string]*front {
	return map[string]*front{"Vault": w.vault, "Kubernetes": w.cluster, "Fastly": w.fastly, "Fly.io": w.fly, "DNS": w.api}
}

// ordersAmongEchoes lets orders fail at each step that sends something worth
// hiding. Each has a certificate of its own, as the next attempt is put off.
func (w *world) ordersAmongEchoes() {
	noPush := []string{"sync", "-o", "json", "--timeout", "20s"}
	w.vault.echoes(w.t, echo{false, http.StatusBadRequest, asVault}, func() {
		w.run(w.configure(settings{Issued: []string{"example"}}), badly, noPush...)
	})
	w.vault.echoes(w.t, echo{false, http.StatusInternalServerError, asIs}, func() {
		w.run(w.configure(settings{Issued: []string{"example"}}), badly, noPush...)
	})
	for _, failing := range []struct{ name, kind string }{
		{"account", acmeserver.KindNewAccount}, {"order", acmeserver.KindNewOrder}, {"authz", acmeserver.KindAuthz},
		{"challenge", acmeserver.KindChallenge}, {"finalize", acmeserver.KindFinalize}, {"certificate", acmeserver.KindCertificate},
	} {
		w.acme.Intercept(echoing(failing.kind))
		w.run(w.configure(settings{Issued: []string{failing.name}}), badly, noPush...)
		w.acme.Intercept(nil)
		w.harvest()
	}
	for name, e := range map[string]echo{
		"api-refuses": {false, http.StatusBadRequest, asACME}, "api-fails": {false, http.StatusInternalServerError, asIs},
	} {
		w.api.echoes(w.t, e, func() { w.run(w.configure(settings{ByAPI: []string{name}}), badly, noPush...) })
	}
	w.harvest()
}

// echoing fails requests of a kind with their own text.
func echoing(kind string) acmeserver.Interceptor {
	return func(rw http.ResponseWriter, r *http.Request) bool {
		if acmeserver.KindOf(r) != kind {
			return false
		}
		body, _ := io.ReadAll(r.Body)
		rw.Header().Set("Content-Type", "application/problem+json")
		rw.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(rw, asACME(string(body)))
		return true
	}
}

// everyVerb in calm, each in every form of output.
func (w *world) everyVerb() {
	config := w.configure(settings{Issued: []string{"example"}, ByAPI: []string{"web"}, Sinks: true})
	for _, args := range [][]string{
		{"version"}, {"--help"}, {"check"}, {"check", "--connect"}, {"__complete", "pull", ""}, {"completion", "bash"},
	} {
		w.run(config, well, args...)
	}
	w.run(config, []int{1, 2}, "audit")
	w.run(config, well, "sync")
	if n := w.harvest(); n < 4 {
		w.t.Errorf("Vault holds %d keys, want those of an account and of three certificates at least", n)
	}
	for _, args := range [][]string{
		{"sync", "-o", "json"}, {"audit"}, {"audit", "-o", "json"}, {"status"}, {"status", "-o", "json"},
		{"pull", "--dir", w.path("pulled")}, {"pull", "--dir", w.path("pulled-again"), "example"}, {"prune"}, {"prune", "--yes"},
	} {
		w.run(config, well, args...)
	}
	w.run(config, badly, "sync", "--only", "nowhere")
	w.run(config, badly, "pull", "--dir", w.path("pulled"), "unknown")
}

// readsAmongEchoes has the requests repeated that carry a token alone.
func (w *world) readsAmongEchoes() {
	config := w.configure(settings{Issued: []string{"example"}, Sinks: true})
	w.vault.echoes(w.t, echo{true, http.StatusForbidden, asVault}, func() { w.run(config, badly, "audit", "-o", "json") })
	w.vault.echoes(w.t, echo{true, http.StatusBadRequest, asIs}, func() { w.run(config, badly, "check", "--connect") })
	w.sinksEcho(echo{true, http.StatusForbidden, nil}, func() { w.run(config, badly, "audit") })
	w.sinksEcho(echo{true, http.StatusUnprocessableEntity, nil}, func() { w.run(config, badly, "check", "--connect") })
}

// pushesAmongEchoes has the requests repeated that carry a key.
func (w *world) pushesAmongEchoes() {
	config := w.configure(settings{Issued: []string{"example"}, Sinks: true})
	for _, status := range []int{http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusInternalServerError} {
		w.plant()
		w.sinksEcho(echo{false, status, nil}, func() { w.run(config, badly, "sync", "-o", "json") })
	}
	w.plant()
	w.edge.FailWrite(1) // both repeat what they refuse
	w.app.FailWrite(1, http.StatusUnprocessableEntity)
	w.run(config, badly, "sync")
	w.run(config, well, "sync")
}

// sinksEcho makes all that is not Vault echo, in its own form; a server error comes
// as the bare request.
func (w *world) sinksEcho(e echo, do func()) {
	for f, form := range map[*front]func(string) string{w.cluster: asKubernetes, w.fastly: asFastly, w.fly: asFly} {
		e.form = form
		if e.status >= http.StatusInternalServerError {
			e.form = asIs
		}
		inner := do
		this := e
		do = func() { f.echoes(w.t, this, inner) }
	}
	do()
}

// wrongConfiguration has secrets written where they do not belong.
func (w *world) wrongConfiguration() {
	text, err := os.ReadFile(w.configure(settings{Issued: []string{"example"}, Sinks: true}))
	must(w.t, err)
	for from, to := range map[string]string{
		"token: {file: " + w.path("fly-token") + "}":   "token: " + flyToken,
		"token: {env: " + fastlyEnv + "}":              "token: {env: " + fastlyToken + "}",
		"DNSUPDATE_TSIG_SECRET: {file:":                "DNSUPDATE_TSIG_SECRET: " + w.dns.Secret + " {file:",
		"token: {file: " + w.path("vault-token") + "}": "token: {file: " + w.path("vault-token") + ", " + w.token + "}",
	} {
		w.file("wrong.yaml", strings.Replace(string(text), from, to, 1))
		for _, verb := range []string{"check", "run", "pull"} {
			w.run(w.path("wrong.yaml"), badly, verb)
		}
	}
}

// keepWhatIsLeft gathers what stands in places where others look: beside the keys
// in their places, and in the logs of servers.
func (w *world) keepWhatIsLeft() {
	w.t.Helper()
	dumps, err := filepath.Glob(w.path("reload/dump.*"))
	must(w.t, err)
	if len(dumps) == 0 {
		w.t.Error("the reload command was never run")
	}
	w.keepFiles("what the reload command saw", w.path("reload"))
	w.keepFiles("the file sink", w.files, "privkey.pem", "combined.pem")
	w.keepFiles("what was pulled", w.path("pulled"), "privkey.pem", "combined.pem")
	for name, f := range w.fronts() {
		lines, _, _ := f.seen()
		w.keep("the request lines of "+name, []byte(strings.Join(lines, "\n")))
	}
	secrets, err := w.kube.Client().CoreV1().Secrets("web").List(w.t.Context(), metav1.ListOptions{})
	must(w.t, err)
	for i := range secrets.Items {
		secrets.Items[i].Data = nil
	}
	w.keep("the Secrets without their data", []byte(jsonOf(secrets)))
	for _, name := range []string{"planted-ec", "planted-rsa", "example"} {
		metadata, err := w.server.Client().Logical().ReadWithContext(w.t.Context(), "secret/metadata/anycert/certs/"+name)
		must(w.t, err)
		text, err := json.Marshal(metadata.Data)
		must(w.t, err)
		w.keep("Vault's metadata of "+name, text)
	}
	for _, request := range w.acme.Requests() {
		w.keep("the CA's log", []byte(request.Path+" "+request.UserAgent))
	}
}

// keepFiles keeps the files below a folder, without those that are to hold keys.
func (w *world) keepFiles(what, dir string, without ...string) {
	w.t.Helper()
	must(w.t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || strings.Contains(strings.Join(without, " "), entry.Name()) {
			return err
		}
		text, err := os.ReadFile(path)
		w.keep(what+": "+path, text)
		return err
	}))
}

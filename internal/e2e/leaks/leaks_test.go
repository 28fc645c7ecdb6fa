//go:build linux

package leaks

import (
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
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
	w := newScene(t)
	w.plant()
	w.ordersAmongEchoes()
	w.everyVerb()
	w.laptop()
	w.wire()
	w.brokenTemplate()
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
		if protocols["HTTP/2.0"] > 0 {
			t.Errorf("%s was asked over HTTP/2, of which net/http prints headers and bodies when it is told to", name)
		}
	}
	w.packageLogIsSilent()
}

// packageLogIsSilent expects nothing of what net/http prints about HTTP/2, which the
// CA alone is asked over: it is sent no secret.
func (w *scene) packageLogIsSilent() {
	w.T.Helper()
	overHTTP2 := func(r acmeserver.Request) bool { return r.Protocol == "HTTP/2.0" }
	if !slices.ContainsFunc(w.ACME.Requests(), overHTTP2) {
		w.T.Error("no client spoke HTTP/2: that package log is silent was not tried")
	}
	for where, text := range w.kept {
		if bytes.Contains(text, []byte("http2: ")) {
			w.T.Errorf("%s shows what package log prints: %.200s", where, text)
		}
	}
}

// cacheOfTools expects that the folder is empty which a library makes in the cache
// of whoever starts anycert: fly-go imports a code generator, and with it
// golang.org/x/tools/internal/modindex.
func (w *scene) cacheOfTools() {
	w.T.Helper()
	w.Must(filepath.WalkDir(w.home, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			w.T.Errorf("anycert made the file %s", path)
		}
		return err
	}))
}

func (w *scene) fronts() map[string]*front {
	return map[string]*front{"Vault": w.vault, "Kubernetes": w.cluster, "Fastly": w.fastly, "Fly.io": w.fly, "DNS": w.api}
}

// ordersAmongEchoes lets orders fail at each step that sends something worth
// hiding. Each has a certificate of its own, as the next attempt is put off.
func (w *scene) ordersAmongEchoes() {
	noPush := []string{"sync", "-o", "json", "--timeout", "20s"}
	w.vault.echoes(w.T, echo{false, http.StatusBadRequest, asVault}, func() {
		w.run(w.configure(settings{Issued: []string{"example"}}), badly, noPush...)
	})
	w.vault.echoes(w.T, echo{false, http.StatusInternalServerError, asIs}, func() {
		w.run(w.configure(settings{Issued: []string{"example"}}), badly, noPush...)
	})
	for _, failing := range []struct{ name, kind string }{
		{"account", acmeserver.KindNewAccount}, {"order", acmeserver.KindNewOrder}, {"authz", acmeserver.KindAuthz},
		{"challenge", acmeserver.KindChallenge}, {"finalize", acmeserver.KindFinalize}, {"certificate", acmeserver.KindCertificate},
	} {
		w.ACME.Intercept(echoing(failing.kind))
		w.run(w.configure(settings{Issued: []string{failing.name}}), badly, noPush...)
		w.ACME.Intercept(nil)
		w.harvest()
	}
	for name, e := range map[string]echo{
		"api-refuses": {false, http.StatusBadRequest, asACME}, "api-fails": {false, http.StatusInternalServerError, asIs},
	} {
		w.api.echoes(w.T, e, func() { w.run(w.configure(settings{ByAPI: []string{name}}), badly, noPush...) })
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
func (w *scene) everyVerb() {
	config := w.configure(settings{Issued: []string{"example"}, ByAPI: []string{"web"}, Sinks: true})
	for _, args := range [][]string{
		{"version"}, {"--help"}, {"check"}, {"check", "--connect"}, {"__complete", "pull", ""}, {"completion", "bash"},
	} {
		w.run(config, well, args...)
	}
	w.run(config, []int{1, 2}, "audit")
	w.run(config, well, "sync")
	if n := w.harvest(); n < 4 {
		w.T.Errorf("Vault holds %d keys, want those of an account and of three certificates at least", n)
	}
	for _, args := range [][]string{
		{"sync", "-o", "json"}, {"audit"}, {"audit", "-o", "json"}, {"status"}, {"status", "-o", "json"},
		{"pull", "--dir", w.Path("pulled")}, {"pull", "--dir", w.Path("pulled-again"), "example"}, {"prune"}, {"prune", "--yes"},
	} {
		w.run(config, well, args...)
	}
	w.run(config, badly, "sync", "--only", "nowhere")
	w.run(config, badly, "pull", "--dir", w.Path("pulled"), "unknown")
}

// readsAmongEchoes has the requests repeated that carry a token alone.
func (w *scene) readsAmongEchoes() {
	config := w.configure(settings{Issued: []string{"example"}, Sinks: true})
	w.vault.echoes(w.T, echo{true, http.StatusForbidden, asVault}, func() { w.run(config, badly, "audit", "-o", "json") })
	w.vault.echoes(w.T, echo{true, http.StatusBadRequest, asIs}, func() { w.run(config, badly, "check", "--connect") })
	w.sinksEcho(echo{true, http.StatusForbidden, nil}, func() { w.run(config, badly, "audit") })
	w.sinksEcho(echo{true, http.StatusUnprocessableEntity, nil}, func() { w.run(config, badly, "check", "--connect") })
}

// pushesAmongEchoes has the requests repeated that carry a key.
func (w *scene) pushesAmongEchoes() {
	config := w.configure(settings{Issued: []string{"example"}, Sinks: true})
	for _, status := range []int{http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusInternalServerError} {
		w.plant()
		w.sinksEcho(echo{false, status, nil}, func() { w.run(config, badly, "sync", "-o", "json") })
	}
	w.plant()
	w.Fastly.FailWrite(1) // both repeat what they refuse
	w.Fly.FailWrite(1, http.StatusUnprocessableEntity)
	w.run(config, badly, "sync")
	w.run(config, well, "sync")
}

// sinksEcho makes all that is not Vault echo, in its own form; a server error comes
// as the bare request.
func (w *scene) sinksEcho(e echo, do func()) {
	for f, form := range map[*front]func(string) string{w.cluster: asKubernetes, w.fastly: asFastly, w.fly: asFly} {
		e.form = form
		if e.status >= http.StatusInternalServerError {
			e.form = asIs
		}
		inner := do
		this := e
		do = func() { f.echoes(w.T, this, inner) }
	}
	do()
}

// wrongConfiguration has secrets written where they do not belong.
func (w *scene) wrongConfiguration() {
	text, err := os.ReadFile(w.configure(settings{Issued: []string{"example"}, Sinks: true}))
	w.Must(err)
	for from, to := range map[string]string{
		"token: {file: " + w.Path("fly-token") + "}":   "token: " + w.FlyToken,
		"token: {env: " + fastlyEnv + "}":              "token: {env: " + w.FastlyToken + "}",
		"DNSUPDATE_TSIG_SECRET: {file:":                "DNSUPDATE_TSIG_SECRET: " + w.DNS.Secret + " {file:",
		"token: {file: " + w.Path("vault-token") + "}": "token: {file: " + w.Path("vault-token") + ", " + w.token + "}",
	} {
		w.File("wrong.yaml", strings.Replace(string(text), from, to, 1))
		for _, verb := range []string{"check", "run", "pull"} {
			w.run(w.Path("wrong.yaml"), badly, verb)
		}
	}
}

// keepWhatIsLeft gathers what stands in places where others look: beside the keys
// in their places, and in the logs of servers.
func (w *scene) keepWhatIsLeft() {
	w.T.Helper()
	dumps, err := filepath.Glob(w.Path("reload/dump.*"))
	w.Must(err)
	if len(dumps) == 0 {
		w.T.Error("the reload command was never run")
	}
	w.keepFiles("what the reload command saw", w.Path("reload"))
	w.keepFiles("the file sink", w.Files, "privkey.pem", "combined.pem", "site.conf")
	w.keepEvents()
	w.keep("the alarms", w.hook.Heard())
	if len(w.hook.Events()) == 0 {
		w.T.Error("no alarm was told")
	}
	w.keepFiles("what was pulled", w.Path("pulled"), "privkey.pem", "combined.pem")
	for name, f := range w.fronts() {
		lines, _, _ := f.seen()
		w.keep("the request lines of "+name, []byte(strings.Join(lines, "\n")))
	}
	secrets, err := w.Clusters["prod"].Client().CoreV1().Secrets("web").List(w.T.Context(), metav1.ListOptions{})
	w.Must(err)
	for i := range secrets.Items {
		secrets.Items[i].Data = nil
	}
	w.keep("the Secrets without their data", []byte(jsonOf(secrets)))
	for _, name := range []string{"planted-ec", "planted-rsa", "example"} {
		metadata, err := w.Vault.Client().Logical().ReadWithContext(w.T.Context(), "secret/metadata/anycert/certs/"+name)
		w.Must(err)
		text, err := json.Marshal(metadata.Data)
		w.Must(err)
		w.keep("Vault's metadata of "+name, text)
	}
	for _, request := range w.ACME.Requests() {
		w.keep("the CA's log", []byte(request.Path+" "+request.UserAgent))
	}
}

// keepFiles keeps the files below a folder, without those that are to hold keys.
func (w *scene) keepFiles(what, dir string, without ...string) {
	w.T.Helper()
	w.Must(filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || strings.Contains(strings.Join(without, " "), entry.Name()) {
			return err
		}
		text, err := os.ReadFile(path)
		w.keep(what+": "+path, text)
		return err
	}))
}

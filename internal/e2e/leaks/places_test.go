//go:build linux

package leaks

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/hookserver"
	"github.com/anycert/anycert/internal/testenv/leak"
)

const (
	statusToken  = "9dT4mZc7Qf2LsW8xKp5R"
	sitePassword = "Yb6hJr3NvE9uG1tAqX7z"
)

// templates are read by a laptop and by the file sink. The password is where it belongs in
// what they make; that it is in none of the errors is what is tried.
var templates = map[string]string{
	"site.conf.tmpl":      `password {{ secret "password" }}; {{ (certificate "planted-ec").privkey }}` + "\n",
	"laptop.conf.tmpl":    `password {{ secret "secret/site/db#password" | urlquery }}; {{ (certificate "planted-ec").privkey }}` + "\n",
	"middle.conf.tmpl":    `{{ secret "secret/site/db#password" }} {{ (secret "secret/site/db#password").x }}`,
	"forbidden.conf.tmpl": `{{ secret "secret/site/db#password" }} {{ secret "secret/other/db#password" }}`,
	"missing.conf.tmpl":   `{{ secret "secret/site/db#password" }} {{ secret "secret/site/db#user" }}`,
	"words.conf.tmpl":     `{{ if secret "secret/site/db#password" | eq 1 }}{{ end }}`,
	"parse.conf.tmpl":     `{{ secret "secret/site/db#password" }} {{ printf "%d" (secret "secret/site/db#password") }}`,
}

// openPlaces makes what people look at and read from: the token of the status page, a
// receiver of alarms, templates with a field of Vault, a file of environments.
func (w *scene) openPlaces() {
	w.T.Helper()
	w.hook = hookserver.Start("canary-"+rand.Text(), []byte(rand.Text()+rand.Text()))
	w.T.Cleanup(w.hook.Close)
	for name, text := range map[string]string{"status-token": statusToken, "site-password": sitePassword, "hook-url": w.hook.URL, "hook-secret": w.hook.Secret} {
		w.File(name, text)
	}
	for name, text := range templates {
		w.File(name, text)
	}
	_, err := w.Vault.Client().KVv2("secret").Put(w.T.Context(), "site/db", map[string]any{"password": sitePassword})
	w.Must(err)
	w.Must(os.MkdirAll(w.Path("xdg/anycert"), 0o700))
	w.File("xdg/anycert/environments.yaml", `version: 1
environments:
  - name: prod
    store: {vault: {address: "`+w.vault.URL+`", ca_cert: `+w.Path("trust.pem")+`, auth: {method: token, token: {file: `+w.Path("vault-token")+`}}}}
    dir: `+w.Path("laptop")+`
`)
	w.secrets = append(w.secrets,
		leak.Secret{Name: "the token of the status page", Token: statusToken},
		leak.Secret{Name: "a password in Vault", Token: sitePassword},
		leak.Secret{Name: "the webhook's URL", Token: w.hook.Path},
		leak.Secret{Name: "the webhook's secret", Token: w.hook.Secret})
	w.openShower()
}

// openShower starts a server that was given a key and shows it to the world, wherever a
// certificate has room for a text.
func (w *scene) openShower() {
	w.T.Helper()
	pair := testenv.IssueFrom(w.T, w.Strangers, certs.Options{KeyType: certs.EC256})
	w.secrets = append(w.secrets, leak.Secret{Name: "the key that a server shows", PEM: pair.KeyPEM})
	key := pair.Key.(*ecdsa.PrivateKey)
	scalar, err := key.Bytes()
	w.Must(err)
	asHex := hex.EncodeToString(scalar)
	name := pkix.Name{CommonName: base64.StdEncoding.EncodeToString(scalar), Organization: []string{asHex}}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: name, Issuer: name, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{asHex[:32] + ".example.com", asHex[32:] + ".example.com"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	w.Must(err)
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that hang up are not news
	server.StartTLS()
	w.T.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	w.Must(err)
	w.shower = "127.0.0.1:" + port
}

// laptop compares environments, pulls and renders, and fails at it.
func (w *scene) laptop() {
	one, other := w.configure(settings{Issued: []string{"example"}}), w.configure(settings{})
	w.run(one, []int{2}, "diff", one, other)
	w.run(one, []int{2}, "diff", one, other, "-o", "json")
	w.run(one, badly, "diff", "prod", "prefix:elsewhere")
	template := func(name string) []string {
		return []string{"pull", "--env", "prod", "--template", w.Path(name + ".conf.tmpl"), "--out", w.Path("rendered")}
	}
	whole := template("laptop")
	w.run("", []int{2}, append(whole, "--check")...)
	w.run("", well, whole...)
	w.run("", well, append(whole, "--check")...)
	for _, name := range []string{"middle", "forbidden", "missing", "words", "parse"} {
		w.run("", badly, template(name)...)
		w.run("", badly, append(template(name), "--check")...)
	}
	w.File("rendered/laptop.conf", "password of somebody else")
	w.run("", badly, whole...)
	for _, e := range []echo{{true, http.StatusForbidden, asVault}, {true, http.StatusBadRequest, asIs}} {
		w.vault.echoes(w.T, e, func() {
			w.run("", badly, whole...)
			w.run("", badly, "pull", "--env", "prod", "--check")
			w.run(one, badly, "diff", one, "prod")
		})
	}
}

// wire looks at the server that shows a key: what it chose to say is in no text.
func (w *scene) wire() {
	config := w.configure(settings{Issued: []string{"example"}, Wire: true})
	for _, args := range [][]string{{"audit"}, {"audit", "-o", "json"}} {
		w.run(config, []int{2}, args...)
	}
	w.watch(config, "another certificate is served")
	seen := 0
	for where, text := range w.kept {
		if strings.HasPrefix(where, "stdout of anycert") && bytes.Contains(text, []byte("another certificate is served, which is not for ec.example.com")) {
			seen++
		}
	}
	if seen < 3 {
		w.T.Errorf("what the server shows was told %d times, want it in audit, its JSON and status --watch", seen)
	}
}

// watch lets status --watch run until it has said something.
func (w *scene) watch(config, says string) {
	w.T.Helper()
	cmd, environment := w.command(config, "status", "--watch", "--every", "1s")
	p := w.start("anycert status --watch", cmd, environment...)
	w.await(p, "to say "+says, func() bool { return strings.Contains(p.stdout.String(), says) })
	w.Must(cmd.Process.Signal(os.Interrupt))
	if code := w.wait(p); code != 0 {
		w.T.Errorf("status --watch ended with %d: %s", code, &p.stderr)
	}
}

// brokenTemplate has a template of the file sink fail after it was given a secret.
func (w *scene) brokenTemplate() {
	config := w.configure(settings{Broken: true})
	w.run(config, badly, "check", "--connect")
	w.run(config, badly, "sync")
	w.run(config, []int{1, 2}, "audit", "-o", "json")
	w.Must(os.Remove(w.Files + "/site.conf"))
	w.run(w.configure(settings{}), well, "sync")
}

// keepEvents keeps what people in the cluster are told.
func (w *scene) keepEvents() {
	w.T.Helper()
	events, err := w.Clusters["prod"].Client().EventsV1().Events("web").List(w.T.Context(), metav1.ListOptions{})
	w.Must(err)
	if len(events.Items) == 0 {
		w.T.Error("no Event was made")
	}
	w.keep("the Events", []byte(jsonOf(events)))
}

package docs_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/nginxserver"
	"github.com/anycert/anycert/internal/testenv/world"
)

// circle: Vault serves what anycert keeps in it. From here on it is reached by its
// name, through a proxy that knows where that leads.
func (o *operator) circle() {
	text := strings.Replace(read(o.T, o.config), "  - name: shop\n", "  - name: vault\n    domains: [vault.example.com]\n    issuer: letsencrypt\n    key_type: ec256\n  - name: shop\n", 1)
	o.File("config.yaml", text)
	o.Kept(o.Report(0, o.config, "sync"))
	u, err := url.Parse(o.Vault.Addr)
	o.Must(err)
	o.servesOurs()
	o.env["VAULT_ADDR"] = "https://vault.example.com:" + u.Port()
	o.env["VAULT_CACERT"] = o.File("public-ca.pem", string(o.ACME.RootPEM(0)))
	o.env["HTTPS_PROXY"] = leadTo(o.T.Cleanup, u.Host)
	o.File("config.yaml", strings.ReplaceAll(strings.ReplaceAll(text, o.Vault.Addr, o.env["VAULT_ADDR"]), "ca_cert: "+o.Vault.CAFile+", ", ""))

	if got := o.anycert("check", "--connect"); got.Code != 0 || !got.Says("store: ok, but Vault serves the certificate vault, which is kept in it, until ") {
		o.T.Errorf("no warning of the circle: %v", got)
	}

	// The new one is there, and Vault was not told.
	chain, key := o.InFiles(o.Files, "vault")
	o.overwrite(o.expired())
	o.reloadsVault()
	o.overwrite(certs.Pair{ChainPEM: chain, KeyPEM: key})
	o.isExpired()
	o.follow("Vault's own certificate has expired", 0)
	o.eventuallyWell()

	// There is no new one yet.
	o.File("config.yaml", strings.Replace(read(o.T, o.config), "vault.example.com]\n    issuer: letsencrypt\n    key_type: ec256", "vault.example.com]\n    issuer: letsencrypt\n    key_type: ec384", 1))
	o.overwrite(o.expired())
	o.reloadsVault()
	o.isExpired()
	o.follow("Vault's own certificate has expired", 1, 2, 3)
	o.eventuallyWell()
	served, err := nginxserver.Handshake(o.T.Context(), u.Host, "vault.example.com")
	o.Must(err)
	chain, _ = o.InFiles(o.Files, "vault")
	if !served[0].Equal(o.Parse(chain)[0]) || served[0].NotAfter.Before(time.Now().AddDate(0, 0, 30)) {
		o.T.Errorf("Vault serves a certificate until %s, not the one that was pushed", served[0].NotAfter)
	}
}

// servesOurs lets Vault's listener read the file sink's directory.
func (o *operator) servesOurs() {
	o.T.Helper()
	vault := filepath.Dir(o.Vault.CAFile)
	for name, file := range map[string]string{"tls.crt": "fullchain.pem", "tls.key": "privkey.pem"} {
		o.Must(os.Remove(filepath.Join(vault, name)))
		o.Must(os.Symlink(filepath.Join(o.Files, "vault", file), filepath.Join(vault, name)))
	}
	o.reloadsVault()
}

// reloadsVault sends SIGHUP and waits until Vault shows what its files hold.
func (o *operator) reloadsVault() {
	o.T.Helper()
	o.Must(syscall.Kill(o.Vault.PID(), syscall.SIGHUP))
	chain, _ := o.InFiles(o.Files, "vault")
	want := o.Parse(chain)[0]
	u, err := url.Parse(o.Vault.Addr)
	o.Must(err)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		served, err := nginxserver.Handshake(o.T.Context(), u.Host, "vault.example.com")
		if err == nil && served[0].Equal(want) {
			return
		}
		if time.Now().After(deadline) {
			o.T.Fatalf("Vault does not show the certificate of its files: %v", err)
		}
	}
}

// overwrite is what a careless hand does to the file sink's files, and what the page
// does on purpose.
func (o *operator) overwrite(pair certs.Pair) {
	o.T.Helper()
	o.Must(os.WriteFile(filepath.Join(o.Files, "vault", "fullchain.pem"), pair.ChainPEM, 0o600))
	o.Must(os.WriteFile(filepath.Join(o.Files, "vault", "privkey.pem"), pair.KeyPEM, 0o600))
}

func (o *operator) expired() certs.Pair {
	o.T.Helper()
	return testenv.IssueFrom(o.T, o.Strangers, certs.Options{Names: []string{"vault.example.com"},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-time.Hour)})
}

// anycert runs it as the operator does, through the proxy.
func (o *operator) anycert(args ...string) world.Result {
	o.T.Helper()
	cmd := o.Command(o.config, args...)
	for _, name := range []string{"HTTPS_PROXY", "VAULT_CACERT"} {
		cmd.Env = append(cmd.Env, name+"="+o.env[name])
	}
	return o.Do(cmd)
}

func (o *operator) isExpired() {
	o.T.Helper()
	if got := o.anycert("audit"); got.Code != 1 || !got.Says("its certificate is not trusted") || !got.Says("expired") {
		o.T.Errorf("Vault's certificate has expired, and an audit says: %v", got)
	}
}

func (o *operator) eventuallyWell() {
	o.T.Helper()
	var got world.Result
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if got = o.anycert("audit"); got.Code == 0 {
			return
		}
	}
	o.T.Fatal(got)
}

// leadTo is a proxy to one host, whatever it is asked for.
func leadTo(cleanup func(func()), host string) (address string) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || !strings.HasPrefix(r.Host, "vault.example.com:") {
			http.Error(w, "only to Vault", http.StatusForbidden)
			return
		}
		far, err := net.Dial("tcp", host)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer far.Close()
		near, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer near.Close()
		fmt.Fprint(near, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			_, _ = io.Copy(far, near)
			far.Close()
		}()
		_, _ = io.Copy(near, far)
	}))
	cleanup(proxy.Close)
	return proxy.URL
}

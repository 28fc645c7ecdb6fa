package e2e

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anycert/anycert/internal/testenv/nginxserver"
)

// truth is what Vault holds of a certificate.
type truth struct {
	version    int
	chain, key []byte // PEM
	leaf       *x509.Certificate
}

// truth reads Vault as its administrator.
func (w *world) truth(certificate string) truth {
	w.t.Helper()
	entry, err := w.vault.Client().KVv2("secret").Get(w.t.Context(), "anycert/certs/"+certificate)
	w.must(err)
	if len(entry.Data) != 2 {
		w.t.Errorf("the entry of %s has %d fields, want tls.crt and tls.key alone", certificate, len(entry.Data))
	}
	chain, key := entry.Data["tls.crt"].(string), entry.Data["tls.key"].(string)
	return truth{entry.VersionMetadata.Version, []byte(chain), []byte(key), parseChain(w, chain)[0]}
}

func parseChain(w *world, text string) []*x509.Certificate {
	w.t.Helper()
	var chain []*x509.Certificate
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		w.must(err)
		chain = append(chain, certificate)
	}
	if len(chain) == 0 {
		w.t.Fatal("there is no certificate")
	}
	return chain
}

// truths are the truth of every certificate at one moment.
func (w *world) truths() map[string]truth {
	w.t.Helper()
	all := map[string]truth{}
	for certificate := range domains {
		all[certificate] = w.truth(certificate)
	}
	return all
}

// verify tells how a place differs from what it was promised to hold, as seen by
// whoever uses it.
func (w *world) verify(p place, want truth) error {
	switch p.sink {
	case "prod":
		return w.verifySecret(p, want)
	case "edge":
		return w.verifyFastly(p, want)
	case "app", "app-api":
		return w.verifyFly(p, want)
	}
	return w.verifyFiles(p, want)
}

func (want truth) same(chain, key []byte) error {
	if !bytes.Equal(chain, want.chain) {
		return errors.New("another chain")
	}
	if !bytes.Equal(key, want.key) {
		return errors.New("another key")
	}
	return nil
}

func (w *world) verifySecret(p place, want truth) error {
	namespace, name, _ := strings.Cut(p.target, "/")
	secret, err := w.kube.Client().CoreV1().Secrets(namespace).Get(w.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	labels := map[string]string{"app.kubernetes.io/managed-by": "anycert"}
	for key, value := range w.settings.Cluster.Labels {
		labels[key] = value
	}
	for key, value := range labels {
		if secret.Labels[key] != value {
			return fmt.Errorf("label %s is %q", key, secret.Labels[key])
		}
	}
	annotations := map[string]string{"owner": "e2e", "certificate": p.certificate, "digest": digestOf(w, want.chain)}
	for key, value := range annotations {
		if got := secret.Annotations["anycert.dev/"+key]; got != value {
			return fmt.Errorf("annotation %s is %q", key, got)
		}
	}
	if secret.Type != "kubernetes.io/tls" || len(secret.Data) != 2 {
		return fmt.Errorf("its type is %s, and it has %d fields", secret.Type, len(secret.Data))
	}
	return want.same(secret.Data["tls.crt"], secret.Data["tls.key"])
}

func (w *world) verifyFastly(p place, want truth) error {
	configuration, domain, _ := strings.Cut(p.target, "/")
	chain, key := w.fastly.Served(configuration, domain)
	if err := want.same(chain, key); err != nil {
		return err
	}
	for _, key := range w.fastly.Keys() {
		if key.SHA1 == sha1Of(want.leaf) {
			return nil
		}
	}
	return errors.New("the key is not in the account")
}

func (w *world) verifyFly(p place, want truth) error {
	app := map[string]string{"app": flyApp, "app-api": flyAPIApp}[p.sink]
	if err := want.same(w.fly.Custom(app, p.target)); err != nil {
		return err
	}
	return w.shakesHands(w.fly.Edge, strings.Replace(p.target, "*", "www", 1), want)
}

// shakesHands meets a server as a visitor does.
func (w *world) shakesHands(address, name string, want truth) error {
	chain, err := nginxserver.Handshake(w.t.Context(), address, name)
	if err == nil && !chain[0].Equal(want.leaf) {
		err = fmt.Errorf("a handshake for %s shows the certificate %x", name, chain[0].SerialNumber)
	}
	return err
}

// verifyFiles reads every file that a server may use, and meets nginx, which has
// been told of the first certificate.
func (w *world) verifyFiles(p place, want truth) error {
	leaf, issuers := splitLeaf(want.chain)
	for name, text := range map[string][]byte{
		"fullchain.pem": want.chain, "privkey.pem": want.key, "cert.pem": leaf, "chain.pem": issuers,
		"combined.pem": append(bytes.Clone(want.chain), want.key...),
	} {
		path := filepath.Join(p.target, name)
		got, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, text) {
			return fmt.Errorf("%s holds something else", path)
		}
		if err := w.private(path); err != nil {
			return err
		}
	}
	if err := w.marked(p, want); err != nil {
		return err
	}
	if link, err := os.Readlink(p.target); err != nil || filepath.IsAbs(link) || filepath.Dir(link) != ".anycert" {
		return fmt.Errorf("the symlink leads to %q (%v)", link, err)
	}
	if w.nginx == nil || p.certificate != "example" {
		return nil
	}
	return w.shakesHands(w.nginx.Addr, "example.com", want)
}

// marked reads the file that says whose the others are.
func (w *world) marked(p place, want truth) error {
	text, err := os.ReadFile(filepath.Join(p.target, "mark.json"))
	if err != nil {
		return err
	}
	var mark struct{ Owner, Certificate, Digest string }
	if err := json.Unmarshal(text, &mark); err != nil {
		return err
	}
	if mark.Owner != "e2e" || mark.Certificate != p.certificate || mark.Digest != digestOf(w, want.chain) {
		return fmt.Errorf("mark.json says %+v", mark)
	}
	return nil
}

// private tells whether a file belongs to us and shows nobody anything.
func (w *world) private(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if uid, gid := ownerOf(info); info.Mode().Perm() != 0o600 || uid != os.Geteuid() || gid != os.Getegid() {
		return fmt.Errorf("%s has mode %s and belongs to %d:%d", path, info.Mode(), uid, gid)
	}
	return nil
}

// verifyAll expects every place to differ that is among broken, and no other.
func (w *world) verifyAll(when string, truths map[string]truth, broken ...place) {
	w.t.Helper()
	differs := map[place]bool{}
	for _, p := range broken {
		differs[p] = true
	}
	for _, p := range w.places() {
		err := w.verify(p, truths[p.certificate])
		switch {
		case differs[p] && err == nil:
			w.t.Errorf("%s: %v is as promised", when, p)
		case !differs[p] && err != nil:
			w.t.Errorf("%s: %v: %v", when, p, err)
		}
	}
}

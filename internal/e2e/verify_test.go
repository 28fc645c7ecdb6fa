package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anycert/anycert/internal/testenv/nginxserver"
	"github.com/anycert/anycert/internal/testenv/world"
)

// truths are the truth of every certificate at one moment.
func (w *scene) truths() map[string]world.Stored {
	w.T.Helper()
	all := map[string]world.Stored{}
	for certificate := range domains {
		all[certificate] = w.Stored(certificate)
	}
	return all
}

// verify tells how a place differs from what it was promised to hold, as seen by
// whoever uses it.
func (w *scene) verify(p world.Place, want world.Stored) error {
	switch p.Sink {
	case "prod":
		return w.verifySecret(p, want)
	case "edge":
		return w.verifyFastly(p, want)
	case "app", "app-api":
		return w.verifyFly(p, want)
	}
	return w.verifyFiles(p, want)
}

func (w *scene) verifySecret(p world.Place, want world.Stored) error {
	namespace, name, _ := strings.Cut(p.Target, "/")
	secret, err := w.Clusters["prod"].Client().CoreV1().Secrets(namespace).Get(w.T.Context(), name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	labels := map[string]string{"app.kubernetes.io/managed-by": "anycert"}
	for key, value := range w.settings.Labels {
		labels[key] = value
	}
	for key, value := range labels {
		if secret.Labels[key] != value {
			return fmt.Errorf("label %s is %q", key, secret.Labels[key])
		}
	}
	annotations := map[string]string{"owner": "e2e", "certificate": p.Certificate, "digest": digestOf(w, want.Chain)}
	for key, value := range annotations {
		if got := secret.Annotations["anycert.dev/"+key]; got != value {
			return fmt.Errorf("annotation %s is %q", key, got)
		}
	}
	if secret.Type != "kubernetes.io/tls" || len(secret.Data) != 2 {
		return fmt.Errorf("its type is %s, and it has %d fields", secret.Type, len(secret.Data))
	}
	return want.Same(secret.Data["tls.crt"], secret.Data["tls.key"])
}

func (w *scene) verifyFastly(p world.Place, want world.Stored) error {
	configuration, domain, _ := strings.Cut(p.Target, "/")
	chain, key := w.Fastly.Served(configuration, domain)
	if err := want.Same(chain, key); err != nil {
		return err
	}
	for _, key := range w.Fastly.Keys() {
		if key.SHA1 == sha1Of(want.Leaf) {
			return nil
		}
	}
	return errors.New("the key is not in the account")
}

func (w *scene) verifyFly(p world.Place, want world.Stored) error {
	app := map[string]string{"app": world.FlyApp, "app-api": world.FlyAPIApp}[p.Sink]
	if err := want.Same(w.Fly.Custom(app, p.Target)); err != nil {
		return err
	}
	return w.shakesHands(w.Fly.Edge, strings.Replace(p.Target, "*", "www", 1), want)
}

// shakesHands meets a server as a visitor does.
func (w *scene) shakesHands(address, name string, want world.Stored) error {
	chain, err := nginxserver.Handshake(w.T.Context(), address, name)
	if err == nil && !chain[0].Equal(want.Leaf) {
		err = fmt.Errorf("a handshake for %s shows the certificate %x", name, chain[0].SerialNumber)
	}
	return err
}

// verifyFiles reads every file that a server may use, and meets nginx, which has
// been told of the first certificate.
func (w *scene) verifyFiles(p world.Place, want world.Stored) error {
	leaf, issuers := splitLeaf(want.Chain)
	for name, text := range map[string][]byte{
		"fullchain.pem": want.Chain, "privkey.pem": want.Key, "cert.pem": leaf, "chain.pem": issuers,
		"combined.pem": append(bytes.Clone(want.Chain), want.Key...),
	} {
		path := filepath.Join(p.Target, name)
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
	if link, err := os.Readlink(p.Target); err != nil || filepath.IsAbs(link) || filepath.Dir(link) != ".anycert" {
		return fmt.Errorf("the symlink leads to %q (%v)", link, err)
	}
	if w.nginx == nil || p.Certificate != "example" {
		return nil
	}
	return w.shakesHands(w.nginx.Addr, "example.com", want)
}

// marked reads the file that says whose the others are.
func (w *scene) marked(p world.Place, want world.Stored) error {
	text, err := os.ReadFile(filepath.Join(p.Target, "mark.json"))
	if err != nil {
		return err
	}
	var mark struct{ Owner, Certificate, Digest string }
	if err := json.Unmarshal(text, &mark); err != nil {
		return err
	}
	if mark.Owner != "e2e" || mark.Certificate != p.Certificate || mark.Digest != digestOf(w, want.Chain) {
		return fmt.Errorf("mark.json says %+v", mark)
	}
	return nil
}

// private tells whether a file belongs to us and shows nobody anything.
func (w *scene) private(path string) error {
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
func (w *scene) verifyAll(when string, truths map[string]world.Stored, broken ...world.Place) {
	w.T.Helper()
	differs := map[world.Place]bool{}
	for _, p := range broken {
		differs[p] = true
	}
	for _, p := range w.places() {
		err := w.verify(p, truths[p.Certificate])
		switch {
		case differs[p] && err == nil:
			w.T.Errorf("%s: %v is as promised", when, p)
		case !differs[p] && err != nil:
			w.T.Errorf("%s: %v: %v", when, p, err)
		}
	}
}

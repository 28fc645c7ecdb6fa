package e2e

import (
	"fmt"
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

// breakage is something that happens to one target behind our back.
type breakage struct {
	name    string
	place   world.Place
	action  string // that an audit must plan, and a sync report
	because string // a part of the reason that both must give
	do      func(careless) error
}

// careless is somebody with every right and no care. What was once ours is still at
// hand.
type careless struct {
	*scene
	older       map[string]world.Stored
	olderNames  map[string]string         // of the objects at Fastly, by certificate
	olderSecret map[string]*corev1.Secret // by namespace/name
	olderFiles  string                    // copies of the versions, by certificate
}

// Every way in which a target can differ is named by an audit that changes nothing,
// mended by the next sync with the same words, and the mending is seen from outside.
// A further sync finds nothing to do.
func TestBrokenInManyWays(t *testing.T) {
	t.Parallel()
	w := newScene(t)
	c := w.renewed()
	truths := w.truths()
	for _, b := range c.breakages() {
		if !t.Run(b.name, func(t *testing.T) { b.test(c.in(t), truths) }) {
			w.run("sync") // whatever failed, the next one begins well
		}
	}
}

// renewed issues every certificate and, as another kind of key is asked for, issues
// it again: there are then older ones of ours.
func (w *scene) renewed() careless {
	w.T.Helper()
	w.everyPromiseKept(w.report(0, "sync"))
	c := careless{scene: w, older: w.truths(), olderNames: map[string]string{}, olderSecret: map[string]*corev1.Secret{}}
	for certificate, names := range domains {
		c.olderNames[certificate] = w.atFastly(w.Fastly.Active(world.TLSConfiguration, names[0])).Name
		for _, namespace := range []string{"web", "api"} {
			c.olderSecret[namespace+"/"+certificate+"-tls"] = w.secret(namespace + "/" + certificate + "-tls")
		}
	}
	c.olderFiles = filepath.Join(w.Dir, "older-files")
	w.Must(copyAll(filepath.Join(w.Files, ".anycert"), c.olderFiles))
	w.settings.KeyType = "ec384"
	w.writeConfig()
	w.everyPromiseKept(w.report(0, "sync"))
	truths := w.truths()
	for certificate, now := range truths {
		if now.Version != 2 || now.Leaf.NotAfter.Equal(c.older[certificate].Leaf.NotAfter) {
			w.T.Fatalf("%s is at version %d, until %s: nothing tells it from the older one", certificate, now.Version, now.Leaf.NotAfter)
		}
	}
	w.awaitNginx(truths)
	w.verifyAll("after the renewal", truths)
	return c
}

func (c careless) in(t *testing.T) careless {
	c.scene = c.scene.in(t)
	return c
}

func (b breakage) test(c careless, truths map[string]world.Stored) {
	t := c.T
	c.Must(b.do(c))
	c.verifyAll("once broken", truths, b.place)

	broken := c.Now()
	planned := c.only(b.place, "the audit", c.report(2, "audit"))
	if planned.Verdict != "broken" || planned.Action != b.action || !strings.Contains(planned.Reason, b.because) || planned.Pushed {
		t.Errorf("the audit says %v, want to %s: …%s…", planned, b.action, b.because)
	}
	c.WroteNothing("the audit", broken)
	c.verifyAll("after the audit", truths, b.place)

	done := c.only(b.place, "the sync", c.report(0, "sync"))
	if done.Verdict != "kept" || done.Action != planned.Action || done.Because != planned.Reason || !done.Pushed {
		t.Errorf("the sync says %v, the audit had said %v", done, planned)
	}
	if b.place.Sink == "nginx" && b.place.Certificate == "example" {
		c.awaitNginx(truths)
	}
	c.verifyAll("once mended", truths)

	mended := c.Now()
	for _, p := range c.report(0, "sync").Acted() {
		t.Errorf("a further sync does something: %v", p)
	}
	c.WroteNothing("a further sync", mended)
}

func (c careless) breakages() []breakage {
	var all []breakage
	for _, list := range [][]breakage{c.breakagesAtKubernetes(), c.breakagesAtFastly(), c.breakagesAtFly(), c.breakagesInFiles()} {
		all = append(all, list...)
	}
	return all
}

// forever is a certificate that looks better than ours by every date, of a CA of its
// own or signed by itself.
func (c careless) forever(selfSigned bool, names ...string) certs.Pair {
	c.T.Helper()
	return testenv.IssueFrom(c.T, c.Strangers, certs.Options{
		Names: names, SelfSigned: selfSigned, NotAfter: time.Date(2099, 12, 31, 0, 0, 0, 0, time.UTC)})
}

// secret reads a Secret as the administrator.
func (w *scene) secret(name string) *corev1.Secret {
	w.T.Helper()
	namespace, name, _ := strings.Cut(name, "/")
	secret, err := w.Clusters["prod"].Client().CoreV1().Secrets(namespace).Get(w.T.Context(), name, metav1.GetOptions{})
	w.Must(err)
	return secret
}

// change updates a Secret as somebody who calls himself by another field manager.
func (w *scene) change(name, manager string, change func(*corev1.Secret)) error {
	w.T.Helper()
	secret := w.secret(name)
	change(secret)
	_, err := w.Clusters["prod"].Client().CoreV1().Secrets(secret.Namespace).Update(w.T.Context(), secret, metav1.UpdateOptions{FieldManager: manager})
	if err != nil {
		return fmt.Errorf("changing %s: %w", name, err)
	}
	return nil
}

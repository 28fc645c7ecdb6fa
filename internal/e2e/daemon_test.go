package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anycert/anycert/internal/testenv/world"
)

// The daemon fills every place by itself, and keeps it filled through whatever
// happens to it and around it.
func TestDaemon(t *testing.T) {
	t.Parallel()
	w := newScene(t)
	d := w.startDaemon()
	beside := w.report(0, "sync") // from the same empty store, at the same time
	for _, p := range beside.NotKept() {
		if p.Verdict != "waiting" {
			t.Errorf("a sync beside the daemon: %v", p)
		}
	}
	truths := d.awaitFilled()
	w.issuedOnce(truths)
	d.Answers("/health/live", 200, "ok")
	d.Answers("/health/ready", 200, "ok")

	link := d.occupies("api")
	d.bringsBack("web/example-tls", truths)
	d.keepsTheLastGoodFile(truths)
	d.tellsOfARefusalOnce(link)
	d.awaitKept(truths)
	d.isSilentWhileCalm()
	d.takesOverAGoodFile(truths)
	w.issuedOnce(truths)
	d.endsAtSIGTERM()
}

// daemon is `anycert run` in a scene.
type daemon struct {
	*scene
	*world.Daemon
}

func (w *scene) startDaemon() *daemon {
	w.T.Helper()
	return &daemon{w, w.Daemon(w.config)}
}

// awaitFilled waits until both certificates are in Vault and in every place.
func (d *daemon) awaitFilled() map[string]world.Stored {
	d.T.Helper()
	d.Await("has obtained the certificates", func() error {
		for certificate := range domains {
			if _, err := d.Vault.Client().KVv2("secret").Get(d.T.Context(), "anycert/certs/"+certificate); err != nil {
				return err
			}
		}
		return nil
	})
	truths := d.truths()
	d.awaitKept(truths)
	return truths
}

// awaitKept waits until every place is as promised.
func (d *daemon) awaitKept(truths map[string]world.Stored) {
	d.T.Helper()
	d.Await("has filled every place", func() error {
		for _, p := range d.places() {
			if err := d.verify(p, truths[p.Certificate]); err != nil {
				return fmt.Errorf("%v: %w", p, err)
			}
		}
		return nil
	})
}

// bringsBack deletes a Secret and waits for it.
func (d *daemon) bringsBack(name string, truths map[string]world.Stored) {
	d.T.Helper()
	namespace, secret, _ := strings.Cut(name, "/")
	d.Must(d.Clusters["prod"].Client().CoreV1().Secrets(namespace).Delete(d.T.Context(), secret, metav1.DeleteOptions{}))
	certificate := strings.TrimSuffix(secret, "-tls")
	d.Await("brings back "+name, func() error {
		return d.verify(place(certificate, "prod", name), truths[certificate])
	})
	d.Await("tells that it pushed "+name, func() error {
		line := d.Said("pushed")
		if line["target"] != name || line["action"] != "create" || line["because"] != "nothing is there" {
			return fmt.Errorf("its last push is %v", line)
		}
		return nil
	})
}

// occupies puts something of others in a place, which is not to be mended.
func (d *daemon) occupies(certificate string) (link string) {
	d.T.Helper()
	link = filepath.Join(d.Files, certificate)
	d.Must(errors.Join(os.Remove(link), os.Symlink(d.Dir, link)))
	return link
}

// tellsOfARefusalOnce comes after passes that have met it: readiness tells of it
// until it is gone, the log has told it once.
func (d *daemon) tellsOfARefusalOnce(link string) {
	d.T.Helper()
	d.Answers("/health/ready", 503, "api at nginx "+link+": refused: ")
	d.Answers("/health/live", 200, "ok")
	if n := bytes.Count(d.Logged(), []byte(`"promise refused"`)); n != 1 {
		d.T.Errorf("the log tells %d times of the refusal", n)
	}
	d.Must(os.Remove(link))
	d.HangUp() // which makes a pass at once
	d.Answers("/health/ready", 200, "ok")
}

// isSilentWhileCalm watches three passes in which nothing happens.
func (d *daemon) isSilentWhileCalm() {
	d.T.Helper()
	log, m := d.Logged(), d.Now()
	looks := d.Fly.Requests("get")
	d.Await("has made three more passes", func() error {
		if n := d.Fly.Requests("get") - looks; n < 3*3 {
			return fmt.Errorf("it has looked %d times at the three hostnames at Fly.io", n)
		}
		return nil
	})
	d.WroteNothing("three calm passes", m)
	if reads := d.keyReads(m); len(reads) > 0 {
		d.T.Errorf("calm passes read keys: %v", reads)
	}
	if more := bytes.TrimPrefix(d.Logged(), log); len(more) > 0 {
		d.T.Errorf("calm passes were logged:\n%s", more)
	}
}

func (d *daemon) takesOverAGoodFile(truths map[string]world.Stored) {
	d.T.Helper()
	d.settings.Labels = map[string]string{"team": "site"}
	d.writeConfig()
	d.HangUp()
	d.awaitKept(truths)
	if d.Said("the configuration was taken over") == nil {
		d.T.Error("the log does not tell that the configuration was taken over")
	}
	d.Answers("/health/ready", 200, "ok")
}

func (d *daemon) keepsTheLastGoodFile(truths map[string]world.Stored) {
	d.T.Helper()
	d.File("config.yaml", "version: 1\nowner: e2e\nsinks: 7\n")
	d.HangUp()
	d.Answers("/health/ready", 503, "the configuration file was not taken over: ")
	d.Answers("/health/live", 200, "ok")
	if line := d.Said("the configuration was not taken over, the last good one stays in force"); !strings.Contains(line["reason"], "config.yaml:3:") {
		d.T.Errorf("the log does not tell where the mistake is: %v", line)
	}
	d.bringsBack("api/api-tls", truths)
	d.Answers("/health/ready", 503, "the configuration file was not taken over: ") // until it is mended
	d.writeConfig()
}

// endsAtSIGTERM asks it to end in the middle of a pass that hangs, as a provider
// does not answer.
func (d *daemon) endsAtSIGTERM() {
	d.T.Helper()
	d.Fastly.Hang(true)
	asked := d.Fly.Requests("get")
	d.HangUp()
	d.Await("has begun another pass", func() error {
		if n := d.Fly.Requests("get") - asked; n < 3 {
			return fmt.Errorf("it has looked at %d hostnames at Fly.io", n)
		}
		return nil
	})
	d.End()
	if d.Said("ended") == nil {
		d.T.Error("it did not say that it ended")
	}
}

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// patience is more than a few passes take on a busy machine.
const patience = 60 * time.Second

// The daemon fills every place by itself, and keeps it filled through whatever
// happens to it and around it.
func TestDaemon(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.startDaemon()
	beside := w.report(0, "sync") // from the same empty store, at the same time
	for _, p := range beside.notKept() {
		if p.Verdict != "waiting" {
			t.Errorf("a sync beside the daemon: %v", p)
		}
	}
	truths := d.awaitFilled()
	w.issuedOnce(truths)
	d.answers("/health/live", 200, "ok")
	d.answers("/health/ready", 200, "ok")

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

// daemon is `anycert run`.
type daemon struct {
	*world
	cmd  *exec.Cmd
	log  string // file
	url  string
	done chan struct{} // closed when it has ended
}

func (w *world) startDaemon() *daemon {
	w.t.Helper()
	d := &daemon{world: w, log: filepath.Join(w.dir, "daemon.log"), done: make(chan struct{})}
	log, err := os.Create(d.log)
	w.must(err)
	defer log.Close()
	d.cmd = exec.Command(binary, "--config", filepath.Join(w.dir, "config.yaml"), "--log-format", "json", "run")
	d.cmd.Env, d.cmd.Dir = w.environment(), w.dir
	d.cmd.Stdout, d.cmd.Stderr = log, log
	w.must(d.cmd.Start())
	go func() {
		defer close(d.done)
		_ = d.cmd.Wait() // how it ended stands in its state
	}()
	w.t.Cleanup(func() {
		_ = d.cmd.Process.Kill()
		<-d.done
		if w.t.Failed() {
			w.t.Logf("the daemon's log:\n%s", d.logged())
		}
	})
	d.await("says where it listens", func() error {
		if d.url = "http://" + d.said("started")["listen"]; d.url == "http://" {
			return errors.New("it did not")
		}
		return nil
	})
	return d
}

func (d *daemon) logged() []byte {
	d.t.Helper()
	text, err := os.ReadFile(d.log)
	d.must(err)
	return text
}

// said returns the last line of the log with a message, or nil.
func (d *daemon) said(message string) map[string]string {
	d.t.Helper()
	var last map[string]string
	for line := range bytes.Lines(d.logged()) {
		var fields map[string]any
		if json.Unmarshal(line, &fields) != nil || fields["msg"] != message {
			continue
		}
		last = map[string]string{}
		for key, value := range fields {
			last[key] = fmt.Sprint(value)
		}
	}
	return last
}

// await waits for something that the daemon does, while it lives.
func (d *daemon) await(what string, ask func() error) {
	d.t.Helper()
	err := eventually(patience, func() error {
		select {
		case <-d.done:
			d.t.Fatalf("the daemon ended (%s) before it %s", d.cmd.ProcessState, what)
		default:
		}
		return ask()
	})
	if err != nil {
		d.t.Fatalf("waited in vain until the daemon %s: %v", what, err)
	}
}

// awaitFilled waits until both certificates are in Vault and in every place.
func (d *daemon) awaitFilled() map[string]truth {
	d.t.Helper()
	d.await("has obtained the certificates", func() error {
		for certificate := range domains {
			if _, err := d.vault.Client().KVv2("secret").Get(d.t.Context(), "anycert/certs/"+certificate); err != nil {
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
func (d *daemon) awaitKept(truths map[string]truth) {
	d.t.Helper()
	d.await("has filled every place", func() error {
		for _, p := range d.places() {
			if err := d.verify(p, truths[p.certificate]); err != nil {
				return fmt.Errorf("%v: %w", p, err)
			}
		}
		return nil
	})
}

// get asks for a page of the daemon.
func (d *daemon) get(path string) (status int, body string, err error) {
	request, err := http.NewRequestWithContext(d.t.Context(), http.MethodGet, d.url+path, nil)
	if err != nil {
		return 0, "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// answers waits until a page has a status and says something.
func (d *daemon) answers(path string, status int, text string) {
	d.t.Helper()
	d.await(fmt.Sprintf("answers %s with %d %q", path, status, text), func() error {
		got, body, err := d.get(path)
		if err == nil && (got != status || !strings.Contains(body, text)) {
			err = fmt.Errorf("it answers %d: %s", got, body)
		}
		return err
	})
}

// bringsBack deletes a Secret and waits for it.
func (d *daemon) bringsBack(name string, truths map[string]truth) {
	d.t.Helper()
	namespace, secret, _ := strings.Cut(name, "/")
	d.must(d.kube.Client().CoreV1().Secrets(namespace).Delete(d.t.Context(), secret, metav1.DeleteOptions{}))
	certificate := strings.TrimSuffix(secret, "-tls")
	d.await("brings back "+name, func() error {
		return d.verify(place{certificate, "prod", name}, truths[certificate])
	})
	d.await("tells that it pushed "+name, func() error {
		line := d.said("pushed")
		if line["target"] != name || line["action"] != "create" || line["because"] != "nothing is there" {
			return fmt.Errorf("its last push is %v", line)
		}
		return nil
	})
}

// occupies puts something of others in a place, which is not to be mended.
func (d *daemon) occupies(certificate string) (link string) {
	d.t.Helper()
	link = filepath.Join(d.files, certificate)
	d.must(errors.Join(os.Remove(link), os.Symlink(d.dir, link)))
	return link
}

// tellsOfARefusalOnce comes after passes that have met it: readiness tells of it
// until it is gone, the log has told it once.
func (d *daemon) tellsOfARefusalOnce(link string) {
	d.t.Helper()
	d.answers("/health/ready", 503, "api at nginx "+link+": refused: ")
	d.answers("/health/live", 200, "ok")
	if n := bytes.Count(d.logged(), []byte(`"promise refused"`)); n != 1 {
		d.t.Errorf("the log tells %d times of the refusal", n)
	}
	d.must(os.Remove(link))
	d.hangUp() // which makes a pass at once
	d.answers("/health/ready", 200, "ok")
}

// isSilentWhileCalm watches three passes in which nothing happens.
func (d *daemon) isSilentWhileCalm() {
	d.t.Helper()
	log, m := d.logged(), d.now()
	looks := d.fly.Requests("get")
	d.await("has made three more passes", func() error {
		if n := d.fly.Requests("get") - looks; n < 3*3 {
			return fmt.Errorf("it has looked %d times at the three hostnames at Fly.io", n)
		}
		return nil
	})
	d.wroteNothing("three calm passes", m)
	if reads := d.keyReads(m); len(reads) > 0 {
		d.t.Errorf("calm passes read keys: %v", reads)
	}
	if more := bytes.TrimPrefix(d.logged(), log); len(more) > 0 {
		d.t.Errorf("calm passes were logged:\n%s", more)
	}
}

func (d *daemon) hangUp() {
	d.t.Helper()
	d.must(d.cmd.Process.Signal(syscall.SIGHUP))
}

func (d *daemon) takesOverAGoodFile(truths map[string]truth) {
	d.t.Helper()
	d.settings.Cluster.Labels = map[string]string{"team": "site"}
	d.writeConfig()
	d.hangUp()
	d.awaitKept(truths)
	if d.said("the configuration was taken over") == nil {
		d.t.Error("the log does not tell that the configuration was taken over")
	}
	d.answers("/health/ready", 200, "ok")
}

func (d *daemon) keepsTheLastGoodFile(truths map[string]truth) {
	d.t.Helper()
	d.file("config.yaml", "version: 1\nowner: e2e\nsinks: 7\n")
	d.hangUp()
	d.answers("/health/ready", 503, "the configuration file was not taken over: ")
	d.answers("/health/live", 200, "ok")
	if line := d.said("the configuration was not taken over, the last good one stays in force"); !strings.Contains(line["reason"], "config.yaml:3:") {
		d.t.Errorf("the log does not tell where the mistake is: %v", line)
	}
	d.bringsBack("api/api-tls", truths)
	d.answers("/health/ready", 503, "the configuration file was not taken over: ") // until it is mended
	d.writeConfig()
}

// endsAtSIGTERM asks it to end in the middle of a pass that hangs, as a provider
// does not answer.
func (d *daemon) endsAtSIGTERM() {
	d.t.Helper()
	d.fastly.Hang(true)
	asked := d.fly.Requests("get")
	d.hangUp()
	d.await("has begun another pass", func() error {
		if n := d.fly.Requests("get") - asked; n < 3 {
			return fmt.Errorf("it has looked at %d hostnames at Fly.io", n)
		}
		return nil
	})
	begun := time.Now()
	d.must(d.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-d.done:
	case <-time.After(patience):
		d.t.Fatal("the daemon does not end")
	}
	if took := time.Since(begun); took > 10*time.Second {
		d.t.Errorf("it took %s to end", took)
	}
	if code := d.cmd.ProcessState.ExitCode(); code != 0 || d.said("ended") == nil {
		d.t.Errorf("it ended with exit code %d, and said so: %t", code, d.said("ended") != nil)
	}
}

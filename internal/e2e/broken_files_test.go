package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anycert/anycert/internal/testenv/world"
)

func (c careless) breakagesInFiles() []breakage {
	at := func(certificate string) world.Place {
		return place(certificate, "nginx", filepath.Join(c.Files, certificate))
	}
	in := func(certificate, file string) string { return filepath.Join(c.Files, certificate, file) }
	example, api := at("example"), at("api")
	return []breakage{
		{"files: symlink deleted", example, "create", "nothing is there", func(c careless) error {
			return os.Remove(filepath.Join(c.Files, "example"))
		}},
		{"files: version deleted", api, "create", "nothing is there", func(c careless) error {
			return os.RemoveAll(c.version("api"))
		}},
		{"files: mode widened", example, "mend", "mode: privkey.pem has mode 0644, want 0600", func(c careless) error {
			return os.Chmod(in("example", "privkey.pem"), 0o644)
		}},
		{"files: given to another user and group", api, "mend", "owner: privkey.pem belongs to 65534:65534", func(c careless) error {
			return os.Chown(in("api", "privkey.pem"), 65534, 65534)
		}},
		{"files: emptied", api, "replace", "no certificate that can be read is there", func(c careless) error {
			return os.Truncate(in("api", "fullchain.pem"), 0)
		}},
		{"files: truncated", example, "replace", "no certificate that can be read is there", func(c careless) error {
			return os.Truncate(in("example", "fullchain.pem"), 100)
		}},
		{"files: combined.pem changed", example, "mend", "file: combined.pem does not agree with fullchain.pem and privkey.pem", func(c careless) error {
			return os.WriteFile(in("example", "combined.pem"), c.older["example"].Chain, 0o600)
		}},
		{"files: the chain alone", api, "replace", "the chain differs, the certificate is the same", func(c careless) error {
			now := c.Stored("api")
			now.Chain, _ = splitLeaf(now.Chain)
			return c.writePair("api", now.Chain, now.Key)
		}},
		{"files: wrong key beside the right certificate", api, "replace", "the private key there does not belong to the certificate", func(c careless) error {
			return os.WriteFile(in("api", "privkey.pem"), c.older["api"].Key, 0o600)
		}},
		{"files: longer-lived and self-signed, with our mark left on", example, "replace", "another certificate is there, valid until 2099-12-31", func(c careless) error {
			pair := c.forever(true, "example.com", "*.example.com")
			return errors.Join(c.writePair("example", pair.ChainPEM, pair.KeyPEM), c.nginx.Reload(), c.nginx.WaitServing(c.T.Context(), pair.Leaf()))
		}},
		{"files: an older one of ours, as it was then", example, "replace", "another certificate is there", func(c careless) error {
			return c.goBack("example")
		}},
		{"files: killed between swap and reload", example, "mend", "reload: the last change waits for a successful", func(c careless) error {
			if err := c.goBack("example"); err != nil {
				return err
			}
			return c.killedBeforeReload()
		}},
	}
}

// version is the directory that a certificate's symlink leads to.
func (c careless) version(certificate string) string {
	c.T.Helper()
	path, err := filepath.EvalSymlinks(filepath.Join(c.Files, certificate))
	c.Must(err)
	return path
}

// writePair replaces all files that are made of certificate and key, in place.
func (c careless) writePair(certificate string, chain, key []byte) error {
	leaf, issuers := splitLeaf(chain)
	var failures error
	for name, text := range map[string][]byte{
		"fullchain.pem": chain, "privkey.pem": key, "cert.pem": leaf, "chain.pem": issuers, "combined.pem": append(chain[:len(chain):len(chain)], key...),
	} {
		failures = errors.Join(failures, os.WriteFile(filepath.Join(c.Files, certificate, name), text, 0o600))
	}
	return failures
}

// goBack leads the symlink to the older version, as a person does who undoes a
// change, and has nginx serve it.
func (c careless) goBack(certificate string) error {
	older := c.older[certificate]
	name := certificate + "-" + strings.TrimPrefix(digestOf(c.scene, older.Chain), "sha256:")
	to, link := filepath.Join(c.Files, ".anycert", name), filepath.Join(c.Files, certificate)
	if _, err := os.Stat(to); errors.Is(err, os.ErrNotExist) {
		if err := copyAll(filepath.Join(c.olderFiles, name), to); err != nil {
			return err
		}
	}
	return errors.Join(os.Remove(link), os.Symlink(".anycert/"+name, link),
		c.nginx.Reload(), c.nginx.WaitServing(c.T.Context(), older.Leaf))
}

// copyAll keeps modes and owners.
func copyAll(from, to string) error {
	if text, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, text)
	}
	return nil
}

// killedBeforeReload runs a sync under the same configuration but for a reload that
// hangs, and kills it there: the symlink is swapped, and nginx knows nothing.
func (c careless) killedBeforeReload() error {
	pidFile := filepath.Join(c.T.TempDir(), "pid")
	hanging := c.settings
	hanging.Reload = []string{"sh", "-c", `echo $$ > "$0.new"; mv "$0.new" "$0"; exec sleep 60`, pidFile}
	config := c.Config("hanging.yaml", configuration, hanging)
	cmd := c.Command(config, "sync")
	if err := cmd.Start(); err != nil {
		return err
	}
	pid, err := c.readPID(pidFile)
	killed := cmd.Process.Kill()
	_ = cmd.Wait() // it was killed: that is no news
	if pid > 0 {
		err = errors.Join(err, syscall.Kill(pid, syscall.SIGKILL))
	}
	return errors.Join(err, killed)
}

// readPID waits until a process has written its id.
func (c careless) readPID(path string) (pid int, err error) {
	err = eventually(time.Minute, func() error {
		text, err := os.ReadFile(path)
		if err == nil {
			pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		}
		return err
	})
	return pid, err
}

// eventually asks until the answer is nil.
func eventually(patience time.Duration, ask func() error) error {
	deadline := time.Now().Add(patience)
	for {
		err := ask()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// What others put in a certificate's place is refused, not mended, until they take
// it away.
func TestForeignSymlinkIsRefused(t *testing.T) {
	t.Parallel()
	w := newSmallScene(t)
	w.everyPromiseKept(w.report(0, "sync"))
	truths := w.truths()
	link, elsewhere := filepath.Join(w.Files, "api"), w.Path("elsewhere")
	w.Must(os.Mkdir(elsewhere, 0o700))
	w.File("elsewhere/fullchain.pem", string(truths["api"].Chain))
	w.Must(errors.Join(os.Remove(link), os.Symlink(elsewhere, link)))
	here := place("api", "nginx", link)

	m := w.Now()
	for _, run := range []world.Report{w.report(2, "audit"), w.report(1, "sync")} {
		refused := run.NotKept()
		if len(refused) != 1 || refused[0].Place() != here || refused[0].Verdict != "refused" || refused[0].Action != "" || refused[0].Pushed {
			t.Errorf("want %v refused alone, got %v", here, refused)
		} else if !strings.Contains(refused[0].Reason, elsewhere) || !strings.Contains(refused[0].Reason, "remove it") {
			t.Errorf("the reason tells neither where it leads nor what to do: %s", refused[0].Reason)
		}
	}
	w.WroteNothing("refusing", m)
	if to, err := os.Readlink(link); err != nil || to != elsewhere {
		t.Errorf("the symlink leads to %s, %v", to, err)
	}

	w.Must(os.Remove(link))
	w.everyPromiseKept(w.report(0, "sync"))
	w.verifyAll("once it was taken away", truths)
}

package file

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Finish tells the server, once, if a change waits for it; then versions that are
// no longer needed are removed. What is owed stands in a file for each certificate,
// so that it is also paid for a pass that was killed.
func (s *Sink) Finish(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return s.wrap("finishing", s.dir, err)
	}
	debts, err := s.debts()
	if err != nil {
		return s.wrap("looking for reloads owed in", s.dir, err)
	}
	if len(debts) > 0 {
		if err := s.settle(ctx, debts); err != nil {
			return s.wrap("reloading for", s.labels(debts), err)
		}
	}
	return s.wrap("removing old versions in", s.dir, s.sweep(ctx))
}

func (s *Sink) labels(debts map[string]string) string {
	var labels []string
	for _, certificate := range slices.Sorted(maps.Keys(debts)) {
		labels = append(labels, s.path(certificate))
	}
	return strings.Join(labels, ", ")
}

// settle reloads and takes away what stands for the debts that were known before.
// The lock is not held meanwhile: a push during the reload owes the next one.
func (s *Sink) settle(ctx context.Context, debts map[string]string) error {
	if err := s.step("reload"); err != nil {
		return err
	}
	if err := s.run(ctx); err != nil {
		return err
	}
	a, err := s.openToWrite(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	for certificate, nonce := range debts {
		switch now, err := a.debt(certificate); {
		case err != nil:
			return err
		case now != nonce: // a younger debt
			continue
		}
		if err := a.step("clear the debt"); err != nil {
			return err
		}
		if err := a.private.Remove(a.owedName(certificate)); err != nil {
			return err
		}
	}
	return syncDir(a.private)
}

// owe notes that the server must be told. It is called before the symlink is
// swapped: a crash between the two costs a reload too many, never one too few.
func (a *area) owe(certificate string) error {
	if len(a.reload) == 0 {
		return nil
	}
	if err := a.step("owe a reload"); err != nil {
		return err
	}
	temporary := staging + rand.Text()
	if err := a.writeFile(a.private, temporary, []byte(rand.Text()), 0o600); err != nil {
		return err
	}
	if err := a.private.Rename(temporary, a.owedName(certificate)); err != nil {
		return err
	}
	return syncDir(a.private)
}

// owes reports whether a reload is owed for a certificate.
func (a *area) owes(certificate string) (bool, error) {
	if len(a.reload) == 0 {
		return false, nil
	}
	_, err := a.private.Lstat(a.owedName(certificate))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// debt is what tells one debt from the next; empty when none is owed.
func (a *area) debt(certificate string) (string, error) {
	c, err := readFile(a.private, a.owedName(certificate))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(c.data), err
}

// debts are the reloads that are owed, by certificate.
func (s *Sink) debts() (map[string]string, error) {
	a, err := s.open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer a.close()
	if a.private == nil || len(s.reload) == 0 {
		return nil, nil
	}
	names, err := a.privateNames()
	if err != nil {
		return nil, err
	}
	debts := map[string]string{}
	for _, name := range names {
		if certificate := s.owedFor(name); certificate != "" {
			if debts[certificate], err = a.debt(certificate); err != nil {
				return nil, err
			}
		}
	}
	return debts, nil
}

// run runs the reload command: without a shell, with nothing in its environment but
// a search path, in a process group that ends with the time limit.
func (s *Sink) run(ctx context.Context) error {
	command, err := find(s.reload[0])
	if err != nil {
		return fmt.Errorf("%q: %w: give the command's full path", s.reload, err)
	}
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	output := &tail{max: 1024}
	cmd := exec.CommandContext(limited, command, s.reload[1:]...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + searchPath(), "LANG=C"}
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // for children that keep our pipe open
	err = cmd.Run()
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay): // it ended well, and left a server behind
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%q was ended: %w", s.reload, ctx.Err())
	case limited.Err() != nil:
		return fmt.Errorf("%q did not end within %s and was killed: see why it waits, or raise reload_timeout%s", s.reload, s.timeout, s.said(output))
	}
	return fmt.Errorf("%q: %w: run it by hand to see why; it is tried again with the next pass%s", s.reload, err, s.said(output))
}

// said is what the command printed, as it may be shown; it begins with a colon.
func (s *Sink) said(output *tail) string {
	text := string(output.kept)
	if s.showsKey(text) {
		return ": its output is left out, for it holds a private key"
	}
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) || r == '\uFFFD' {
			return ' '
		}
		return r
	}, text)
	if text = strings.Join(strings.Fields(text), " "); text == "" {
		return ""
	}
	return ": it printed: " + text
}

// showsKey reports whether a text holds a part of a private key: one that calls
// itself so, or one that lies below the directory.
func (s *Sink) showsKey(text string) bool {
	if strings.Contains(text, "PRIVATE KEY") {
		return true
	}
	const window = 16
	text = strings.Join(strings.Fields(text), "")
	for _, key := range s.keys() {
		for i := 0; i+window <= len(text); i++ {
			if strings.Contains(key, text[i:i+window]) {
				return true
			}
		}
	}
	return false
}

// keys are the private keys below the directory, in base64 without line ends.
func (s *Sink) keys() []string {
	a, err := s.open()
	if err != nil || a.private == nil {
		return nil
	}
	defer a.close()
	names, err := a.privateNames()
	if err != nil {
		return nil
	}
	var keys []string
	for _, name := range names {
		if v, err := a.read(name); err == nil {
			keys = append(keys, strings.Join(strings.Fields(string(v.files[keyFile].data)), ""))
		}
	}
	return keys
}

// find is exec.LookPath that also looks where servers live, which is not in the
// search path of ordinary users.
func find(command string) (string, error) {
	found, err := exec.LookPath(command)
	if err == nil || filepath.Base(command) != command {
		return found, err
	}
	for _, dir := range filepath.SplitList(systemPath) {
		if found, err := exec.LookPath(filepath.Join(dir, command)); err == nil {
			return found, nil
		}
	}
	return "", err
}

const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func searchPath() string {
	if path := os.Getenv("PATH"); path != "" {
		return path + ":" + systemPath
	}
	return systemPath
}

// tail keeps the last bytes that were written to it.
type tail struct {
	max  int
	kept []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if extra := len(t.kept) - t.max; extra > 0 {
		t.kept = append(t.kept[:0], t.kept[extra:]...)
	}
	return len(p), nil
}

package file

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/sinks/sinktest"
)

// A pass is killed at its first, second, … write. Whatever is left, readers see a
// whole pair, and the next pass mends it: the symlink, the reload, the leftovers.
func TestKilledAtEveryWrite(t *testing.T) {
	pairs := sinktest.Issue(t, "example", []string{"example.com"}, 1, 2, 3)
	older, newer, newest := pairs[0], pairs[1], pairs[2]
	steps := 0
	for ; ; steps++ {
		if steps > 50 {
			t.Fatal("a pass was still killed at its 50th write")
		}
		dir := filepath.Join(t.TempDir(), "certificates")
		reloaded := filepath.Join(t.TempDir(), "reloaded")
		config := Config{Dir: dir, Reload: []string{"touch", reloaded}}
		s := open(t, config, sinktest.Owner, nil)
		doPass(t, s, older)
		must(t, os.Remove(reloaded))

		output, err := child(t, order{Config: config, KillAt: steps + 1}, newer)
		if err != nil && !killed(err) {
			t.Fatalf("the child: %v\n%s", err, output)
		}
		now, readErr := served(s.path("example"))
		must(t, readErr)
		if got := string(now.ChainPEM); got != string(older.Bundle.FullChainPEM()) && got != string(newer.Bundle.FullChainPEM()) {
			t.Fatalf("killed at write %d: a third chain is served", steps+1)
		}
		if err == nil {
			break // fewer writes than that
		}

		fresh := open(t, config, sinktest.Owner, nil)
		observed, observeErr := fresh.Observe(t.Context(), targetOf(fresh, "example"))
		must(t, observeErr)
		wasReloaded := exists(reloaded)
		if sinktest.Agrees(newer.Entry, observed) == nil && !wasReloaded {
			t.Errorf("killed at write %d: the target looks as promised, and the server was not told", steps+1)
		}
		doPass(t, fresh, newer)
		if !exists(reloaded) {
			t.Errorf("killed at write %d: the server was never told", steps+1)
		}
		agree(t, fresh, newer)
		doPass(t, fresh, newest) // a swap, after which nothing of the dead writer is left
		for _, entry := range entries(t, filepath.Join(dir, private)) {
			if strings.HasPrefix(entry, staging) || strings.HasPrefix(entry, owed) {
				t.Errorf("killed at write %d: %s is left", steps+1, entry)
			}
		}
	}
	if steps < 10 {
		t.Errorf("only %d writes were seen: the steps are not where the writes are", steps)
	}
	t.Logf("killed at each of %d writes", steps)
}

// doPass does what one pass of reconcile does.
func doPass(t testing.TB, s *Sink, pair sinktest.Pair) {
	t.Helper()
	must(t, s.Push(t.Context(), targetOf(s, pair.Entry.Name), pair.Entry, pair.Bundle))
	must(t, s.Finish(t.Context()))
}

func agree(t testing.TB, s *Sink, pair sinktest.Pair) {
	t.Helper()
	observed, err := s.Observe(t.Context(), targetOf(s, pair.Entry.Name))
	must(t, err)
	if err := sinktest.Agrees(pair.Entry, observed); err != nil {
		t.Errorf("%s: %v", s.path(pair.Entry.Name), err)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func entries(t testing.TB, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, entry := range list {
		names = append(names, entry.Name())
	}
	return names
}

// Another user meets a clear error from every method, and the key is not shown.
func TestWithoutRights(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("run as root: the test becomes another user")
	}
	pairs := sinktest.Issue(t, "example", []string{"example.com"}, 1, 2)
	dir := filepath.Join(t.TempDir(), "certificates")
	s := open(t, Config{Dir: dir}, sinktest.Owner, nil)
	doPass(t, s, pairs[0])
	for parent := dir; parent != os.TempDir(); parent = filepath.Dir(parent) {
		must(t, os.Chmod(parent, 0o755)) // so that it is the sink's own rights that count
	}
	output, err := child(t, order{Config: Config{Dir: dir}, UID: 65534}, pairs[1])
	var exit *exec.ExitError
	if !errors.As(err, &exit) || killed(err) {
		t.Fatalf("the child ended with %v\n%s", err, output)
	}
	for _, want := range []string{
		"observing " + s.path("example") + ": " + anycert.ErrForbidden.Error(),
		"pushing to " + s.path("example") + ": " + anycert.ErrForbidden.Error(),
		"trying " + dir + ": " + anycert.ErrForbidden.Error(),
		"run as root, or as the owner of " + dir,
	} {
		if !strings.Contains(output, want) {
			t.Errorf("the errors do not say %q:\n%s", want, output)
		}
	}
	for _, pair := range pairs {
		if err := sinktest.Leaks(output, pair.Bundle); err != nil {
			t.Errorf("the errors show a key: %v", err)
		}
	}
	agree(t, s, pairs[0])
}

// An ordinary user keeps a directory of its own, also after its own rights in it
// were taken away.
func TestAsOrdinaryUser(t *testing.T) {
	const uid = 65534
	dir := filepath.Join(t.TempDir(), "certificates")
	must(t, os.Mkdir(dir, 0o700))
	must(t, os.Chown(dir, uid, uid))
	for parent := filepath.Dir(dir); parent != os.TempDir(); parent = filepath.Dir(parent) {
		must(t, os.Chmod(parent, 0o755))
	}
	s := open(t, Config{Dir: dir}, sinktest.Owner, nil)
	pair := sinktest.Issue(t, "example", []string{"example.com"}, 1)[0]
	for _, change := range []func() error{
		func() error { return nil },
		func() error { return os.Chmod(filepath.Join(s.path("example"), keyFile), 0) },
		func() error { return os.Chmod(filepath.Join(s.path("example"), markFile), 0) },
		func() error { return os.Chmod(s.path("example"), 0) },
		func() error { return os.Chmod(s.path("example"), 0o500) },
		func() error { return os.Truncate(filepath.Join(s.path("example"), leafFile), 0) },
	} {
		must(t, change())
		if output, err := child(t, order{Config: Config{Dir: dir}, UID: uid}, pair); err != nil {
			t.Fatalf("the child ended with %v\n%s", err, output)
		}
		agree(t, s, pair)
	}
}

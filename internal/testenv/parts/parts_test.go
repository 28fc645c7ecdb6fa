package parts_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/anycert/anycert/internal/testenv/parts"
)

func TestFindNamesWhatIsMissing(t *testing.T) {
	t.Setenv("ANYCERT_RIG", t.TempDir())
	for _, part := range parts.All() {
		_, err := parts.Find(part)
		if !errors.Is(err, parts.ErrNotBuilt) || !strings.Contains(err.Error(), string(part)+" is not built yet: run `make rig`") {
			t.Errorf("%v, want that %s is not built", err, part)
		}
	}
	if _, err := parts.Find("minikube"); err == nil || errors.Is(err, parts.ErrNotBuilt) {
		t.Errorf("an unknown part: %v", err)
	}
	if _, err := parts.Program("no-such-program"); !errors.Is(err, parts.ErrNotInstalled) {
		t.Errorf("an unknown program: %v", err)
	}
}

func TestTwoBuildersBuildOnce(t *testing.T) {
	t.Setenv("ANYCERT_RIG", t.TempDir())
	var said [2]bytes.Buffer
	var errs [2]error
	var both sync.WaitGroup
	for i := range said {
		both.Go(func() { errs[i] = parts.Build(t.Context(), &said[i], parts.Etcd) })
	}
	both.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	all := said[0].String() + said[1].String()
	if n := strings.Count(all, "rig: building etcd"); n != 1 {
		t.Errorf("built %d times, want once:\n%s", n, all)
	}
	path, err := parts.Find(parts.Etcd)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), path, "--version").Output(); err != nil || !strings.Contains(string(out), "3.6.5") {
		t.Errorf("etcd --version: %v\n%s", err, out)
	}
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file.Name(), ".unfinished") {
			t.Errorf("%s is left behind", file.Name())
		}
	}
}

func TestAFailedBuildLeavesNothing(t *testing.T) {
	t.Setenv("ANYCERT_RIG", t.TempDir())
	t.Setenv("PATH", t.TempDir()) // without a go command
	err := parts.Build(t.Context(), &bytes.Buffer{}, parts.Etcd)
	if err == nil || !strings.Contains(err.Error(), "building etcd") {
		t.Errorf("%v, want a failure to build etcd", err)
	}
	if _, err := parts.Find(parts.Etcd); !errors.Is(err, parts.ErrNotBuilt) {
		t.Errorf("afterwards: %v", err)
	}
}

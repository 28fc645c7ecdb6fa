package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/anycert/anycert"
)

// A test that needs a second process runs this binary again: these variables say
// what the second one is to do.
const (
	envRole = "ANYCERT_TEST_ROLE"
	envPath = "ANYCERT_TEST_PATH"
)

func TestMain(m *testing.M) {
	switch os.Getenv(envRole) {
	case "hold":
		hold(os.Getenv(envPath))
	case "count":
		count(os.Getenv(envPath))
	default:
		os.Exit(m.Run())
	}
}

// hold locks the file until stdin ends.
func hold(path string) {
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("held")
	_, _ = bufio.NewReader(os.Stdin).ReadByte()
	db.Close()
}

const rounds = 25

// count adds to a record under check-and-set, rounds times.
func count(path string) {
	store, err := Config{Path: path}.Open()
	for done := 0; err == nil && done < rounds; {
		if err = increment(store); err == nil {
			done++
		} else if errors.Is(err, anycert.ErrConflict) {
			err = nil
		}
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func increment(store *Store) error {
	ctx := context.Background()
	value, version, err := store.Load(ctx, anycert.KindOrder, "count")
	if err != nil && !errors.Is(err, anycert.ErrNotFound) {
		return err
	}
	_, err = store.Save(ctx, anycert.KindOrder, "count", version, anycert.NewSecret(value.Reveal()+"I"))
	return err
}

// again is this test binary in another role.
func again(t *testing.T, role, path string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(self)
	command.Env = []string{envRole + "=" + role, envPath + "=" + path}
	return command
}

func TestProcessesShareTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "anycert.db")
	const processes = 3
	var all sync.WaitGroup
	for range processes {
		command := again(t, "count", path)
		all.Go(func() {
			if output, err := command.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, output)
			}
		})
	}
	all.Wait()
	value, version, err := open(t, path).Load(t.Context(), anycert.KindOrder, "count")
	if err != nil {
		t.Fatal(err)
	}
	if version != processes*rounds || len(value.Reveal()) != processes*rounds {
		t.Errorf("version %d, count %d, want %d of each: a write was lost", version, len(value.Reveal()), processes*rounds)
	}
}

func TestAHeldFileSaysWhoHoldsIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "anycert.db")
	command, release := startHolder(t, path)
	store := open(t, path)
	start := time.Now()
	_, err := store.Stat(t.Context(), "example")
	if !errors.Is(err, anycert.ErrUnavailable) {
		t.Fatalf("Stat: %v, want ErrUnavailable", err)
	}
	if took := time.Since(start); took > patience+5*time.Second {
		t.Errorf("it took %v to say so", took)
	}
	want := "another process"
	if runtime.GOOS == "linux" {
		want = fmt.Sprintf("process %d (local.test)", command.Process.Pid)
	}
	if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
		t.Errorf("the error %q names not both %q and the file", err, want)
	}

	// Waiting ends with the context, and with the holder.
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := store.Stat(ctx, "example"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Stat with a deadline: %v, want context.DeadlineExceeded", err)
	}
	release()
	if _, err := store.Stat(t.Context(), "example"); !errors.Is(err, anycert.ErrNotFound) {
		t.Errorf("Stat after the holder has ended: %v, want ErrNotFound", err)
	}
}

// startHolder starts a process that holds the file until release is called.
func startHolder(t *testing.T, path string) (_ *exec.Cmd, release func()) {
	t.Helper()
	command := again(t, "hold", path)
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	release = func() {
		once.Do(func() {
			stdin.Close()
			if err := command.Wait(); err != nil {
				t.Errorf("the holder: %v", err)
			}
		})
	}
	t.Cleanup(release)
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "held\n" {
		t.Fatalf("the holder says %q, %v", line, err)
	}
	return command, release
}

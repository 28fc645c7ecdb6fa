package credential_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/config/credential"
)

// vault counts its readings.
type vault struct {
	mu    sync.Mutex
	reads int
	read  func(ctx context.Context, n int) (string, error)
}

func (v *vault) ReadField(ctx context.Context, place string) (anycert.Secret, error) {
	v.mu.Lock()
	v.reads++
	n := v.reads
	v.mu.Unlock()
	text, err := v.read(ctx, n)
	return anycert.NewSecret(text), err
}

func (v *vault) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.reads
}

var inVault = anycert.Reference{Vault: "secret/credentials/fly#token"}

// numbered answers the first reading with "a", the second with "b".
func numbered(_ context.Context, n int) (string, error) { return string(rune('a' + n - 1)), nil }

func TestSources(t *testing.T) {
	t.Setenv("ANYCERT_TEST_TOKEN", "of-env\n")
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, "of-file\r\n", 0o600)
	tests := map[string]anycert.Reference{
		"of-env":  {Env: "ANYCERT_TEST_TOKEN"},
		"of-file": {File: file},
		"a":       inVault,
	}
	for want, reference := range tests {
		got, err := credential.New(reference, &vault{read: numbered}).Secret(t.Context())
		if err != nil || got.Reveal() != want {
			t.Errorf("%s: %q, %v, want %q", reference, got.Reveal(), err, want)
		}
	}
}

func TestReadAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &vault{read: numbered}
		secret := credential.New(inVault, source)
		expect := func(when, want string) {
			t.Helper()
			if got, err := secret.Secret(t.Context()); err != nil || got.Reveal() != want {
				t.Errorf("%s: %q, %v, want %q", when, got.Reveal(), err, want)
			}
		}
		expect("at first", "a")
		time.Sleep(10*time.Minute - time.Second)
		expect("within ten minutes", "a")
		time.Sleep(time.Second)
		expect("after ten minutes", "b")
		secret.Refused()
		expect("after a refusal", "c")
		expect("after that", "c")
	})
}

func TestOneReadingForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &vault{read: func(ctx context.Context, n int) (string, error) {
			time.Sleep(time.Second)
			return "x", nil
		}}
		secret := credential.New(inVault, source)
		var wait sync.WaitGroup
		for range 20 {
			wait.Go(func() {
				if _, err := secret.Secret(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		if n := source.count(); n != 1 {
			t.Errorf("%d readings, want one", n)
		}
	})
}

// What was under way when it was refused may be the old secret.
func TestRefusedWhileReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &vault{read: func(ctx context.Context, n int) (string, error) {
			time.Sleep(time.Second)
			return numbered(ctx, n)
		}}
		secret := credential.New(inVault, source)
		go func() { _, _ = secret.Secret(t.Context()) }()
		synctest.Wait()
		secret.Refused()
		time.Sleep(2 * time.Second)
		if got, err := secret.Secret(t.Context()); err != nil || got.Reveal() != "b" {
			t.Errorf("%q, %v, want b", got.Reveal(), err)
		}
	})
}

// One caller that gives up, or a reading that fails, is not the others' failure.
func TestFailuresAreNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &vault{read: func(ctx context.Context, n int) (string, error) {
			if n > 1 {
				return "x", nil
			}
			<-ctx.Done()
			return "", context.Cause(ctx)
		}}
		secret := credential.New(inVault, source)
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		shorter, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		go func() { _, _ = secret.Secret(short) }()
		synctest.Wait()
		if _, err := secret.Secret(shorter); !errors.Is(err, anycert.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting for the other: %v, want ErrUnavailable", err)
		}
		if got, err := secret.Secret(t.Context()); err != nil || got.Reveal() != "x" {
			t.Errorf("%q, %v, want x", got.Reveal(), err)
		}
	})
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write(t, at("wide"), "hunter2", 0o620)
	write(t, at("long"), strings.Repeat("hunter2", 10_000), 0o600)
	write(t, at("empty"), "\n", 0o600)
	if err := syscall.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ANYCERT_TEST_EMPTY", "")
	denied := &vault{read: func(context.Context, int) (string, error) { return "hunter2", anycert.ErrForbidden }}
	tests := map[string]struct {
		reference anycert.Reference
		vault     credential.Vault
		says      string
		is        error
	}{
		"variable not set": {reference: anycert.Reference{Env: "ANYCERT_TEST_ABSENT"}, says: "env ANYCERT_TEST_ABSENT: the variable is not set"},
		"variable empty":   {reference: anycert.Reference{Env: "ANYCERT_TEST_EMPTY"}, says: "env ANYCERT_TEST_EMPTY: malformed: it is empty", is: anycert.ErrMalformed},
		"no file":          {reference: anycert.Reference{File: at("absent")}, says: "file " + at("absent") + ": no such file or directory", is: os.ErrNotExist},
		"a directory":      {reference: anycert.Reference{File: dir}, says: "it is not a regular file", is: anycert.ErrMalformed},
		"a named pipe":     {reference: anycert.Reference{File: at("pipe")}, says: "it is not a regular file", is: anycert.ErrMalformed},
		"a device":         {reference: anycert.Reference{File: "/dev/zero"}, says: "it is not a regular file", is: anycert.ErrMalformed},
		"others may write": {reference: anycert.Reference{File: at("wide")}, says: "others may write it (mode 0620): chmod go-w", is: anycert.ErrRefused},
		"too long":         {reference: anycert.Reference{File: at("long")}, says: "it has more than 65536 bytes", is: anycert.ErrMalformed},
		"empty":            {reference: anycert.Reference{File: at("empty")}, says: "it is empty", is: anycert.ErrMalformed},
		"denied":           {reference: inVault, vault: denied, says: "vault secret/credentials/fly#token: permission denied", is: anycert.ErrForbidden},
		"no Vault":         {reference: inVault, says: "there is no Vault in this configuration"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			secret, err := credential.New(test.reference, test.vault).Secret(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.says) || test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("%v, want %q (%v)", err, test.says, test.is)
			}
			if !secret.IsZero() || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("a secret is given away: %v", err)
			}
		})
	}
}

// A projected Secret of Kubernetes is a link to a link to a file.
func TestLinksAreFollowed(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "data"), "x", 0o640)
	if err := os.Symlink("data", filepath.Join(dir, "token")); err != nil {
		t.Fatal(err)
	}
	if _, err := credential.New(anycert.Reference{File: filepath.Join(dir, "token")}, nil).Secret(t.Context()); err != nil {
		t.Error(err)
	}
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // the umask takes bits away
		t.Fatal(err)
	}
}

package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/sinks/sinktest"
)

func TestConformance(t *testing.T) {
	for name, config := range map[string]Config{
		"dir alone": {}, // what pull uses
		"everything": {
			Group:    "nogroup",
			Mode:     0o640,
			Keystore: &Keystore{Password: anycert.Reference{Env: "KEYSTORE_PASSWORD"}},
			Reload:   []string{"true"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			sinktest.Run(t, func(t testing.TB) *sinktest.Harness {
				config := config
				config.Dir = filepath.Join(t.TempDir(), "certificates")
				return newHarness(t, config)
			})
		})
	}
}

const (
	testPassword = "correct horse battery staple"
	needsRemote  = "a directory is not reached over a network"
)

func testEnv(owner string) anycert.SinkEnv {
	return anycert.SinkEnv{
		Name:  "nginx",
		Owner: owner,
		Credential: func(anycert.Reference) anycert.Credential {
			return credential(testPassword)
		},
	}
}

type credential string

func (c credential) Secret(context.Context) (anycert.Secret, error) {
	return anycert.NewSecret(string(c)), nil
}
func (credential) Refused() {}

// open makes a sink whose steps are watched.
func open(t testing.TB, config Config, owner string, step func(string) error) *Sink {
	t.Helper()
	opened, err := config.Open(testEnv(owner))
	if err != nil {
		t.Fatal(err)
	}
	s := opened.(*Sink)
	if step != nil {
		s.step = step
	}
	return s
}

func newHarness(t testing.TB, config Config) *sinktest.Harness {
	fault := &fault{}
	tree := &tree{dir: config.Dir}
	return &sinktest.Harness{
		New:         func(owner string) anycert.Sink { return open(t, config, owner, fault.step) },
		Certificate: "example",
		Names:       []string{"example.com", "*.example.com"},
		Served:      func(target anycert.Target) (sinktest.Served, error) { return served(target.Label) },
		Writes:      tree.writes,
		Tamper:      tampers(config),
		Foreign:     foreigners(),
		FailWrite:   fault.fail,
		Secrets:     []string{testPassword},
		Without: map[string]string{
			"Forbid":      "root is denied nothing: see TestWithoutRights",
			"Unavailable": needsRemote,
			"Hang":        needsRemote,
		},
	}
}

// served reads a pair as a careful server does: the directory is opened once. Of
// what is not ours, it tells what it is.
func served(path string) (sinktest.Served, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return sinktest.Served{}, nil
	}
	if err != nil || !info.IsDir() {
		return sinktest.Served{ChainPEM: []byte(fs.FormatFileInfo(info))}, err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return sinktest.Served{}, err
	}
	defer root.Close()
	chain, err := root.ReadFile(fullchainFile)
	if errors.Is(err, fs.ErrNotExist) {
		return sinktest.Served{ChainPEM: []byte(fs.FormatFileInfo(info))}, nil
	}
	key, keyErr := root.ReadFile(keyFile)
	return sinktest.Served{ChainPEM: chain, KeyPEM: key}, errors.Join(err, keyErr)
}

// fault makes the nth write fail.
type fault struct {
	mu  sync.Mutex
	nth int
}

func (f *fault) fail(nth int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nth = nth
}

func (f *fault) step(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.nth > 0 {
		if f.nth--; f.nth == 0 {
			return fmt.Errorf("%s: %w", name, syscall.EIO)
		}
	}
	return nil
}

// tree counts how often a directory was found changed.
type tree struct {
	dir   string
	last  map[string]string
	count int
}

func (tr *tree) writes() int {
	now := map[string]string{}
	_ = filepath.WalkDir(tr.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := entry.Info(); err == nil {
			stat := info.Sys().(*syscall.Stat_t)
			now[path] = fmt.Sprint(stat.Ino, stat.Mode, stat.Uid, stat.Gid, stat.Size, stat.Mtim, stat.Ctim)
		}
		return nil
	})
	if tr.last != nil && !maps.Equal(tr.last, now) {
		tr.count++
	}
	tr.last = now
	return tr.count
}

// tampers are the ways in which a directory can be broken.
func tampers(config Config) []sinktest.Tamper {
	all := []sinktest.Tamper{
		change("the symlink deleted", os.Remove),
		change("the version deleted", func(path string) error {
			real, err := filepath.EvalSymlinks(path)
			return errors.Join(err, os.RemoveAll(real))
		}),
		change("everything below .anycert deleted", func(path string) error {
			return os.RemoveAll(filepath.Join(filepath.Dir(path), private))
		}),
		change("emptied", func(path string) error {
			names, err := filepath.Glob(filepath.Join(path, "*"))
			for _, name := range names {
				err = errors.Join(err, os.Truncate(name, 0))
			}
			return err
		}),
		change("the key deleted", func(path string) error { return os.Remove(filepath.Join(path, keyFile)) }),
		change("cert.pem deleted", func(path string) error { return os.Remove(filepath.Join(path, leafFile)) }),
		change("mark.json deleted", func(path string) error { return os.Remove(filepath.Join(path, markFile)) }),
		change("the key readable by everybody", func(path string) error { return os.Chmod(filepath.Join(path, keyFile), 0o644) }),
		change("the key readable by nobody", func(path string) error { return os.Chmod(filepath.Join(path, keyFile), 0) }),
		change("the version writable by everybody", func(path string) error { return os.Chmod(path, 0o777) }),
		change(".anycert writable by everybody", func(path string) error {
			return os.Chmod(filepath.Join(filepath.Dir(path), private), 0o777)
		}),
		change("the key given to another user", func(path string) error { return os.Chown(filepath.Join(path, keyFile), 65534, -1) }),
		change("the chain given to another group", func(path string) error { return os.Chown(filepath.Join(path, fullchainFile), -1, 12) }),
		change("a named pipe in place of the key", inPlaceOf(keyFile, func(name string) error { return syscall.Mkfifo(name, 0o600) })),
		change("a symlink in place of the key", inPlaceOf(keyFile, func(name string) error { return os.Symlink("/etc/hostname", name) })),
		change("a directory in place of the key", inPlaceOf(keyFile, func(name string) error { return os.Mkdir(name, 0o700) })),
		change("a device in place of the key", inPlaceOf(keyFile, func(name string) error { return syscall.Mknod(name, syscall.S_IFCHR|0o600, 1<<8|5) })),
		pairs("self-signed until 2099", func(m sinktest.Material) sinktest.Pair { return m.LongLived }),
		pairs("somebody else's certificate with our mark left on", func(m sinktest.Material) sinktest.Pair { return m.Stranger }),
		pairs("an older certificate of ours copied over", func(m sinktest.Material) sinktest.Pair { return m.Older }),
		overwrite("a wrong key beside the right certificate", keyFile, func(m sinktest.Material) []byte {
			return []byte(m.Stranger.Bundle.KeyPEM().Reveal())
		}),
		overwrite("the chain cut", fullchainFile, func(m sinktest.Material) []byte { return m.Pushed.Bundle.LeafPEM() }),
		overwrite("another combined.pem", combinedFile, func(m sinktest.Material) []byte { return m.Older.Bundle.FullChainPEM() }),
		overwrite("a huge certificate", fullchainFile, func(sinktest.Material) []byte { return make([]byte, 2*maxFile) }),
		{Name: "the symlink led back to the version before", Do: func(t testing.TB, target anycert.Target, m sinktest.Material) {
			must(t, os.Remove(target.Label))
			must(t, os.Symlink(linkTo(versionName(target.Certificate, m.Older.Entry.Digest)), target.Label))
		}},
	}
	if config.Keystore != nil {
		all = append(all, change("the keystore deleted", func(path string) error { return os.Remove(filepath.Join(path, keystoreFile)) }),
			overwrite("another keystore", keystoreFile, func(m sinktest.Material) []byte {
				data, _ := makeKeystore(m.Older.Bundle, anycert.NewSecret(testPassword))
				return data
			}),
			overwrite("a keystore with another password", keystoreFile, func(m sinktest.Material) []byte {
				data, _ := makeKeystore(m.Pushed.Bundle, anycert.NewSecret("another"))
				return data
			}))
	}
	if config.Reload != nil {
		all = append(all, sinktest.Tamper{Name: "killed between swap and reload", Do: func(t testing.TB, target anycert.Target, m sinktest.Material) {
			s := open(t, config, sinktest.Owner, nil)
			must(t, s.Push(t.Context(), target, m.Older.Entry, m.Older.Bundle))
			must(t, s.Push(t.Context(), target, m.Pushed.Entry, m.Pushed.Bundle))
		}})
	}
	return all
}

// foreigners are things that anycert did not make.
func foreigners() []sinktest.Tamper {
	inDir := func(path string, do func() error) error {
		return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), do())
	}
	return []sinktest.Tamper{
		{Name: "a directory with certificates", Do: func(t testing.TB, target anycert.Target, m sinktest.Material) {
			must(t, os.MkdirAll(target.Label, 0o755))
			must(t, os.WriteFile(filepath.Join(target.Label, fullchainFile), m.Stranger.Bundle.FullChainPEM(), 0o644))
			must(t, os.WriteFile(filepath.Join(target.Label, keyFile), []byte(m.Stranger.Bundle.KeyPEM().Reveal()), 0o600))
		}},
		change("an empty directory", func(path string) error { return os.MkdirAll(path, 0o755) }),
		{Name: "a file", Do: func(t testing.TB, target anycert.Target, m sinktest.Material) {
			must(t, os.MkdirAll(filepath.Dir(target.Label), 0o755))
			must(t, os.WriteFile(target.Label, m.Stranger.Bundle.FullChainPEM(), 0o644))
		}},
		change("a symlink out of the directory", func(path string) error {
			return inDir(path, func() error { return os.Symlink("/var/empty-or-not-there", path) })
		}),
		change("a symlink into .anycert that is not a version's", func(path string) error {
			return inDir(path, func() error { return os.Symlink(private+"/example-latest", path) })
		}),
		{Name: "a version that is a symlink", Do: func(t testing.TB, target anycert.Target, m sinktest.Material) {
			name := versionName(target.Certificate, m.Pushed.Entry.Digest)
			must(t, os.MkdirAll(filepath.Join(filepath.Dir(target.Label), private), privateMode))
			must(t, os.Symlink("..", filepath.Join(filepath.Dir(target.Label), private, name)))
			must(t, os.Symlink(linkTo(name), target.Label))
		}},
	}
}

func change(name string, do func(path string) error) sinktest.Tamper {
	return sinktest.Tamper{Name: name, Do: func(t testing.TB, target anycert.Target, _ sinktest.Material) {
		must(t, do(target.Label))
	}}
}

func overwrite(name, file string, data func(m sinktest.Material) []byte) sinktest.Tamper {
	return sinktest.Tamper{Name: name, Do: func(t testing.TB, target anycert.Target, m sinktest.Material) {
		must(t, os.WriteFile(filepath.Join(target.Label, file), data(m), 0o600))
	}}
}

// pairs writes all files of another certificate over ours, and leaves the mark.
func pairs(name string, pair func(m sinktest.Material) sinktest.Pair) sinktest.Tamper {
	return sinktest.Tamper{Name: name, Do: func(t testing.TB, target anycert.Target, m sinktest.Material) {
		files, err := contents(signature{}, pair(m).Bundle)
		must(t, err)
		delete(files, markFile)
		for name, data := range files {
			must(t, os.WriteFile(filepath.Join(target.Label, name), data, 0o600))
		}
	}}
}

func inPlaceOf(name string, do func(name string) error) func(path string) error {
	return func(path string) error {
		name := filepath.Join(path, name)
		return errors.Join(os.Remove(name), do(name))
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

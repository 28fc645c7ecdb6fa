package file

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	pkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/sinks/sinktest"
)

// The layout is a promise to whoever writes a server's configuration.
func TestLayout(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certificates")
	config := Config{Dir: dir, Mode: 0o640, Keystore: &Keystore{Password: anycert.Reference{Env: "X"}}}
	s := open(t, config, sinktest.Owner, nil)
	pair := sinktest.Issue(t, "example", []string{"example.com"}, 1)[0]
	doPass(t, s, pair)

	link, err := os.Readlink(filepath.Join(dir, "example"))
	must(t, err)
	if want := ".anycert/example-" + pair.Bundle.Digest().Hex(); link != want {
		t.Errorf("the symlink leads to %q, want %q", link, want)
	}
	chain, key := string(pair.Bundle.FullChainPEM()), pair.Bundle.KeyPEM().Reveal()
	for name, want := range map[string]string{
		"fullchain.pem": chain,
		"privkey.pem":   key,
		"cert.pem":      string(pair.Bundle.LeafPEM()),
		"chain.pem":     string(pair.Bundle.IssuersPEM()),
		"combined.pem":  chain + key,
	} {
		if got := read(t, filepath.Join(dir, "example", name)); got != want {
			t.Errorf("%s holds %d bytes that are not the %d promised", name, len(got), len(want))
		}
	}
	if got, want := entries(t, filepath.Join(dir, "example")), []string{"cert.pem", "chain.pem", "combined.pem", "fullchain.pem", "keystore.p12", "mark.json", "privkey.pem"}; !slices.Equal(got, want) {
		t.Errorf("the directory holds %q, want %q", got, want)
	}
	for path, want := range map[string]fs.FileMode{
		dir: 0o755, filepath.Join(dir, private): 0o755, filepath.Join(dir, link): 0o750, filepath.Join(dir, link, "privkey.pem"): 0o640,
	} {
		info, err := os.Stat(path)
		must(t, err)
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %04o, want %04o", path, info.Mode().Perm(), want)
		}
	}
	var mark anycert.Mark
	must(t, json.Unmarshal([]byte(read(t, filepath.Join(dir, "example", "mark.json"))), &mark))
	if want := anycert.MarkOf(sinktest.Owner, pair.Entry); mark != want {
		t.Errorf("the mark is %+v, want %+v", mark, want)
	}
	_, leaf, issuers, err := pkcs12.DecodeChain([]byte(read(t, filepath.Join(dir, "example", "keystore.p12"))), testPassword)
	must(t, err)
	if !leaf.Equal(pair.Bundle.Leaf()) || len(issuers) != 1 {
		t.Errorf("the keystore holds another certificate, or %d issuers and not 1", len(issuers))
	}
}

// Whatever fails or is killed, no file is ever readable by others.
func TestNeverReadableByOthers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certificates")
	looks := 0
	s := open(t, Config{Dir: dir}, sinktest.Owner, func(string) error {
		return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			info, err := entry.Info()
			if err == nil && info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has mode %04o while it is written", path, info.Mode().Perm())
			}
			looks++
			return err
		})
	})
	for _, pair := range sinktest.Issue(t, "example", []string{"example.com"}, 1, 2) {
		doPass(t, s, pair)
	}
	if looks == 0 {
		t.Error("no file was looked at")
	}
}

// A damaged version that is in use is replaced without a moment in which the pair
// is not there.
func TestRepairLeavesNoGap(t *testing.T) {
	pair := sinktest.Issue(t, "example", []string{"example.com"}, 1)[0]
	var s *Sink
	looks := 0
	s = open(t, Config{Dir: filepath.Join(t.TempDir(), "certificates")}, sinktest.Owner, func(step string) error {
		if looks > 0 {
			looks++
			now, err := served(s.path("example"))
			if err != nil || string(now.ChainPEM) != string(pair.Bundle.FullChainPEM()) || string(now.KeyPEM) != pair.Bundle.KeyPEM().Reveal() {
				t.Errorf("before %q the pair is not there: %v", step, err)
			}
		}
		return nil
	})
	doPass(t, s, pair)
	must(t, os.Truncate(filepath.Join(s.path("example"), combinedFile), 0))
	looks = 1
	doPass(t, s, pair)
	agree(t, s, pair)
	if looks < 10 {
		t.Errorf("the pair was looked at %d times: nothing was replaced", looks)
	}
}

// The version before stays for who opened it; older ones go.
func TestOldVersions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certificates")
	s := open(t, Config{Dir: dir}, sinktest.Owner, nil)
	pairs := sinktest.Issue(t, "example", []string{"example.com"}, 1, 2, 3)
	other := sinktest.Issue(t, "example-dev", []string{"example.com"}, 1)[0]
	doPass(t, s, other)
	doPass(t, s, pairs[0])

	opened, err := os.OpenRoot(s.path("example"))
	must(t, err)
	defer opened.Close()
	doPass(t, s, pairs[1])
	for name, want := range map[string]string{fullchainFile: string(pairs[0].Bundle.FullChainPEM()), keyFile: pairs[0].Bundle.KeyPEM().Reveal()} {
		if got, err := opened.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("who opened the version before reads another %s, or %v", name, err)
		}
	}
	doPass(t, s, pairs[2])
	var got []string
	for _, name := range entries(t, filepath.Join(dir, private)) {
		if certificateOf(name) != "" {
			got = append(got, name)
		}
	}
	want := []string{versionName("example", pairs[1].Entry.Digest), versionName("example", pairs[2].Entry.Digest), versionName("example-dev", other.Entry.Digest)}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the versions are %q, want %q", got, want)
	}
}

// What somebody put into a version's directory is not deleted with it.
func TestStrangersFileStays(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certificates")
	s := open(t, Config{Dir: dir}, sinktest.Owner, nil)
	pairs := sinktest.Issue(t, "example", []string{"example.com"}, 1, 2, 3)
	doPass(t, s, pairs[0])
	must(t, os.WriteFile(filepath.Join(s.path("example"), "dhparam.pem"), []byte("theirs"), 0o600))
	doPass(t, s, pairs[1])
	doPass(t, s, pairs[2])
	found, err := filepath.Glob(filepath.Join(dir, private, "*", "dhparam.pem"))
	must(t, err)
	if len(found) != 1 || read(t, found[0]) != "theirs" {
		t.Errorf("their file is gone: %q", found)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, private, "*", keyFile)); len(left) != 2 {
		t.Errorf("keys are left in %q, want two", left)
	}
}

// Two sinks of one hub may share a directory; neither removes what is the other's.
func TestSharedDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certificates")
	nginx := open(t, Config{Dir: dir}, sinktest.Owner, nil)
	haproxy := open(t, Config{Dir: dir}, sinktest.Owner, nil)
	haproxy.name = "haproxy"
	one := sinktest.Issue(t, "one", []string{"example.com"}, 1)[0]
	two := sinktest.Issue(t, "two", []string{"example.com"}, 1)[0]
	doPass(t, nginx, one)
	doPass(t, haproxy, two)
	for s, want := range map[*Sink]string{nginx: "one", haproxy: "two"} {
		found, err := s.Orphans(t.Context(), nil)
		must(t, err)
		if len(found) != 1 || found[0].Mark.Certificate != want {
			t.Errorf("the orphans of %s are %+v, want %s alone", s.name, found, want)
		}
	}
	// One that was renamed finds its own again, and needs no reload for that.
	nginx.name = "web"
	observed, err := nginx.Observe(t.Context(), targetOf(nginx, "one"))
	must(t, err)
	if sinktest.Agrees(one.Entry, observed) == nil {
		t.Error("the mark of the sink's old name was not seen")
	}
	doPass(t, nginx, one)
	agree(t, nginx, one)
}

// An orphan whose symlink is gone still has a key on the disk.
func TestOrphanWithoutSymlink(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certificates")
	s := open(t, Config{Dir: dir}, sinktest.Owner, nil)
	for _, pair := range sinktest.Issue(t, "example", []string{"example.com"}, 1, 2) {
		doPass(t, s, pair)
	}
	must(t, os.Remove(s.path("example")))
	found, err := s.Orphans(t.Context(), nil)
	must(t, err)
	if len(found) != 1 {
		t.Fatalf("the orphans are %+v, want one", found)
	}
	must(t, s.Remove(t.Context(), found[0]))
	if keys, _ := filepath.Glob(filepath.Join(dir, private, "*", keyFile)); len(keys) > 0 {
		t.Errorf("keys are left: %q", keys)
	}
}

// Files go to the configured owner; without one, to that of .anycert, whoever runs
// the pass.
func TestOwner(t *testing.T) {
	nobody, err := user.Lookup("nobody")
	must(t, err)
	uid, err := strconv.Atoi(nobody.Uid)
	must(t, err)
	pair := sinktest.Issue(t, "example", []string{"example.com"}, 1)[0]
	check := func(t *testing.T, s *Sink) {
		agree(t, s, pair)
		for _, name := range append(entries(t, s.path("example")), ".") {
			info, err := os.Stat(filepath.Join(s.path("example"), name))
			must(t, err)
			if got, _ := ownerOf(info); got != uid {
				t.Errorf("%s belongs to %d, want %d", name, got, uid)
			}
		}
	}
	t.Run("configured", func(t *testing.T) {
		s := open(t, Config{Dir: filepath.Join(t.TempDir(), "certificates"), Owner: "nobody"}, sinktest.Owner, nil)
		doPass(t, s, pair)
		check(t, s)
	})
	t.Run("of .anycert", func(t *testing.T) {
		s := open(t, Config{Dir: filepath.Join(t.TempDir(), "certificates")}, sinktest.Owner, nil)
		must(t, os.MkdirAll(s.path(private), 0o755))
		must(t, os.Chown(s.path(private), uid, -1))
		doPass(t, s, pair)
		check(t, s)
	})
}

// Two processes, or two hubs, that write at the same time take turns; one that
// waits gives up with its context.
func TestLock(t *testing.T) {
	s := open(t, Config{Dir: filepath.Join(t.TempDir(), "certificates")}, sinktest.Owner, nil)
	holder, err := s.openToWrite(t.Context())
	must(t, err)
	pair := sinktest.Issue(t, "example", []string{"example.com"}, 1)[0]
	ctx, cancel := contextEndingSoon(t)
	defer cancel()
	err = s.Push(ctx, targetOf(s, "example"), pair.Entry, pair.Bundle)
	if err == nil || !strings.Contains(err.Error(), "another anycert") || ctx.Err() == nil {
		t.Errorf("a push beside another returned %v", err)
	}
	holder.close()
	doPass(t, s, pair)
	agree(t, s, pair)
}

// A directory that is not there, or is none, is told and not made by looking.
func TestNoDirectory(t *testing.T) {
	s := open(t, Config{Dir: filepath.Join(t.TempDir(), "a", "b", "c")}, sinktest.Owner, nil)
	must(t, s.Probe(t.Context()))
	must(t, s.Finish(t.Context()))
	if exists(s.dir) {
		t.Error("looking made the directory")
	}
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	s = open(t, Config{Dir: file}, sinktest.Owner, nil)
	for name, err := range map[string]error{
		"Probe": s.Probe(t.Context()),
		"Push":  s.Push(t.Context(), targetOf(s, "example"), anycert.Entry{}, sinktest.Issue(t, "example", []string{"example.com"}, 1)[0].Bundle),
	} {
		if err == nil {
			t.Errorf("%s took a file for a directory", name)
		}
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
}

func contextEndingSoon(t testing.TB) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), 50*time.Millisecond)
}

// What a later anycert writes there need not have the fields of today.
func TestMarkOfALaterFormIsNoDamagedOne(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()}, sinktest.Owner, nil)
	a := &area{Sink: s}
	for name, test := range map[string]struct {
		text  string
		later bool
	}{
		"other fields":      {`{"schema": 2, "holder": "hub"}`, true},
		"fields of one now": {`{"owner": {"name": "hub"}, "certificate": "example", "schema": 3}`, true},
		"another time":      {`{"owner": "` + sinktest.Owner + `", "certificate": "example", "time": 5, "schema": 2}`, true},
		"damaged":           {`{"owner": "` + sinktest.Owner + `", "certif`, false},
		"empty":             {``, false},
	} {
		why := a.foreignMark(parseSignature([]byte(test.text)))
		if strings.Contains(why, "later anycert") != test.later || !test.later && why != "" {
			t.Errorf("%s: %q", name, why)
		}
	}
}

package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/internal/testenv/vaultserver"
)

// moment is a point in time for the logs and counters of every server, and what lay
// in the files then.
type moment struct {
	vault  vaultserver.Mark
	kube   kubeserver.Mark
	fastly int
	fly    int
	files  map[string]string
}

func (w *world) now() moment {
	w.t.Helper()
	m := moment{fastly: w.fastly.Writes(), fly: w.fly.Writes(), files: w.listFiles()}
	var err error
	m.vault, err = w.vault.Mark()
	w.must(err)
	if w.kube != nil {
		m.kube, err = w.kube.Mark()
		w.must(err)
	}
	return m
}

// listFiles describes everything below the file sink's directory by what any write
// changes: inode, mode, owner, size and times.
func (w *world) listFiles() map[string]string {
	w.t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(w.files, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		stat := info.Sys().(*syscall.Stat_t)
		found[path] = fmt.Sprintf("inode %d, %s, %d:%d, %d bytes, modified %d, changed %d",
			stat.Ino, info.Mode(), stat.Uid, stat.Gid, stat.Size, info.ModTime().UnixNano(), changed(stat))
		return nil
	})
	if err != nil && !os.IsNotExist(err) {
		w.t.Fatal(err)
	}
	return found
}

// vaultSince lists what Vault was asked for since m, by operation and path.
func (w *world) vaultSince(m moment) []vaultserver.Request {
	w.t.Helper()
	requests, err := w.vault.Requests(m.vault)
	w.must(err)
	return requests
}

// wroteNothing fails unless no API was written to since m and no file was touched,
// by the counts of the servers.
func (w *world) wroteNothing(when string, m moment) {
	w.t.Helper()
	for _, r := range vaultserver.Writes(w.vaultSince(m)) {
		w.t.Errorf("%s: a write to Vault: %s %s", when, r.Operation, r.Path)
	}
	if w.kube != nil {
		requests, err := w.kube.Requests(m.kube)
		w.must(err)
		for _, r := range kubeserver.Writes(kubeserver.From("anycert", requests)) {
			w.t.Errorf("%s: a write to Kubernetes: %s %s %s/%s", when, r.Verb, r.Resource, r.Namespace, r.Name)
		}
	}
	if n := w.fastly.Writes() - m.fastly; n != 0 {
		w.t.Errorf("%s: %d writes to Fastly", when, n)
	}
	if n := w.fly.Writes() - m.fly; n != 0 {
		w.t.Errorf("%s: %d writes to Fly.io", when, n)
	}
	if diff := cmp.Diff(m.files, w.listFiles()); diff != "" {
		w.t.Errorf("%s: files were touched (-before +after):\n%s", when, diff)
	}
}

// keyReads are the readings of a certificate's data, and so of its key, since m.
func (w *world) keyReads(m moment) []string {
	w.t.Helper()
	var paths []string
	for _, r := range vaultserver.KeyReads(w.vaultSince(m)) {
		if strings.Contains(r.Path, "/certs/") {
			paths = append(paths, r.Path)
		}
	}
	return paths
}

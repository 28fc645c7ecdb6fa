package world

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/internal/testenv/vaultserver"
)

// Moment is a point in time for the logs and counters of every server, and what
// lay in the folder Files then.
type Moment struct {
	vault    vaultserver.Mark
	clusters map[string]kubeserver.Mark
	fastly   int
	fly      int
	orders   int
	files    map[string]string
}

// Now is this moment.
func (w *World) Now() Moment {
	w.T.Helper()
	m := Moment{clusters: map[string]kubeserver.Mark{}, fastly: w.Fastly.Writes(), fly: w.Fly.Writes(),
		orders: len(w.ACME.Orders()), files: w.ListFiles()}
	var err error
	m.vault, err = w.Vault.Mark()
	w.Must(err)
	for name, cluster := range w.Clusters {
		m.clusters[name], err = cluster.Mark()
		w.Must(err)
	}
	return m
}

// VaultSince lists what Vault was asked for since m.
func (w *World) VaultSince(m Moment) []vaultserver.Request {
	w.T.Helper()
	requests, err := w.Vault.Requests(m.vault)
	w.Must(err)
	return requests
}

// ClusterSince lists what anycert asked a cluster for since m.
func (w *World) ClusterSince(m Moment, cluster string) []kubeserver.Request {
	w.T.Helper()
	requests, err := w.Clusters[cluster].Requests(m.clusters[cluster])
	w.Must(err)
	return kubeserver.From("anycert", requests)
}

// WroteNothing fails unless no order was made since m, no API was written to and
// no file below Files was touched, by the counts of the servers; but for paths of Vault
// that hold one of the parts named.
func (w *World) WroteNothing(when string, m Moment, but ...string) {
	w.T.Helper()
	for _, r := range vaultserver.Writes(w.VaultSince(m)) {
		if slices.ContainsFunc(but, func(part string) bool { return strings.Contains(r.Path, part) }) {
			continue
		}
		w.T.Errorf("%s: a write to Vault: %s %s", when, r.Operation, r.Path)
	}
	for name := range w.Clusters {
		for _, r := range kubeserver.Writes(w.ClusterSince(m, name)) {
			w.T.Errorf("%s: a write to the cluster %s: %s %s %s/%s", when, name, r.Verb, r.Resource, r.Namespace, r.Name)
		}
	}
	for what, n := range map[string]int{
		"writes to Fastly": w.Fastly.Writes() - m.fastly,
		"writes to Fly.io": w.Fly.Writes() - m.fly,
		"orders":           len(w.ACME.Orders()) - m.orders,
	} {
		if n != 0 {
			w.T.Errorf("%s: %d %s", when, n, what)
		}
	}
	if diff := cmp.Diff(m.files, w.ListFiles()); diff != "" {
		w.T.Errorf("%s: files were touched (-before +after):\n%s", when, diff)
	}
}

// ListFiles describes everything below Files by what any write changes: inode,
// mode, owner, size and times.
func (w *World) ListFiles() map[string]string {
	w.T.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(w.Files, func(path string, entry fs.DirEntry, err error) error {
		var info fs.FileInfo
		if err == nil {
			info, err = entry.Info()
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // nothing was made yet, or it went meanwhile: all else counts
		}
		if err != nil {
			return err
		}
		stat := info.Sys().(*syscall.Stat_t)
		found[path] = fmt.Sprintf("inode %d, %s, %d:%d, %d bytes, modified %d, changed %d",
			stat.Ino, info.Mode(), stat.Uid, stat.Gid, stat.Size, info.ModTime().UnixNano(), changed(stat))
		return nil
	})
	w.Must(err)
	return found
}

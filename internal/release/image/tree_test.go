package image

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/anycert/anycert/internal/release/build"
)

// The files can be read by the user of the image, whatever the umask was, and nothing
// stays of an earlier tree.
func TestTree(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "binary")
	to := filepath.Join(dir, "tree")
	for path, text := range map[string]string{binary: "program", filepath.Join(to, "left", "behind"): "x"} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := syscall.Umask(0o077)
	err := Tree(to, &build.Binary{Path: binary}, Licences{Own: []byte("own"), ThirdParty: []byte("others")})
	syscall.Umask(old)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]fs.FileMode{}
	err = filepath.WalkDir(to, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if name, _ := filepath.Rel(to, path); name != "." {
			got[name] = info.Mode().Perm()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]fs.FileMode{
		"anycert": 0o555, "etc": 0o755, "etc/ssl": 0o755, "etc/ssl/certs": 0o755, "etc/ssl/certs/ca-certificates.crt": 0o444,
		"licenses": 0o755, "licenses/LICENSE": 0o444, "licenses/THIRD-PARTY": 0o444,
	}
	if !maps.Equal(got, want) {
		t.Errorf("the tree has %v, want %v", got, want)
	}
}

package render_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/anycert/anycert/sinks/file/render"
)

func place(t *testing.T) (render.Place, string) {
	t.Helper()
	root := func() *os.Root {
		r, err := os.OpenRoot(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Close() })
		return r
	}
	p := render.Place{Dir: root(), Name: "nginx.conf", Memory: root(), Mark: "mark", Owner: "pull", Mode: 0o600, UID: -1, GID: -1}
	return p, filepath.Join(p.Dir.Name(), p.Name)
}

func TestPlace(t *testing.T) {
	p, path := place(t)
	state := func(want render.State, text string) {
		t.Helper()
		if seen, err := p.Look([]byte(text)); err != nil || seen.State != want {
			t.Errorf("%s, %v, want %s", seen.State, err, want)
		}
	}
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write := func(text string) {
		t.Helper()
		if err := p.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	state(render.Missing, "a")
	put("mine")
	state(render.Foreign, "a")
	state(render.Same, "mine")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	write("a")
	state(render.Same, "a")
	state(render.Outdated, "b")
	write("b")
	put("a") // a writer that was killed after the mark: the file before it is still ours
	state(render.Outdated, "b")
	put("mine")
	state(render.Edited, "b")
	p.Owner = "another"
	state(render.Foreign, "b")
	state(render.Foreign, "mine")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
}

// A symlink is somebody else's, wherever it leads, and is not followed.
func TestPlaceOfASymlink(t *testing.T) {
	p, path := place(t)
	elsewhere := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(elsewhere, []byte("a"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, path); err != nil {
		t.Fatal(err)
	}
	if seen, err := p.Look([]byte("a")); err != nil || seen.State != render.Foreign {
		t.Errorf("%v, %v", seen, err)
	}
}

// What a killed writer left beside the file is replaced, however it looks.
func TestPlaceAfterAKilledWriter(t *testing.T) {
	p, path := place(t)
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), ".nginx.conf.anycert"), []byte("half"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := p.Write([]byte("whole")); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Error(entries, err)
	}
}

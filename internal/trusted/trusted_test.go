package trusted

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/anycert/anycert"
)

// stranger is a user who is neither root nor the one that runs the tests.
const stranger = 54321

// place makes files for one case.
type place struct {
	*testing.T
	dir string
}

func (p place) at(name string) string { return filepath.Join(p.dir, name) }

func (p place) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

func (p place) file(name string, mode fs.FileMode) string {
	p.Helper()
	p.must(os.WriteFile(p.at(name), []byte("text"), 0o600))
	p.must(os.Chmod(p.at(name), mode)) // whatever the umask
	return p.at(name)
}

func (p place) mkdir(name string, mode fs.FileMode) string {
	p.Helper()
	p.must(os.MkdirAll(p.at(name), 0o700))
	p.must(os.Chmod(p.at(name), mode))
	return p.at(name)
}

func (p place) link(to, name string) string {
	p.Helper()
	p.must(os.Symlink(to, p.at(name)))
	return p.at(name)
}

// kubernetes makes a volume as the kubelet does: its root may be written by all, and
// the files are reached through two links.
func (p place) kubernetes(root, mode fs.FileMode) string {
	p.mkdir("volume", root)
	p.mkdir("volume/..2026_11_22", 0o755)
	p.file("volume/..2026_11_22/token", mode)
	p.link("..2026_11_22", "volume/..data")
	return p.link("..data/token", "volume/token")
}

func TestRead(t *testing.T) {
	tests := map[string]struct {
		make func(p place) string
		is   error // nil: it is read
		says string
	}{
		"only ours":                 {make: func(p place) string { return p.file("x", 0o600) }},
		"read by all":               {make: func(p place) string { return p.file("x", 0o644) }},
		"a Docker secret":           {make: func(p place) string { return p.file("x", 0o444) }},
		"fsGroup":                   {make: func(p place) string { return p.file("x", 0o640) }},
		"a projected token":         {make: func(p place) string { return p.kubernetes(fs.ModeSticky|0o777, 0o644) }},
		"a token of a tmpfs, 02777": {make: func(p place) string { return p.kubernetes(fs.ModeSticky|fs.ModeSetgid|0o777, 0o640) }},
		"a sticky directory":        {make: func(p place) string { p.mkdir("d", fs.ModeSticky|0o777); return p.file("d/x", 0o600) }},
		"a directory of a group":    {make: func(p place) string { p.mkdir("d", 0o775); return p.file("d/x", 0o600) }},
		"written by its group": {
			make: func(p place) string { return p.file("x", 0o620) },
			is:   anycert.ErrRefused, says: "others may write it (mode 0620): chmod go-w ",
		},
		"as a umask of 002 makes it": {
			make: func(p place) string { return p.file("x", 0o664) },
			is:   anycert.ErrRefused, says: "/x, and umask 022 for those to come",
		},
		"in an emptyDir": {
			make: func(p place) string { p.mkdir("d", 0o777); return p.file("d/x", 0o644) },
			is:   anycert.ErrRefused, says: "/d, or mount it read-only",
		},
		"written by all": {
			make: func(p place) string { return p.file("x", 0o666) },
			is:   anycert.ErrRefused, says: "others may write it (mode 0666): chmod go-w ",
		},
		"a link to what all write": {
			make: func(p place) string { return p.link(p.file("x", 0o606), "l") },
			is:   anycert.ErrRefused, says: "(mode 0606)",
		},
		"replaced by all": {
			make: func(p place) string { p.mkdir("d", 0o777); return p.file("d/x", 0o600) },
			is:   anycert.ErrRefused, says: "for everybody may write into its directory (mode 0777): chmod o-w ",
		},
		"a link that all may replace": {
			make: func(p place) string { p.mkdir("d", 0o777); return p.link(p.file("x", 0o600), "d/l") },
			is:   anycert.ErrRefused, says: "everybody may replace it",
		},
		"the second link, that all may replace": {
			make: func(p place) string {
				p.mkdir("d", 0o777)
				return p.link(p.link(p.file("x", 0o600), "d/l"), "l")
			},
			is: anycert.ErrRefused, says: "everybody may replace it",
		},
		"a stranger's": {
			make: func(p place) string { f := p.file("x", 0o644); p.must(os.Chown(f, stranger, -1)); return f },
			is:   anycert.ErrRefused, says: "it belongs to another user (54321), who may write it",
		},
		"in a stranger's directory": {
			make: func(p place) string {
				d := p.mkdir("d", 0o755)
				p.must(os.Chown(d, stranger, -1))
				return p.file("d/x", 0o644)
			},
			is: anycert.ErrRefused, says: "belongs to another user (54321), who may replace it",
		},
		"a stranger's link": {
			make: func(p place) string {
				l := p.link(p.file("x", 0o600), "l")
				p.must(os.Lchown(l, stranger, -1))
				return l
			},
			is: anycert.ErrRefused, says: "belongs to another user (54321), who may lead it elsewhere",
		},
		"a pipe": {
			make: func(p place) string { p.must(syscall.Mkfifo(p.at("x"), 0o600)); return p.at("x") },
			is:   anycert.ErrMalformed, says: "it is not a regular file",
		},
		"a device":    {make: func(place) string { return "/dev/zero" }, is: anycert.ErrMalformed, says: "it is not a regular file"},
		"a directory": {make: func(p place) string { return p.dir }, is: anycert.ErrMalformed, says: "it is not a regular file"},
		"a loop":      {make: func(p place) string { return p.link("l", "l") }, is: syscall.ELOOP},
		"not there":   {make: func(p place) string { return p.at("x") }, is: fs.ErrNotExist},
		"too long": {
			make: func(p place) string { p.must(os.WriteFile(p.at("x"), make([]byte, 11), 0o600)); return p.at("x") },
			is:   anycert.ErrMalformed, says: "it has more than 10 bytes",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path := test.make(place{t, t.TempDir()})
			text, err := Read(path, 10)
			if !errors.Is(err, test.is) || test.is != nil && !strings.Contains(err.Error(), test.says) {
				t.Fatalf("%v, want %q (%v)", err, test.says, test.is)
			}
			if err == nil && string(text) != "text" {
				t.Errorf("%q was read", text)
			}
			if found := new(fs.PathError); err != nil && (!errors.As(err, &found) || found.Path != path) {
				t.Errorf("%v does not name %s", err, path)
			}
		})
	}
}

// A ConfigMap's volume may be written by all, and its files belong to whoever made
// them on the host: it is mounted read-only, and so is what Docker Compose mounts.
func TestReadOnlyMount(t *testing.T) {
	p := place{t, t.TempDir()}
	path := p.kubernetes(0o777, 0o644)
	p.must(os.Chown(p.at("volume/..2026_11_22/token"), stranger, -1))
	if _, err := Read(path, 10); !errors.Is(err, anycert.ErrRefused) {
		t.Fatalf("before it is mounted: %v, want it refused", err)
	}
	mount(t, "--bind", p.at("volume"), p.at("volume"))
	mount(t, "-o", "remount,bind,ro", p.at("volume"))
	if _, err := Read(path, 10); err != nil {
		t.Error(err)
	}
	if text := Shown(path); text != "" {
		t.Errorf("warned of what is mounted: %s", text)
	}
}

func mount(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "mount", args...).CombinedOutput(); err != nil {
		t.Fatalf("mount %v: %v: %s (the tests run as root)", args, err, out)
	}
	if args[0] == "--bind" {
		t.Cleanup(func() {
			if err := syscall.Unmount(args[2], 0); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestShown(t *testing.T) {
	// Not below TempDir, which nobody else may enter.
	dir, err := os.MkdirTemp("", "shown")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := place{t, dir}
	p.must(os.Chmod(dir, 0o755))
	p.mkdir("closed", 0o700)
	p.mkdir("closed/open", 0o755)
	tests := map[string]struct {
		path  string
		shown bool
	}{
		"by all":                {p.file("all", 0o644), true},
		"through a link":        {p.link(p.at("all"), "link"), true},
		"by its group":          {p.file("group", 0o640), false},
		"by its owner":          {p.file("owner", 0o600), false},
		"behind a closed door":  {p.file("closed/open/x", 0o644), false},
		"as Kubernetes mounts":  {p.kubernetes(fs.ModeSticky|0o777, 0o644), false},
		"a file that is absent": {p.at("absent"), false},
	}
	for name, test := range tests {
		text := Shown(test.path)
		if (text != "") != test.shown || test.shown && !strings.Contains(text, "every user of this machine may read it (mode 0644): chmod o-r "+test.path) {
			t.Errorf("%s: %q, want a warning: %t", name, text, test.shown)
		}
	}
}

package image

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What buildah makes of the Containerfile is what `make image` makes: the same files,
// and run the same way. The first stage, which compiles, is left out: what it ends
// with, `release tree`, is run here.
func TestContainerfile(t *testing.T) {
	dir := t.TempDir()
	must(t, release("tree", filepath.Join(dir, "out")))
	buildah(t, dir, "bud", "--network", "none", "--build-context", "build="+dir,
		"--build-arg", "VERSION="+built.config.Labels["org.opencontainers.image.version"],
		"--file", "Containerfile", "--tag", "anycert", t.TempDir())
	buildah(t, dir, "push", "anycert", "oci:"+filepath.Join(dir, "layout"))
	root := filepath.Join(dir, "root")
	config, err := unpack(filepath.Join(dir, "layout"), root)
	must(t, err)

	want := built.config
	want.Labels = maps.Clone(want.Labels)
	for _, label := range []string{"org.opencontainers.image.created", "org.opencontainers.image.revision"} {
		delete(want.Labels, label) // what `make image` alone knows
	}
	delete(config.Labels, "io.buildah.version")
	if diff := cmp.Diff(want, config); diff != "" {
		t.Errorf("config (-make image +Containerfile):\n%s", diff)
	}
	if diff := cmp.Diff(contents(t, built.root), contents(t, root)); diff != "" {
		t.Errorf("files (-make image +Containerfile):\n%s", diff)
	}
}

// buildah runs without a daemon, a network and a place outside dir.
func buildah(t *testing.T, dir string, args ...string) {
	t.Helper()
	storage := []string{"--storage-driver", "vfs", "--root", filepath.Join(dir, "storage"), "--runroot", filepath.Join(dir, "run")}
	cmd := exec.CommandContext(t.Context(), "buildah", append(storage, args...)...)
	cmd.Env = append(os.Environ(), "BUILDAH_ISOLATION=chroot", "HOME="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}

// contents are all files below root with their modes and digests.
func contents(t *testing.T, root string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", `find . -type f -exec stat -c '%n %A %u:%g' {} + -exec sha256sum {} + | sort`)
	cmd.Dir = root
	out, err := cmd.Output()
	must(t, err)
	return string(bytes.TrimSpace(out))
}

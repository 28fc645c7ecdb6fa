package main

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"debug/elf"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// What is given away is the same to the last byte from two folders, whatever the
// environment says.
func TestTheSameFromTwoFolders(t *testing.T) {
	one, other := checkouts(t)
	first, second := t.TempDir(), t.TempDir()
	saidFirst := release(t, one, first)
	for name, value := range map[string]string{"GOFLAGS": "-tags=none", "GOAMD64": "v3", "TZ": "Asia/Tokyo"} {
		t.Setenv(name, value)
	}
	if said := release(t, other, second); said != saidFirst {
		t.Errorf("two folders, two releases:\n%s%s", saidFirst, said)
	}
	sameBytes(t, filepath.Join(first, "image.tar"), filepath.Join(second, "image.tar"))
	sameBytes(t, filepath.Join(first, "SHA256SUMS"), filepath.Join(second, "SHA256SUMS"))

	index, err := layout.ImageIndexFromPath(filepath.Join(first, "image"))
	must(t, err)
	must(t, validate.Index(index))
	image := only(t, index)
	t.Run("config", func(t *testing.T) { checkConfig(t, image, one) })
	t.Run("files", func(t *testing.T) { checkFiles(t, image) })
	t.Run("archive", func(t *testing.T) { checkArchive(t, first) })
	t.Run("bill of materials", func(t *testing.T) { checkBill(t, first) })
}

// release makes image and archive for linux/amd64 and returns what is said of them,
// without the folder.
func release(t *testing.T, source, to string) string {
	t.Helper()
	var said bytes.Buffer
	for _, verb := range []string{"image", "archives"} {
		must(t, run(t.Context(), []string{verb, "-source", source, "-to", to, "-platforms", "linux/amd64"}, &said))
	}
	return strings.ReplaceAll(said.String(), to, "")
}

func sameBytes(t *testing.T, one, other string) {
	t.Helper()
	first, err := os.ReadFile(one)
	must(t, err)
	second, err := os.ReadFile(other)
	must(t, err)
	if !bytes.Equal(first, second) {
		t.Errorf("%s and %s differ", one, other)
	}
}

// only is the one image of the one index in a layout.
func only(t *testing.T, top v1.ImageIndex) v1.Image {
	t.Helper()
	manifest, err := top.IndexManifest()
	must(t, err)
	if len(manifest.Manifests) != 1 {
		t.Fatalf("the layout holds %d entries, want one index", len(manifest.Manifests))
	}
	name := manifest.Manifests[0].Annotations["org.opencontainers.image.ref.name"]
	if !regexp.MustCompile(`^anycert:[A-Za-z0-9_.-]+$`).MatchString(name) {
		t.Errorf("engines would call it %q", name)
	}
	index, err := top.ImageIndex(manifest.Manifests[0].Digest)
	must(t, err)
	manifest, err = index.IndexManifest()
	must(t, err)
	if len(manifest.Manifests) != 1 || manifest.Manifests[0].Platform.String() != "linux/amd64" {
		t.Fatalf("the index holds %v, want linux/amd64", manifest.Manifests)
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	must(t, err)
	return image
}

func checkConfig(t *testing.T, image v1.Image, source string) {
	file, err := image.ConfigFile()
	must(t, err)
	commit := strings.TrimSpace(string(git(t, source, "rev-parse", "HEAD")))
	version := file.Config.Labels["org.opencontainers.image.version"]
	when, err := time.Parse(time.RFC3339, strings.TrimSpace(string(git(t, source, "log", "-1", "--format=%cI"))))
	must(t, err)
	want := v1.Config{
		User:         "65532:65532",
		Entrypoint:   []string{"/anycert"},
		Cmd:          []string{"run"},
		WorkingDir:   "/",
		ExposedPorts: map[string]struct{}{"8080/tcp": {}},
		Labels: map[string]string{
			"org.opencontainers.image.title":         "anycert",
			"org.opencontainers.image.description":   "One certificate, many places: from Vault to Kubernetes, Fastly, Fly.io and files",
			"org.opencontainers.image.url":           "https://github.com/anycert/anycert",
			"org.opencontainers.image.source":        "https://github.com/anycert/anycert",
			"org.opencontainers.image.documentation": "https://github.com/anycert/anycert/tree/main/docs",
			"org.opencontainers.image.licenses":      "Apache-2.0",
			"org.opencontainers.image.version":       version,
			"org.opencontainers.image.revision":      commit,
			"org.opencontainers.image.created":       when.UTC().Format(time.RFC3339),
		},
	}
	if diff := cmp.Diff(want, file.Config); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if !strings.HasPrefix(version, "v") {
		t.Errorf("version %q", version)
	}
	if !file.Created.Time.Equal(when) || file.OS != "linux" || file.Architecture != "amd64" {
		t.Errorf("created %s for %s/%s, want the commit's time, %s, and linux/amd64", file.Created, file.OS, file.Architecture, when)
	}
}

// checkFiles holds every entry of every layer against the list.
func checkFiles(t *testing.T, image v1.Image) {
	layers, err := image.Layers()
	must(t, err)
	var got []string
	data := map[string][]byte{}
	for _, layer := range layers {
		unpacked, err := layer.Uncompressed()
		must(t, err)
		for archive := tar.NewReader(unpacked); ; {
			header, err := archive.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			must(t, err)
			if header.Uid != 0 || header.Gid != 0 || header.Uname != "" || header.ModTime.Unix() != 0 {
				t.Errorf("%s belongs to %d:%d (%s) and is of %s", header.Name, header.Uid, header.Gid, header.Uname, header.ModTime)
			}
			got = append(got, header.FileInfo().Mode().String()+" "+header.Name)
			data[header.Name], err = io.ReadAll(archive)
			must(t, err)
		}
		must(t, unpacked.Close())
	}
	want := []string{
		"drwxr-xr-x etc/",
		"drwxr-xr-x etc/ssl/",
		"drwxr-xr-x etc/ssl/certs/",
		"drwxr-xr-x licenses/",
		"-r--r--r-- etc/ssl/certs/ca-certificates.crt",
		"-r--r--r-- licenses/LICENSE",
		"-r--r--r-- licenses/THIRD-PARTY",
		"-r-xr-xr-x anycert",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files in two layers (-want +got):\n%s", diff)
	}
	if len(layers) != 2 {
		t.Errorf("%d layers, want 2: what seldom changes, and the binary", len(layers))
	}
	if pool := x509.NewCertPool(); !pool.AppendCertsFromPEM(data["etc/ssl/certs/ca-certificates.crt"]) {
		t.Error("no CA can be read from ca-certificates.crt")
	}
	isStatic(t, data["anycert"])
	for _, module := range []string{"std go1.", "k8s.io/client-go v", "golang.org/x/crypto/x509roots/fallback v"} {
		if !bytes.Contains(data["licenses/THIRD-PARTY"], []byte("\n"+module)) {
			t.Errorf("THIRD-PARTY does not name %s", module)
		}
	}
}

func isStatic(t *testing.T, program []byte) {
	t.Helper()
	file, err := elf.NewFile(bytes.NewReader(program))
	must(t, err)
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_INTERP || segment.Type == elf.PT_DYNAMIC {
			t.Errorf("the binary is not static: it has a segment %s", segment.Type)
		}
	}
}

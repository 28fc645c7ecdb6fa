// Package image holds the OCI image to what it must do where it runs.
package image

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// built is the image of this checkout for this machine's architecture, made and
// unpacked once for all tests.
var built image

type image struct {
	dir    string // what `make image` calls dist
	root   string // file system
	config config
}

// config is what an image says of how it is run (OCI image spec, config.md).
type config struct {
	User       string
	Entrypoint []string
	Cmd        []string
	WorkingDir string

	ExposedPorts map[string]struct{}
	Labels       map[string]string
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "anycert-image")
	if err == nil {
		err = release("image", dir)
	}
	if err == nil {
		built.dir, built.root = dir, filepath.Join(dir, "root")
		built.config, err = unpack(filepath.Join(dir, "image"), built.root)
	}
	code := 1
	if err == nil {
		code = m.Run()
	} else {
		fmt.Fprintln(os.Stderr, "making the image:", err)
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// release runs a verb of the tool behind `make image` and `make release`.
func release(verb, to string) error {
	cmd := exec.Command("go", "run", ".", verb, "-to", to, "-platforms", "linux/"+runtime.GOARCH)
	cmd.Dir = "../../internal/release"
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return nil
}

// blob is an index, a manifest or what points to one (OCI image spec).
type blob struct {
	Digest    string
	Manifests []blob
	Layers    []blob
	Config    *blob
}

// unpack follows a layout to its one image and unpacks that into the folder root.
func unpack(layout, root string) (config, error) {
	path := func(b blob) string { return filepath.Join(layout, "blobs", strings.ReplaceAll(b.Digest, ":", "/")) }
	var at blob
	if err := readJSON(filepath.Join(layout, "index.json"), &at); err != nil {
		return config{}, err
	}
	for at.Config == nil {
		if len(at.Manifests) != 1 {
			return config{}, fmt.Errorf("%s holds %d images, want one", layout, len(at.Manifests))
		}
		next := path(at.Manifests[0])
		at = blob{}
		if err := readJSON(next, &at); err != nil {
			return config{}, err
		}
	}
	for _, layer := range at.Layers {
		if err := unpackLayer(path(layer), root); err != nil {
			return config{}, err
		}
	}
	var file struct{ Config config }
	err := readJSON(path(*at.Config), &file)
	return file.Config, err
}

func readJSON(path string, to any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, to)
}

func unpackLayer(path, root string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = extract(header, archive, root)
		}
		if err != nil {
			return fmt.Errorf("unpacking %s: %w", path, err)
		}
	}
}

func extract(header *tar.Header, from io.Reader, root string) error {
	to := filepath.Join(root, header.Name)
	if header.Typeflag == tar.TypeDir {
		return os.MkdirAll(to, header.FileInfo().Mode())
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, header.FileInfo().Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(file, from)
	return errors.Join(err, file.Close())
}

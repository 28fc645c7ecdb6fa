// Package image packs anycert into an OCI image that is built from nothing: the
// binary, the CAs that it trusts, and the licences. No shell, no package manager, no
// user but a number. It needs no container engine.
package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/anycert/anycert/internal/release/build"
)

// What every image says; deploy/image/Containerfile says the same.
const (
	User       = "65532:65532" // a number, so that a cluster sees that it is not root
	Entrypoint = "/anycert"
	Command    = "run"
	Port       = "8080/tcp"
	Source     = "https://github.com/anycert/anycert"
)

// labels are those that are the same in every image (OCI image spec, annotations).
func labels() map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":         "anycert",
		"org.opencontainers.image.description":   "One certificate, many places: from Vault to Kubernetes, Fastly, Fly.io and files",
		"org.opencontainers.image.url":           Source,
		"org.opencontainers.image.source":        Source,
		"org.opencontainers.image.documentation": Source + "/tree/main/docs",
		"org.opencontainers.image.licenses":      "Apache-2.0",
	}
}

// of adds what a build says of itself.
func of(binary *build.Binary) map[string]string {
	all := labels()
	all["org.opencontainers.image.version"] = binary.Version
	all["org.opencontainers.image.created"] = binary.Time.Format(time.RFC3339)
	if binary.Revision != "" {
		all["org.opencontainers.image.revision"] = binary.Revision
	}
	return all
}

// Licences are the texts that go with every copy.
type Licences struct {
	Own        []byte // LICENSE
	ThirdParty []byte // of everything that is linked
}

// Index makes one image for each binary, of which there is at least one, and the
// index that holds them all.
func Index(binaries []*build.Binary, licences Licences) (v1.ImageIndex, error) {
	files, err := common(licences)
	if err != nil {
		return nil, err
	}
	lower, err := layer(files...)
	if err != nil {
		return nil, err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, binary := range binaries {
		image, err := single(binary, lower)
		if err != nil {
			return nil, fmt.Errorf("packing the image for %s: %w", binary.Platform, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: binary.Platform.OS, Architecture: binary.Platform.Arch},
		}})
	}
	return mutate.Annotations(index, of(binaries[0])).(v1.ImageIndex), nil
}

// common are the files that are the same for every platform, and mostly for every
// release.
func common(licences Licences) ([]file, error) {
	authorities, err := roots()
	if err != nil {
		return nil, err
	}
	return []file{
		{"etc/ssl/certs/ca-certificates.crt", 0o444, authorities}, // where Go looks first
		{"licenses/LICENSE", 0o444, licences.Own},
		{"licenses/THIRD-PARTY", 0o444, licences.ThirdParty},
	}, nil
}

func program(binary *build.Binary) (file, error) {
	data, err := os.ReadFile(binary.Path)
	return file{"anycert", 0o555, data}, err
}

// Tree writes the files of the image into the folder dir, whose earlier content is
// removed, for a container engine to copy: see deploy/image/Containerfile.
func Tree(dir string, binary *build.Binary, licences Licences) error {
	files, err := common(licences)
	if err != nil {
		return err
	}
	anycert, err := program(binary)
	if err != nil {
		return err
	}
	files = append(files, anycert)
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	for _, folder := range folders(files) {
		to := filepath.Join(dir, filepath.FromSlash(folder))
		if err := errors.Join(os.MkdirAll(to, 0o755), os.Chmod(to, 0o755)); err != nil { // whatever the umask
			return err
		}
	}
	for _, file := range files {
		to, mode := filepath.Join(dir, filepath.FromSlash(file.path)), fs.FileMode(file.mode)
		if err := errors.Join(os.WriteFile(to, file.data, mode), os.Chmod(to, mode)); err != nil {
			return err
		}
	}
	return nil
}

func single(binary *build.Binary, lower v1.Layer) (v1.Image, error) {
	anycert, err := program(binary)
	if err != nil {
		return nil, err
	}
	upper, err := layer(anycert)
	if err != nil {
		return nil, err
	}
	created := v1.Time{Time: binary.Time}
	base, err := mutate.ConfigFile(mutate.MediaType(empty.Image, types.OCIManifestSchema1), &v1.ConfigFile{
		OS:           binary.Platform.OS,
		Architecture: binary.Platform.Arch,
		Created:      created,
		RootFS:       v1.RootFS{Type: "layers"},
		Config: v1.Config{
			User:         User,
			Entrypoint:   []string{Entrypoint},
			Cmd:          []string{Command},
			WorkingDir:   "/",
			ExposedPorts: map[string]struct{}{Port: {}},
			Labels:       of(binary),
		},
	})
	if err != nil {
		return nil, err
	}
	base = mutate.ConfigMediaType(base, types.OCIConfigJSON)
	return mutate.Append(base,
		mutate.Addendum{Layer: lower, History: v1.History{Created: created, CreatedBy: "anycert: CAs and licences"}},
		mutate.Addendum{Layer: upper, History: v1.History{Created: created, CreatedBy: "anycert: the binary"}},
	)
}

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/anycert/anycert/internal/release/build"
	"github.com/anycert/anycert/internal/release/image"
	"github.com/anycert/anycert/internal/release/licence"
)

// makeImage writes the image for all platforms, and tells its digests and sizes.
func makeImage(ctx context.Context, j job) error {
	licences, err := j.licences(ctx)
	if err != nil {
		return err
	}
	binaries, err := j.binaries(ctx)
	if err != nil {
		return err
	}
	index, err := image.Index(binaries, licences)
	if err != nil {
		return err
	}
	to := filepath.Join(j.to, "image")
	if err := image.Write(index, to, binaries[0].Version); err != nil {
		return err
	}
	return j.tell(index, to)
}

// makeTree writes what the image of the first platform holds.
func makeTree(ctx context.Context, j job) error {
	licences, err := j.licences(ctx)
	if err != nil {
		return err
	}
	j.platforms = j.platforms[:1]
	binaries, err := j.binaries(ctx)
	if err != nil {
		return err
	}
	return image.Tree(filepath.Join(j.to, "tree"), binaries[0], licences)
}

// binaries compiles anycert for each platform.
func (j job) binaries(ctx context.Context) ([]*build.Binary, error) {
	var binaries []*build.Binary
	for _, platform := range j.platforms {
		dir := filepath.Join(j.to, "bin", platform.OS+"-"+platform.Arch)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		binary, err := build.Anycert(ctx, j.source, platform, filepath.Join(dir, "anycert"))
		if err != nil {
			return nil, err
		}
		binaries = append(binaries, binary)
	}
	return binaries, nil
}

// licences are those of anycert and of all that is linked into it, which must be
// allowed. The CAs in the image come from a module of this module.
func (j job) licences(ctx context.Context) (image.Licences, error) {
	own, err := os.ReadFile(filepath.Join(j.source, "LICENSE"))
	if err != nil {
		return image.Licences{}, err
	}
	modules, err := j.linked(ctx)
	if err != nil {
		return image.Licences{}, err
	}
	return image.Licences{Own: own, ThirdParty: licence.Texts(modules)}, licence.Check(modules)
}

// tell prints digests, and sizes as they are downloaded.
func (j job) tell(index v1.ImageIndex, to string) error {
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	fmt.Fprintf(j.out, "%s\n%s.tar\n", to, to)
	fmt.Fprintf(j.out, "%-12s %s\n", "index", digest)
	for _, descriptor := range manifest.Manifests {
		image, err := index.Image(descriptor.Digest)
		if err != nil {
			return err
		}
		size, err := downloaded(image)
		if err != nil {
			return err
		}
		fmt.Fprintf(j.out, "%-12s %s  %.1f MB\n", descriptor.Platform, descriptor.Digest, float64(size)/1e6)
	}
	return nil
}

func downloaded(image v1.Image) (int64, error) {
	manifest, err := image.Manifest()
	if err != nil {
		return 0, err
	}
	size := manifest.Config.Size
	for _, layer := range manifest.Layers {
		size += layer.Size
	}
	return size, nil
}

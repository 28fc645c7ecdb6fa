package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// file is one of an image: root's, and written by nobody.
type file struct {
	path string // without a leading slash
	mode int64
	data []byte
}

// layer packs files and the folders that they lie in. Its bytes depend on nothing
// else: the time of all is 1970, so that a layer which did not change keeps its
// digest from release to release.
func layer(files ...file) (v1.Layer, error) {
	var packed bytes.Buffer
	archive := tar.NewWriter(&packed)
	for _, dir := range folders(files) {
		if err := archive.WriteHeader(header(dir+"/", tar.TypeDir, 0o755, 0)); err != nil {
			return nil, err
		}
	}
	for _, file := range files {
		if err := archive.WriteHeader(header(file.path, tar.TypeReg, file.mode, len(file.data))); err != nil {
			return nil, err
		}
		if _, err := archive.Write(file.data); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(packed.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(gzip.DefaultCompression), tarball.WithCompressedCaching)
}

func header(name string, kind byte, mode int64, size int) *tar.Header {
	return &tar.Header{Name: name, Typeflag: kind, Mode: mode, Size: int64(size), ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
}

// folders are those above files, each before what lies in it.
func folders(files []file) []string {
	seen := map[string]bool{}
	var found []string
	for _, file := range files {
		for dir := path.Dir(file.path); dir != "." && !seen[dir]; dir = path.Dir(dir) {
			seen[dir] = true
			found = append(found, dir)
		}
	}
	slices.SortFunc(found, strings.Compare)
	return found
}

package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// Write writes an index as an OCI layout into the folder dir, whose earlier content
// is removed, and the same as one file (oci-archive) to dir.tar. Engines that load it
// call it anycert:VERSION.
func Write(index v1.ImageIndex, dir, version string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	name := "anycert:" + strings.ReplaceAll(version, "+", "-") // a tag has no plus
	to, err := layout.Write(dir, empty.Index)
	if err == nil {
		err = to.AppendIndex(index, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": name}))
	}
	if err == nil {
		err = pack(dir, dir+".tar")
	}
	if err != nil {
		return fmt.Errorf("writing the image to %s: %w", dir, err)
	}
	return nil
}

// pack puts the files of a folder into a tar, in the order of their names.
func pack(dir, to string) (err error) {
	file, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	archive := tar.NewWriter(file)
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		return add(archive, filepath.ToSlash(name), path, entry)
	})
	return errors.Join(err, archive.Close())
}

func add(archive *tar.Writer, name, path string, entry fs.DirEntry) error {
	header := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
	if entry.IsDir() {
		header.Name, header.Typeflag, header.Mode = name+"/", tar.TypeDir, 0o755
		return archive.WriteHeader(header)
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	header.Size = info.Size()
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(archive, file)
	return err
}

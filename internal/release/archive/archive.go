// Package archive packs files so that the same files give the same bytes.
package archive

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// File is one of an archive.
type File struct {
	Name string // within the archive, with slashes
	Mode fs.FileMode
	Data []byte
}

// Read takes up a file from the disk.
func Read(name string, mode fs.FileMode, path string) (File, error) {
	data, err := os.ReadFile(path)
	return File{Name: name, Mode: mode, Data: data}, err
}

// Glob takes up the files that a pattern matches, into the folder dir of the archive.
func Glob(dir string, mode fs.FileMode, pattern string) ([]File, error) {
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return nil, err
	}
	var files []File
	for _, path := range paths {
		file, err := Read(dir+"/"+filepath.Base(path), mode, path)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

// Write packs files into a .tar.gz, in their order and all of one time, in a folder
// that is called top.
func Write(to io.Writer, top string, when time.Time, files []File) error {
	zipped := gzip.NewWriter(to)
	packed := tar.NewWriter(zipped)
	for _, file := range files {
		header := &tar.Header{
			Name: top + "/" + file.Name, Typeflag: tar.TypeReg, Mode: int64(file.Mode),
			Size: int64(len(file.Data)), ModTime: when, Format: tar.FormatPAX,
		}
		if err := packed.WriteHeader(header); err != nil {
			return err
		}
		if _, err := packed.Write(file.Data); err != nil {
			return err
		}
	}
	return errors.Join(packed.Close(), zipped.Close())
}

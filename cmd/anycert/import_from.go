package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/sinks/kubernetes"
)

// origin is where a certificate is imported from: a URL, or two files.
type origin struct{ url, certificate, key string }

// The two files of a directory, as certbot and our own file sink name them.
const (
	fullchainFile = "fullchain.pem"
	keyFile       = "privkey.pem"
)

// read reads certificate and key of the certificate name, and says where they are from.
func (o origin) read(ctx context.Context, name string) (*anycert.Bundle, string, error) {
	files := o.certificate != "" || o.key != ""
	switch {
	case o.url == "" && !files:
		return nil, "", errors.New("it is not said where from: use --from kubernetes://CONTEXT/NAMESPACE/SECRET, --from file:///DIRECTORY, or --cert FILE and --key FILE")
	case o.url != "" && files:
		return nil, "", errors.New("both --from and files are given: use one of them")
	case files && (o.certificate == "" || o.key == ""):
		return nil, "", errors.New("--cert and --key belong together: give both")
	case files:
		return readFiles(o.certificate, o.key)
	}
	scheme, rest, _ := strings.Cut(o.url, "://")
	switch scheme {
	case "kubernetes":
		return readCluster(ctx, rest, name)
	case "file":
		dir, err := directory(o.url)
		if err != nil {
			return nil, "", err
		}
		bundle, where, err := readFiles(filepath.Join(dir, fullchainFile), filepath.Join(dir, keyFile))
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("--from %s: %w: name a directory with %s and %s, or the files with --cert and --key", o.url, err, fullchainFile, keyFile)
		}
		return bundle, where, err
	}
	return nil, "", fmt.Errorf("--from %q: use kubernetes://CONTEXT/NAMESPACE/SECRET or file:///DIRECTORY", o.url)
}

// readCluster reads CONTEXT/NAMESPACE/SECRET. The name of a context may hold slashes;
// the other two do not, and may be templates over .Name as in the configuration.
func readCluster(ctx context.Context, path, name string) (*anycert.Bundle, string, error) {
	parts := strings.Split(path, "/")
	n := len(parts) - 2
	if n < 1 {
		return nil, "", fmt.Errorf("--from kubernetes://%s: write kubernetes://CONTEXT/NAMESPACE/SECRET, or kubernetes:///NAMESPACE/SECRET for the current context", path)
	}
	settings := kubernetes.SourceConfig{Context: strings.Join(parts[:n], "/"), Secret: parts[n] + "/" + parts[n+1]}
	source, err := settings.OpenSource(anycert.SinkEnv{Name: "import", UserAgent: "anycert/" + version()})
	if err != nil {
		return nil, "", fmt.Errorf("--from kubernetes://%s: %w", path, err)
	}
	place, err := source.Place(name)
	if err != nil {
		return nil, "", fmt.Errorf("--from kubernetes://%s: %w", path, err)
	}
	bundle, err := source.Fetch(ctx, name)
	return bundle, place.Label, err
}

// directory is the path in a URL of a local directory (RFC 8089).
func directory(text string) (string, error) {
	parsed, err := url.Parse(text)
	if err != nil || parsed.Host != "" && parsed.Host != "localhost" || !strings.HasPrefix(parsed.Path, "/") {
		return "", fmt.Errorf("--from %q: write an absolute path after three slashes, as in file:///etc/letsencrypt/live/example.com", text)
	}
	return parsed.Path, nil
}

func readFiles(certificate, key string) (*anycert.Bundle, string, error) {
	chain, err := readBounded(certificate, anycert.MaxCertificatePEM)
	if err != nil {
		return nil, "", err
	}
	secret, err := readBounded(key, anycert.MaxKeyPEM)
	if err != nil {
		return nil, "", err
	}
	bundle, err := anycert.ParseBundle(chain, secret)
	if err != nil {
		return nil, "", fmt.Errorf("%s with %s: %w", certificate, key, err)
	}
	return bundle, certificate, nil
}

// readBounded reads a regular file that has no more than most bytes. What is none is
// not opened: a FIFO would be waited for.
func readBounded(path string, most int64) ([]byte, error) {
	about, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !about.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file: give the path of a file, not a directory or a pipe", path)
	}
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // should it have become a FIFO since
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > most {
		return nil, fmt.Errorf("%s has more than %d bytes: a certificate or a key has less, so check the path", path, most)
	}
	return text, nil
}

package world

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anycert/anycert/internal/testenv/certs"
)

// Stored is what Vault holds of a certificate.
type Stored struct {
	Version    int
	Chain, Key []byte // PEM
	Leaf       *x509.Certificate
}

// Stored reads Vault as its administrator.
func (w *World) Stored(certificate string) Stored {
	w.T.Helper()
	entry, err := w.Vault.Client().KVv2("secret").Get(w.T.Context(), "anycert/certs/"+certificate)
	w.Must(err)
	if len(entry.Data) != 2 {
		w.T.Errorf("the entry of %s has %d fields, want tls.crt and tls.key alone", certificate, len(entry.Data))
	}
	chain, _ := entry.Data["tls.crt"].(string)
	key, _ := entry.Data["tls.key"].(string)
	return Stored{entry.VersionMetadata.Version, []byte(chain), []byte(key), w.Parse([]byte(chain))[0]}
}

// Same tells how what is served differs from what is stored, to the byte.
func (s Stored) Same(chain, key []byte) error {
	if !bytes.Equal(chain, s.Chain) {
		return errors.New("another chain")
	}
	if !bytes.Equal(key, s.Key) {
		return errors.New("another key")
	}
	return nil
}

// Parse parses a chain in PEM, which must not be empty.
func (w *World) Parse(text []byte) (chain []*x509.Certificate) {
	w.T.Helper()
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		w.Must(err)
		chain = append(chain, certificate)
	}
	if len(chain) == 0 {
		w.T.Fatal("there is no certificate")
	}
	return chain
}

// Put writes an entry into Vault by hand, as `vault kv put` does.
func (w *World) Put(certificate string, pair certs.Pair) {
	w.T.Helper()
	_, err := w.Vault.Client().KVv2("secret").Put(w.T.Context(), "anycert/certs/"+certificate,
		map[string]any{"tls.crt": string(pair.ChainPEM), "tls.key": string(pair.KeyPEM)})
	w.Must(err)
}

// InCluster is what a Secret holds, nil if there is none.
func (w *World) InCluster(cluster, namespace, name string) (chain, key []byte) {
	w.T.Helper()
	list, err := w.Clusters[cluster].Client().CoreV1().Secrets(namespace).List(w.T.Context(),
		metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	w.Must(err)
	if len(list.Items) == 0 {
		return nil, nil
	}
	return list.Items[0].Data["tls.crt"], list.Items[0].Data["tls.key"]
}

// InFiles is what a file sink's folder holds, nil if there is nothing.
func (w *World) InFiles(dir, certificate string) (chain, key []byte) {
	w.T.Helper()
	return w.read(filepath.Join(dir, certificate, "fullchain.pem")), w.read(filepath.Join(dir, certificate, "privkey.pem"))
}

func (w *World) read(path string) []byte {
	w.T.Helper()
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	w.Must(err)
	return text
}

package e2e

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"io/fs"
	"syscall"
)

// digestOf is SHA-256 over the DER of a whole chain, computed anew here.
func digestOf(w *scene, chainPEM []byte) string {
	w.T.Helper()
	sum := sha256.New()
	for _, certificate := range w.Parse(chainPEM) {
		sum.Write(certificate.Raw)
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil))
}

// sha1Of is how Fastly names a key.
func sha1Of(leaf *x509.Certificate) string {
	sum := sha1.Sum(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: leaf.RawSubjectPublicKeyInfo}))
	return hex.EncodeToString(sum[:])
}

// splitLeaf parts a chain in PEM after its leaf.
func splitLeaf(chain []byte) (leaf, issuers []byte) {
	_, issuers = pem.Decode(chain)
	return chain[:len(chain)-len(issuers)], issuers
}

func ownerOf(info fs.FileInfo) (uid, gid int) {
	stat := info.Sys().(*syscall.Stat_t)
	return int(stat.Uid), int(stat.Gid)
}

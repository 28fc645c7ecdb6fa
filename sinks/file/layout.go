package file

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	pkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/anycert/anycert"
)

// The files of a version. Servers read fullchainFile and keyFile; the others are
// the same bytes as other servers want them.
const (
	fullchainFile = "fullchain.pem" // leaf and issuers: nginx, Apache
	keyFile       = "privkey.pem"   // PKCS#8
	leafFile      = "cert.pem"
	issuersFile   = "chain.pem"    // empty for a self-signed certificate
	combinedFile  = "combined.pem" // fullchain and key in one file: HAProxy
	keystoreFile  = "keystore.p12" // PKCS#12: Java; optional
	markFile      = "mark.json"    // see signature
)

// versionFiles are all that a version can hold of ours.
func versionFiles() []string {
	return []string{fullchainFile, keyFile, leafFile, issuersFile, combinedFile, keystoreFile, markFile}
}

// Names below the directory.
const (
	private  = ".anycert" // holds everything but the symlinks
	lockFile = "lock"     // within private: held by whoever writes
	staging  = "tmp-"     // within private: begins what a writer has not finished
	owed     = "reload."  // within private: see owedName
	spare    = ".mend"    // ends the name of a version that stands in for a damaged one
)

// versionName is the directory of a version within private.
func versionName(certificate string, digest anycert.Digest) string {
	return certificate + "-" + digest.Hex()
}

var versionPattern = regexp.MustCompile(`^(.+)-[0-9a-f]{64}(\.mend)?$`)

// certificateOf is the inverse of versionName; empty for any other name.
func certificateOf(name string) string {
	if parts := versionPattern.FindStringSubmatch(name); parts != nil && anycert.CheckName(parts[1]) == nil {
		return parts[1]
	}
	return ""
}

// linkTo is what the symlink of a certificate says. It is relative, so that it
// also leads to its end where the directory is mounted under another name.
func linkTo(versionName string) string { return private + "/" + versionName }

// signature is what markFile holds: the mark, and which of the hub's sinks left it.
// Several may share a directory.
type signature struct {
	anycert.Mark
	Sink   string `json:"sink"`
	Schema int    `json:"schema,omitempty"` // of this file; left out: 1
}

// schema is the form of the marks that this code writes, and the highest that it
// knows.
const schema = 1

// parseSignature reads a markFile; nil when it is none. Of one that a later anycert
// left, no more is known than its schema: the fields may be others.
func parseSignature(text []byte) *signature {
	var form struct {
		Schema int `json:"schema"`
	}
	if json.Unmarshal(text, &form) == nil && form.Schema > schema {
		return &signature{Schema: form.Schema}
	}
	var found signature
	if json.Unmarshal(text, &found) != nil || found.Owner == "" || found.Certificate == "" {
		return nil
	}
	return &found
}

// contents are the files of a version, but for the keystore.
func contents(signature signature, bundle *anycert.Bundle) (map[string][]byte, error) {
	text, err := json.MarshalIndent(signature, "", "  ")
	if err != nil {
		return nil, err
	}
	key := []byte(bundle.KeyPEM().Reveal())
	return map[string][]byte{
		fullchainFile: bundle.FullChainPEM(),
		leafFile:      bundle.LeafPEM(),
		issuersFile:   bundle.IssuersPEM(),
		combinedFile:  slices.Concat(bundle.FullChainPEM(), key),
		keyFile:       key,
		markFile:      append(text, '\n'),
	}, nil
}

// makeKeystore encrypts with AES-256-CBC and PBKDF2 (PBES2, RFC 8018), which Java
// from 8u301 and OpenSSL from 1.1.1 on read. What the library says of a failure is
// left out: it may quote.
func makeKeystore(bundle *anycert.Bundle, password anycert.Secret) ([]byte, error) {
	chain := bundle.Chain()
	data, err := pkcs12.Modern2023.Encode(bundle.Signer(), chain[0], chain[1:], password.Reveal())
	if err != nil {
		return nil, errors.New("the keystore could not be made: its password must be text that UTF-16 can hold")
	}
	return data, nil
}

// checkKeystore tells what is wrong with a keystore that should hold the chain of
// that digest and its key; empty when nothing is.
func checkKeystore(data []byte, digest anycert.Digest, password anycert.Secret) string {
	if !affordable(data) {
		return "it is not one of ours"
	}
	key, leaf, issuers, err := pkcs12.DecodeChain(data, password.Reveal())
	if err != nil {
		return "it cannot be read with the configured password"
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return "it holds no private key"
	}
	bundle, err := anycert.NewBundle(append([]*x509.Certificate{leaf}, issuers...), signer)
	if err != nil || bundle.Digest() != digest {
		return "it holds another certificate"
	}
	return ""
}

// dirMode lets those into a directory who may read the files in it.
func dirMode(file fs.FileMode) fs.FileMode {
	return 0o700 | file&0o040 | file&0o040>>2
}

// owedName is the file that says that a reload is owed for a certificate. It names
// hub and sink: several may share the directory.
func (s *Sink) owedName(certificate string) string {
	return owed + s.owner + "." + s.name + "." + certificate
}

// owedFor is the inverse of owedName; empty for any other name.
func (s *Sink) owedFor(name string) string {
	certificate, ok := strings.CutPrefix(name, s.owedName(""))
	if !ok || anycert.CheckName(certificate) != nil {
		return ""
	}
	return certificate
}

// kindOf names what lies in the place of something else.
func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "a file"
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeSymlink != 0:
		return "a symlink"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	}
	return fmt.Sprintf("a device or the like (%s)", mode.Type())
}

package store

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/anycert/anycert"
)

// What Stat tells is kept in the entry's custom metadata. Vault allows 64 keys of
// 128 characters, with values of 512. Keys that do not begin with indexPrefix are
// other people's and stay. What room is left is used for the past: see history.go.
const (
	indexPrefix = "anycert-"
	keySchema   = indexPrefix + "schema"  // of this list: 1
	keyVersion  = indexPrefix + "version" // the version that is spoken of
	keyDigest   = indexPrefix + "digest"  // of the chain
	keyOrigin   = indexPrefix + "origin"  // JSON; left out when a person wrote the entry
	keyLeaf     = indexPrefix + "leaf-"   // and 00, 01, …: pieces of the leaf's DER in base64

	schema    = 1
	maxValue  = 512
	maxPieces = 60 // with the four others: 64
)

// MaxLeaf is the size in bytes of the largest leaf, in DER, that fits.
const MaxLeaf = maxPieces * maxValue / 4 * 3

// newerError says that a later anycert wrote the index; it is an ErrUnindexed that
// must not be mended.
type newerError struct{ schema int }

func (e *newerError) Error() string {
	return fmt.Sprintf("its metadata has schema %d and was written by a later anycert, this one knows schema %d and leaves it alone: upgrade this anycert", e.schema, schema)
}

func (e *newerError) Unwrap() error { return anycert.ErrUnindexed }

func isNewer(err error) bool { return errors.As(err, new(*newerError)) }

// leftAlone comes with an entry that is whole, and whose index is not to be written.
type leftAlone struct{ error }

func (e leftAlone) Unwrap() []error { return []error{e.error, anycert.ErrForbidden} }

// index is what the custom metadata says of one version.
type index struct {
	version int
	digest  anycert.Digest
	leaf    *x509.Certificate
	origin  anycert.Origin
}

// encodeIndex fails for what does not fit.
func encodeIndex(i index) (map[string]string, error) {
	if size := len(i.leaf.Raw); size > MaxLeaf {
		return nil, fmt.Errorf("%w: the leaf has %d bytes, and %d fit into the metadata of a Vault entry: use fewer names", anycert.ErrMalformed, size, MaxLeaf)
	}
	custom := map[string]string{
		keySchema:  strconv.Itoa(schema),
		keyVersion: strconv.Itoa(i.version),
		keyDigest:  i.digest.String(),
	}
	if i.origin != (anycert.Origin{}) {
		text, err := json.Marshal(i.origin)
		if err != nil || len(text) > maxValue {
			return nil, fmt.Errorf("%w: issuer, directory, profile and who put it there have more than the %d characters that fit into the metadata of a Vault entry", anycert.ErrMalformed, maxValue)
		}
		custom[keyOrigin] = string(text)
	}
	text := base64.StdEncoding.EncodeToString(i.leaf.Raw)
	for n := 0; text != ""; n++ {
		piece := text[:min(maxValue, len(text))]
		custom[pieceKey(n)], text = piece, text[len(piece):]
	}
	return custom, nil
}

// decodeIndex fails with ErrUnindexed when the metadata does not speak of the
// current version in a way that is understood.
func decodeIndex(custom map[string]string, current int) (index, error) {
	version, err := strconv.Atoi(custom[keySchema])
	if err == nil && version > schema {
		return index{}, &newerError{version}
	}
	if err != nil || version != schema || custom[keyVersion] != strconv.Itoa(current) {
		return index{}, anycert.ErrUnindexed
	}
	digest, digestErr := anycert.ParseDigest(custom[keyDigest])
	leaf, leafErr := decodeLeaf(custom)
	origin, originErr := decodeOrigin(custom[keyOrigin])
	if errors.Join(digestErr, leafErr, originErr) != nil {
		return index{}, anycert.ErrUnindexed
	}
	return index{version: current, digest: digest, leaf: leaf, origin: origin}, nil
}

func decodeLeaf(custom map[string]string) (*x509.Certificate, error) {
	var text strings.Builder
	for n := range maxPieces {
		piece, ok := custom[pieceKey(n)]
		if !ok {
			break
		}
		text.WriteString(piece)
	}
	der, err := base64.StdEncoding.DecodeString(text.String())
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func decodeOrigin(text string) (origin anycert.Origin, err error) {
	if text != "" {
		err = json.Unmarshal([]byte(text), &origin)
	}
	return origin, err
}

// replacing is the change that puts custom in the place of an older index: what is
// not said any more becomes null, which takes it away (RFC 7396).
func replacing(old, custom map[string]string) map[string]any {
	change := make(map[string]any, len(custom))
	for key := range old {
		if strings.HasPrefix(key, indexPrefix) {
			change[key] = nil
		}
	}
	for key, value := range custom {
		change[key] = value
	}
	return change
}

func pieceKey(n int) string { return fmt.Sprintf("%s%02d", keyLeaf, n) }

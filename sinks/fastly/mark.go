package fastly

import (
	"crypto/sha1" // Fastly names keys by it
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"slices"
	"strings"
	"time"

	"github.com/anycert/anycert"
)

// label is what the name of a key or certificate object says: our mark, and, on
// certificates, two things that have to be known again later.
//
// As text it is, in 255 characters or fewer (Fastly documents no bound, and shows
// names of that length):
//
//	anycert OWNER/CERTIFICATE TIME DIGEST KEY CLAIMS
type label struct {
	mark anycert.Mark
	// key is the public_key_sha1 of the certificate's key.
	key keyID
	// claims are the places where the certificate is, or is about to be, activated:
	// where one of them is later held by somebody else's certificate, an activation
	// was moved and is moved back. Without a claim it was never ours, and is left
	// alone (law 6).
	claims []string
}

// keyID is a key's public_key_sha1: SHA-1, in hex, over the PEM text of the
// SubjectPublicKeyInfo, the last line end included. The recorded exchanges of
// go-fastly prove it.
type keyID string

func keyIDOf(leaf *x509.Certificate) keyID {
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: leaf.RawSubjectPublicKeyInfo})
	sum := sha1.Sum(text)
	return keyID(hex.EncodeToString(sum[:]))
}

const (
	maxName  = 255
	claimLen = 4 // characters of base64: 24 bits
)

// claimOf is how a place is written down in a label.
func claimOf(p place) string {
	sum := sha256.Sum256([]byte(p.String()))
	return base64.RawURLEncoding.EncodeToString(sum[:])[:claimLen]
}

func (l *label) claimed(p place) bool { return l != nil && slices.Contains(l.claims, claimOf(p)) }

// String is the name. Claims that find no room are left out: it is then as if the
// place had never been ours.
func (l label) String() string {
	fields := []string{
		"anycert",
		l.mark.Owner + "/" + l.mark.Certificate,
		l.mark.Time.UTC().Format(time.RFC3339),
		l.mark.Digest.Hex(),
	}
	if l.key == "" {
		return strings.Join(fields, " ")
	}
	sum, _ := hex.DecodeString(string(l.key)) // keyIDOf or parseLabel made it
	text := strings.Join(append(fields, base64.RawURLEncoding.EncodeToString(sum)), " ")
	if room := (maxName - len(text) - 1) / claimLen; room > 0 && len(l.claims) > 0 {
		text += " " + strings.Join(l.claims[:min(room, len(l.claims))], "")
	}
	return text
}

// parseLabel reads what String wrote. Every other name is somebody else's.
func parseLabel(name string) (*label, bool) {
	fields := strings.Split(name, " ")
	if len(fields) < 4 || len(fields) > 6 || fields[0] != "anycert" {
		return nil, false
	}
	owner, certificate, _ := strings.Cut(fields[1], "/")
	if anycert.CheckName(owner) != nil || anycert.CheckName(certificate) != nil {
		return nil, false
	}
	at, err := time.Parse(time.RFC3339, fields[2])
	if err != nil {
		return nil, false
	}
	digest, err := anycert.ParseDigest("sha256:" + fields[3])
	if err != nil {
		return nil, false
	}
	l := &label{mark: anycert.Mark{Owner: owner, Certificate: certificate, Time: at.UTC(), Digest: digest}}
	if len(fields) > 4 {
		sum, err := base64.RawURLEncoding.DecodeString(fields[4])
		if err != nil || len(sum) != sha1.Size {
			return nil, false
		}
		l.key = keyID(hex.EncodeToString(sum))
	}
	if len(fields) > 5 {
		for claim := range slices.Chunk([]byte(fields[5]), claimLen) {
			l.claims = append(l.claims, string(claim))
		}
	}
	return l, true
}

package issuer

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/anycert/anycert"
)

// A certificate that is bought has no issuer here, but its key is born in the store as
// that of any other: it waits in the journal of an order that names no issuer, which no
// daemon goes on with, until the certificate is imported. Whoever gives the certificate
// an issuer ends the wait: its order takes the journal over.

// waiting is a journal whose certificate comes by a person's hand.
type waiting struct {
	journal
	Since time.Time `json:"since"` // when the request was made
}

// is reports whether a journal is one of those.
func (w waiting) is() bool { return w.Issuer == "" && w.Key != "" && !w.Done }

// Signing is a request for a certificate that a person takes to a CA (RFC 2986).
type Signing struct {
	DER     []byte
	Since   time.Time // when it was made
	Domains []string  // sorted
	KeyType anycert.KeyType
}

// maxCommonName is the length of the longest common name (RFC 5280, appendix A.1).
const maxCommonName = 64

// Sign makes a request for a certificate that has no issuer, and keeps its key in the
// store. As long as the declared key type stays and anew is not set, the key that waits
// there already is used, and for the same domains the very request. made is false when
// that one came back. It fails where an issuer is at an order for the certificate.
func Sign(ctx context.Context, records anycert.Records, certificate anycert.Certificate, anew bool, now time.Time) (request Signing, made bool, err error) {
	const tries = 3
	for try := 1; ; try++ {
		request, made, err = sign(ctx, records, certificate, anew, now)
		if !errors.Is(err, anycert.ErrConflict) || try == tries {
			return request, made, err
		}
	}
}

func sign(ctx context.Context, records anycert.Records, certificate anycert.Certificate, anew bool, now time.Time) (Signing, bool, error) {
	kept, version, err := loadWaiting(ctx, records, certificate.Name)
	if err != nil {
		return Signing{}, false, err
	}
	if kept.Issuer != "" && !kept.Done {
		return Signing{}, false, fmt.Errorf("%w: the journal %s/%s is of an order at issuer %s: take the configuration that declares this issuer, or if none does any more delete the journal", anycert.ErrRefused, anycert.KindOrder, certificate.Name, kept.Issuer)
	}
	next := waiting{Since: now.UTC().Truncate(time.Second)}
	next.Domains, next.KeyType = sorted(certificate.Domains), certificate.KeyType
	if next.KeyType == "" {
		next.KeyType = anycert.KeyTypes()[0]
	}
	if kept.is() && !anew {
		switch {
		case kept.KeyType != next.KeyType:
			return Signing{}, false, fmt.Errorf("%w: a request with a key of type %s waits for its certificate since %s, and %s is declared now: say --new to give that one up", anycert.ErrRefused, kept.KeyType, kept.Since.Format(time.RFC3339), next.KeyType)
		case sameNames(kept.Domains, next.Domains):
			return kept.signing(), false, nil
		}
		next.Key = kept.Key
	}
	if err := next.request(certificate.Domains); err != nil {
		return Signing{}, false, err
	}
	if err := saveWaiting(ctx, records, certificate.Name, version, next); err != nil {
		return Signing{}, false, err
	}
	return next.signing(), true, nil
}

func (w waiting) signing() Signing {
	return Signing{DER: w.CSR, Since: w.Since, Domains: w.Domains, KeyType: w.KeyType}
}

// request makes the request, and a key unless there is one. CAs that people deal with
// want a common name: it is the first of the domains that is short enough.
func (w *waiting) request(domains []string) error {
	key, err := w.signer()
	if w.Key == "" {
		key, err = w.KeyType.Generate()
	}
	if err != nil {
		return err
	}
	text, err := anycert.MarshalKey(key)
	if err != nil {
		return err
	}
	template := &x509.CertificateRequest{DNSNames: domains}
	if at := slices.IndexFunc(domains, func(d string) bool { return len(d) <= maxCommonName }); at >= 0 {
		template.Subject = pkix.Name{CommonName: domains[at]}
	}
	if w.CSR, err = x509.CreateCertificateRequest(rand.Reader, template, key); err != nil {
		return fmt.Errorf("making the certificate request: %w", err)
	}
	w.Key = text.Reveal()
	return nil
}

// Waiting is the key of a request that waits for its certificate.
type Waiting struct {
	Key     anycert.Secret // PKCS#8, PEM
	Since   time.Time      // when the request was made
	version int
}

// LoadWaiting reads the key of the request that waits. ErrNotFound when none does.
func LoadWaiting(ctx context.Context, records anycert.Records, name string) (Waiting, error) {
	kept, version, err := loadWaiting(ctx, records, name)
	if err == nil && !kept.is() {
		err = anycert.ErrNotFound
	}
	if err != nil {
		return Waiting{}, err
	}
	return Waiting{Key: anycert.NewSecret(kept.Key), Since: kept.Since, version: version}, nil
}

// End destroys a request that waited, and its key, in all versions: the certificate is
// in the store. ErrConflict when another request was made meanwhile; that one stays.
func (w Waiting) End(ctx context.Context, records anycert.Records, name string) error {
	ended := waiting{}
	ended.Done = true
	if err := saveWaiting(ctx, records, name, w.version, ended); err != nil {
		return err
	}
	if err := records.Delete(ctx, anycert.KindOrder, name); err != nil {
		return fmt.Errorf("destroying the request that has its certificate: %w", err)
	}
	return nil
}

// loadWaiting reads a journal of any kind; version 0 when there is none.
func loadWaiting(ctx context.Context, records anycert.Records, name string) (waiting, int, error) {
	var kept waiting
	version, err := journalForm("the request that waits for its certificate", "and make another request").load(ctx, records, name, &kept)
	if err != nil {
		return waiting{}, 0, err
	}
	return kept, version, nil
}

func saveWaiting(ctx context.Context, records anycert.Records, name string, expected int, w waiting) error {
	w.Schema = schema
	text, err := json.Marshal(w)
	if err == nil {
		_, err = records.Save(ctx, anycert.KindOrder, name, expected, anycert.NewSecret(string(text)))
	}
	if err != nil {
		return fmt.Errorf("keeping the request in the store: %w", err)
	}
	return nil
}

package issuer

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-acme/lego/v4/acme"

	"github.com/anycert/anycert"
)

// revokeTime bounds one revocation.
const revokeTime = time.Minute

// reasonCodes are those of RFC 5280, section 5.3.1, by the words of
// anycert.RevocationReasons.
var reasonCodes = map[string]uint{"unspecified": 0, "compromised": 1, "superseded": 4, "ceased": 5}

// Revoke implements [anycert.Requester]. It is asked for by the account that the
// certificate was ordered with. One that a person put into the store is tried at the
// certificate's own issuer: a CA revokes for any account that has shown control of
// all names (RFC 8555, section 7.6).
func (i *Issuer) Revoke(ctx context.Context, certificate anycert.Certificate, leaf *x509.Certificate, origin anycert.Origin, reason string) error {
	if err := i.revoke(ctx, certificate, leaf, origin, reason); err != nil {
		return fmt.Errorf("revoking certificate %s, serial %x: %w", certificate.Name, leaf.SerialNumber, err)
	}
	return nil
}

func (i *Issuer) revoke(ctx context.Context, certificate anycert.Certificate, leaf *x509.Certificate, origin anycert.Origin, reason string) error {
	code, ok := reasonCodes[reason]
	if !ok {
		return fmt.Errorf("%q is no reason for a revocation: use one of %s", reason, strings.Join(anycert.RevocationReasons(), ", "))
	}
	if i.now().After(leaf.NotAfter) {
		return nil
	}
	c, err := i.issued(certificate, origin)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, revokeTime, fmt.Errorf("the CA did not answer within %s", revokeTime))
	defer cancel()
	s, err := c.connect(ctx, account{})
	if err != nil {
		return fmt.Errorf("at issuer %s: %w", c.Name, err)
	}
	if s.core.GetDirectory().RevokeCertURL == "" {
		return fmt.Errorf("issuer %s: the CA revokes nothing by ACME: ask it by its own means", c.Name)
	}
	message := acme.RevokeCertMessage{Certificate: base64.RawURLEncoding.EncodeToString(leaf.Raw), Reason: &code}
	err = s.problem(s.core.Certificates.Revoke(message))
	if isKind(err, "badRevocationReason") { // Vault's PKI takes none at all
		message.Reason = nil
		err = s.problem(s.core.Certificates.Revoke(message))
	}
	switch {
	case err == nil, isKind(err, "alreadyRevoked"):
		return nil
	case origin.Issuer == "" && isRefusal(err):
		return &foreignError{fmt.Errorf("it was put into the store by hand, and issuer %s does not revoke it (%w): have it revoked by the CA that issued it", c.Name, err)}
	}
	return fmt.Errorf("at issuer %s: %w", c.Name, err)
}

// foreignError says that no CA of ours will ever revoke a certificate.
type foreignError struct{ error }

func (e *foreignError) Unwrap() error { return e.error }

// issued finds the CA that issued what has an origin: also under another name, as long
// as one issuer of the configuration is at the same directory.
func (i *Issuer) issued(certificate anycert.Certificate, origin anycert.Origin) (*ca, error) {
	if origin.Issuer == "" {
		if c, ok := i.cas[certificate.Issuer]; ok {
			return c, nil
		}
		return nil, &foreignError{errors.New("it was put into the store by hand: have it revoked by the CA that issued it")}
	}
	if c, ok := i.cas[origin.Issuer]; ok && (origin.Directory == "" || c.directory == origin.Directory) {
		return c, nil
	}
	names := make([]string, 0, len(i.cas))
	for name, c := range i.cas {
		if c.directory == origin.Directory {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("issuer %s at %s, where it was obtained, is not in the configuration any more: declare it again until this is done, or have it revoked there", origin.Issuer, origin.Directory)
	}
	return i.cas[slices.Min(names)], nil
}

package issuer

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"fmt"

	"github.com/anycert/anycert"
)

// claim writes the intent, or our name into the journal of an order that was begun
// before. The order of another want is dropped with that: of its key and of what it
// has taken from the limits, nothing is kept.
func (w *work) claim(ctx context.Context) error {
	intent, dropped := journal{want: w.want}, w.journal
	if w.fits() {
		if w.journal.Key != "" {
			return w.update(ctx, func(*journal) {})
		}
		intent, dropped = *w.journal, nil // the CA rejected its key
	}
	intent.Replaces = versionOf(w.entry)
	if w.anotherKey() {
		intent.Request = w.request.Time
	}
	key, err := w.newKey(ctx)
	if err != nil {
		return err
	}
	if err := intent.setKey(key, w.want.Domains); err != nil {
		return err
	}
	if err := w.update(ctx, func(j *journal) { *j = intent }); err != nil {
		return err
	}
	w.at(IntentWritten)
	w.restore(ctx, dropped)
	return nil
}

// newKey is a new one, or that of the current version when it is to be kept and nobody
// asked for another.
func (w *work) newKey(ctx context.Context) (crypto.Signer, error) {
	if w.want.ReuseKey && w.entry != nil && !w.anotherKey() {
		bundle, err := w.store.Get(ctx, w.certificate.Name, w.entry.Version)
		if err != nil {
			return nil, uncounted{fmt.Errorf("reading the key that is to be kept: %w", err)}
		}
		if kind, err := anycert.KeyTypeOf(bundle.Signer().Public()); err == nil && kind == w.want.KeyType {
			return bundle.Signer(), nil
		}
	}
	return w.want.KeyType.Generate()
}

// setKey puts a key and the CSR for it into the journal. The CSR names no subject:
// the CA takes the names from the order.
func (j *journal) setKey(key crypto.Signer, domains []string) error {
	text, err := anycert.MarshalKey(key)
	if err != nil {
		return err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: domains}, key)
	if err != nil {
		return fmt.Errorf("making the certificate request: %w", err)
	}
	j.Key, j.CSR = text.Reveal(), csr
	return nil
}

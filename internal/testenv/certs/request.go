package certs

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
)

// Sign issues what a request in PEM asks for, as a CA that people deal with does: for
// its key and names, signed by the intermediate, valid for 90 days. The request's own
// signature is checked, and its common name must be among its names.
func (ca *CA) Sign(requestPEM []byte) (chain []*x509.Certificate, err error) {
	block, rest := pem.Decode(requestPEM)
	if block == nil || block.Type != "CERTIFICATE REQUEST" || len(rest) > 0 {
		return nil, fmt.Errorf("certs: this is no request, or more than one")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err == nil {
		err = request.CheckSignature()
	}
	if err != nil {
		return nil, fmt.Errorf("certs: reading a request: %w", err)
	}
	if !slices.Contains(request.DNSNames, request.Subject.CommonName) {
		return nil, fmt.Errorf("certs: the request's common name is %q, which is none of its names %q", request.Subject.CommonName, request.DNSNames)
	}
	template := leafTemplate(Options{Names: request.DNSNames})
	leaf, err := sign(template, held{request.PublicKey}, ca.intermediate)
	if err != nil {
		return nil, err
	}
	return []*x509.Certificate{leaf, ca.intermediate.cert}, nil
}

// held is a key that somebody else holds.
type held struct{ public crypto.PublicKey }

// Public returns its public half.
func (h held) Public() crypto.PublicKey { return h.public }

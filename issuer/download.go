package issuer

import (
	"crypto/x509"
	"fmt"
	"maps"
	"slices"

	"github.com/go-acme/lego/v4/acme"

	"github.com/anycert/anycert"
)

// download fetches the certificate of an order that is valid, and verifies that it
// is what was asked for.
func (w *work) download(s *session, order acme.ExtendedOrder) (*anycert.Bundle, error) {
	chains, err := s.chains(order.Certificate)
	switch {
	case isRefusal(err) && !isKind(err, "accountDoesNotExist", "externalAccountRequired"):
		return nil, withheld{fmt.Errorf("fetching the certificate, which was issued: %w", err)}
	case err != nil:
		return nil, fmt.Errorf("fetching the certificate: %w", err)
	}
	key, err := w.begun().signer()
	if err != nil {
		return nil, &unusable{error: err, key: true}
	}
	bundle, err := anycert.NewBundle(preferred(chains, s.PreferredChain), key)
	if err != nil {
		return nil, &unusable{error: fmt.Errorf("the CA issued something else than was asked for: %w", err)}
	}
	leaf := bundle.Leaf()
	if err := matches(leaf, w.want); err != nil {
		return nil, &unusable{error: fmt.Errorf("the CA issued something else than was asked for: %w", err)}
	}
	if err := anycert.Check(leaf, w.want.Domains, w.now()); err != nil {
		failure := fmt.Errorf("the CA issued a certificate that cannot be served: %w", err)
		if w.now().Before(leaf.NotBefore) {
			return nil, failure // a clock is wrong; the order is good
		}
		return nil, &unusable{error: failure}
	}
	return bundle, nil
}

// matches compares a certificate with what it was ordered for.
func matches(leaf *x509.Certificate, w want) error {
	switch {
	case !sameNames(leaf.DNSNames, w.Domains):
		return fmt.Errorf("its names differ: %s", difference(w.Domains, leaf.DNSNames))
	case len(leaf.IPAddresses)+len(leaf.EmailAddresses)+len(leaf.URIs) > 0:
		return fmt.Errorf("it holds names that are no domains")
	}
	return nil
}

// chains fetches what the CA offers, its default first.
func (s *session) chains(url string) ([][]*x509.Certificate, error) {
	if s.PreferredChain == "" {
		text, _, err := s.core.Certificates.Get(url, true)
		if err != nil {
			return nil, s.problem(err)
		}
		chain, err := anycert.ParseChain(text)
		return [][]*x509.Certificate{chain}, err
	}
	all, err := s.core.Certificates.GetAll(url, true)
	if err != nil {
		return nil, s.problem(err)
	}
	var chains [][]*x509.Certificate
	alternates := slices.DeleteFunc(slices.Sorted(maps.Keys(all)), func(address string) bool { return address == url })
	for _, address := range append([]string{url}, alternates...) {
		chain, err := anycert.ParseChain(all[address].Cert)
		if err != nil {
			return nil, err
		}
		chains = append(chains, chain)
	}
	return chains, nil
}

// preferred is the first chain in which issuer, a common name, signed something;
// the CA's default where there is none.
func preferred(chains [][]*x509.Certificate, issuer string) []*x509.Certificate {
	for _, chain := range chains {
		for _, certificate := range chain {
			if issuer != "" && certificate.Issuer.CommonName == issuer {
				return chain
			}
		}
	}
	return chains[0]
}

package sinktest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/anycert/anycert"
)

// Agrees tells how observed differs from entry, or nil. It looks at what the
// evidence is worth and no further. It is the suite's own small judge; the one that
// counts is reconcile's.
func Agrees(entry anycert.Entry, observed anycert.Observed) error {
	switch {
	case !observed.Found:
		return errors.New("nothing is there")
	case observed.Foreign != "":
		return fmt.Errorf("it is foreign: %s", observed.Foreign)
	case observed.Waiting != "":
		return fmt.Errorf("it is waiting: %s", observed.Waiting)
	case len(observed.Deviations) > 0:
		return fmt.Errorf("it deviates: %v", observed.Deviations)
	}
	if err := sameCertificate(entry, observed); err != nil {
		return err
	}
	return sameMark(entry, observed)
}

func sameCertificate(entry anycert.Entry, observed anycert.Observed) error {
	leaf := entry.Leaf
	if !observed.NotAfter.Equal(leaf.NotAfter) {
		return fmt.Errorf("NotAfter is %s, want %s", observed.NotAfter, leaf.NotAfter)
	}
	if !observed.NotBefore.IsZero() && !observed.NotBefore.Equal(leaf.NotBefore) {
		return fmt.Errorf("NotBefore is %s, want %s", observed.NotBefore, leaf.NotBefore)
	}
	switch observed.Evidence {
	case anycert.Exact:
		if observed.Digest != entry.Digest {
			return fmt.Errorf("Digest is %q, want %q", observed.Digest, entry.Digest)
		}
		if observed.SPKI != anycert.SPKIOf(leaf) {
			return errors.New("SPKI is not that of the certificate's key")
		}
	case anycert.Serial:
		if observed.Serial != leaf.SerialNumber.String() {
			return fmt.Errorf("Serial is %q, want %q", observed.Serial, leaf.SerialNumber)
		}
		if got, want := slices.Sorted(slices.Values(observed.Names)), slices.Sorted(slices.Values(leaf.DNSNames)); !slices.Equal(got, want) {
			return fmt.Errorf("Names are %q, want %q", got, want)
		}
	case anycert.Dates:
	default:
		return fmt.Errorf("Evidence is %q: use one of the constants", observed.Evidence)
	}
	return nil
}

func sameMark(entry anycert.Entry, observed anycert.Observed) error {
	if observed.Unmarkable {
		return nil
	}
	if observed.Mark == nil {
		return errors.New("there is no mark")
	}
	if want := anycert.MarkOf(observed.Mark.Owner, entry); *observed.Mark != want {
		return fmt.Errorf("the mark is %+v, want %+v", *observed.Mark, want)
	}
	return nil
}

// holds tells how what is served differs from bundle, or nil.
func (h *Harness) holds(served Served, bundle *anycert.Bundle) error {
	switch {
	case served.IsZero():
		return errors.New("nothing is served")
	case len(served.ChainPEM) == 0 && served.Serial == "":
		return errors.New("Served shows neither a chain nor a serial: the harness must show one")
	case len(served.KeyPEM) == 0 && h.Without["Key"] == "":
		return errors.New("Served shows no key: it is missing, or else the harness must say in Without[\"Key\"] why it cannot be seen")
	case served.Serial != "" && served.Serial != bundle.Leaf().SerialNumber.String():
		return fmt.Errorf("the serial %s is served, want %s", served.Serial, bundle.Leaf().SerialNumber)
	}
	if len(served.ChainPEM) > 0 {
		chain, err := anycert.ParseChain(served.ChainPEM)
		if err != nil {
			return fmt.Errorf("the chain served: %w", err)
		}
		if digest := anycert.DigestOf(chain); digest != bundle.Digest() {
			return fmt.Errorf("the chain %s is served, want %s", digest, bundle.Digest())
		}
	}
	if len(served.KeyPEM) > 0 {
		spki, err := anycert.SPKIOfKey(served.KeyPEM)
		if err != nil {
			return fmt.Errorf("the key served: %w", err)
		}
		if spki != anycert.SPKIOf(bundle.Leaf()) {
			return errors.New("the key served does not belong to the certificate")
		}
	}
	return nil
}

// holdsOne tells whether what is served is one of the bundles, whole.
func (h *Harness) holdsOne(served Served, bundles ...*anycert.Bundle) error {
	var all []error
	for _, bundle := range bundles {
		err := h.holds(served, bundle)
		if err == nil {
			return nil
		}
		all = append(all, err)
	}
	return errors.Join(all...)
}

// same tells whether two readings are equal, byte by byte.
func (s Served) same(other Served) bool {
	return bytes.Equal(s.ChainPEM, other.ChainPEM) && bytes.Equal(s.KeyPEM, other.KeyPEM) && s.Serial == other.Serial
}

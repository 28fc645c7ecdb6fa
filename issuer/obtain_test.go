package issuer_test

import (
	"crypto/x509"
	"testing"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
)

func TestObtainStoresWhatWasAskedFor(t *testing.T) {
	w := newWorld(t, acmeserver.Options{RejectNonces: 20})
	i := w.issuer()
	c := certificate("site", "example.com", "*.example.com", "www.example.com")

	entry := obtain(t, i, c)

	if entry.Version != 1 || entry.Name != "site" {
		t.Errorf("got version %d of %s", entry.Version, entry.Name)
	}
	if want := (anycert.Origin{Issuer: "pebble", Directory: w.acme.URL}); entry.Origin != want {
		t.Errorf("the origin is %+v, want %+v", entry.Origin, want)
	}
	bundle := w.bundle("site")
	wantNames(t, bundle.Leaf().DNSNames, c.Domains)
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(w.acme.RootPEM(0))
	intermediates.AppendCertsFromPEM(bundle.IssuersPEM())
	if _, err := bundle.Leaf().Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, DNSName: "any.example.com"}); err != nil {
		t.Error(err)
	}
	w.noJournal()
	w.noRecords("_acme-challenge.example.com", "_acme-challenge.www.example.com")

	again := obtain(t, i, c)
	if again.Version != 1 || len(w.acme.Orders()) != 1 {
		t.Errorf("what is not due was obtained again: version %d, %d orders", again.Version, len(w.acme.Orders()))
	}
}

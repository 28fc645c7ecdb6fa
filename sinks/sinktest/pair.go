package sinktest

import (
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/certs"
)

// maker issues the versions of one certificate.
type maker struct {
	ca, stranger *certs.CA
	certificate  string
	names        []string
	start        time.Time
}

func newMaker(t testing.TB, certificate string, names []string) *maker {
	t.Helper()
	ca, err := certs.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := certs.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now().UTC().Truncate(time.Second).Add(-time.Hour)
	return &maker{ca: ca, stranger: stranger, certificate: certificate, names: names, start: start}
}

// version makes the nth version: each has a key, a serial number and an end of its
// own, so that every evidence can tell them apart.
func (m *maker) version(t testing.TB, n int) Pair {
	t.Helper()
	return m.pair(t, n, m.ca, certs.Options{
		Names:        m.names,
		NotBefore:    m.start,
		NotAfter:     m.start.AddDate(0, 0, 90).Add(time.Duration(n) * time.Hour),
		Intermediate: true,
	})
}

func (m *maker) pair(t testing.TB, n int, ca *certs.CA, options certs.Options) Pair {
	t.Helper()
	issued, err := ca.Issue(options)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := anycert.ParseBundle(issued.ChainPEM, issued.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	entry := anycert.Entry{
		Name:    m.certificate,
		Version: n,
		Time:    m.start.Add(time.Duration(n) * time.Minute),
		Digest:  bundle.Digest(),
		Leaf:    bundle.Leaf(),
	}
	return Pair{Entry: entry, Bundle: bundle}
}

// material is what a Tamper is given after older and pushed were pushed.
func (m *maker) material(t testing.TB, older, pushed Pair) Material {
	t.Helper()
	return Material{
		Pushed: pushed,
		Older:  older,
		LongLived: m.pair(t, 0, m.ca, certs.Options{
			Names:      m.names,
			NotBefore:  m.start,
			NotAfter:   time.Date(2099, 12, 31, 0, 0, 0, 0, time.UTC),
			SelfSigned: true,
		}),
		Stranger: m.pair(t, 0, m.stranger, certs.Options{
			Names:        m.names,
			NotBefore:    m.start,
			NotAfter:     m.start.AddDate(0, 0, 30),
			Intermediate: true,
		}),
	}
}

// Issue makes one version of a certificate, as the suite does: for a sink's own
// tests beside the suite. Versions of one call are one CA's; a higher number is
// younger and lives longer.
func Issue(t testing.TB, certificate string, names []string, versions ...int) []Pair {
	t.Helper()
	m := newMaker(t, certificate, names)
	var pairs []Pair
	for _, n := range versions {
		pairs = append(pairs, m.version(t, n))
	}
	return pairs
}

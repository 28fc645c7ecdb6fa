package storetest

import (
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/leak"
)

// origin is what the suite says of every bundle it puts.
var origin = anycert.Origin{Issuer: "example-ca", Directory: "https://ca.example.com/directory", Profile: "tlsserver"}

// issue makes a pair and remembers its key, so that errors can be searched for it.
func (l *law) issue(options certs.Options) certs.Pair {
	l.Helper()
	ca, err := certs.NewCA()
	l.ok(err)
	pair, err := ca.Issue(options)
	l.ok(err)
	l.keys = append(l.keys, leak.Secret{Name: "a key of the suite", PEM: pair.KeyPEM})
	return pair
}

// bundle makes a new bundle for names.
func (l *law) bundle(names ...string) *anycert.Bundle {
	l.Helper()
	pair := l.issue(certs.Options{Names: names, Intermediate: true})
	bundle, err := anycert.ParseBundle(pair.ChainPEM, pair.KeyPEM)
	l.ok(err)
	return bundle
}

// sameBundle compares chain and key.
func (l *law) sameBundle(got, want *anycert.Bundle) {
	l.Helper()
	if got.Digest() != want.Digest() {
		l.Errorf("got %v, want %v", got, want)
	}
	if got.KeyPEM().Reveal() != want.KeyPEM().Reveal() {
		l.Error("another key came back")
	}
}

// describes expects entry to tell of bundle.
func (l *law) describes(entry anycert.Entry, name string, version int, bundle *anycert.Bundle, from anycert.Origin) {
	l.Helper()
	if entry.Name != name || entry.Version != version {
		l.Errorf("the entry is %s, version %d, want %s, version %d", entry.Name, entry.Version, name, version)
	}
	if entry.Digest != bundle.Digest() || !bundle.Leaf().Equal(entry.Leaf) {
		l.Errorf("the entry tells of %v, want %v", entry.Digest, bundle)
	}
	if entry.Origin != from {
		l.Errorf("the origin is %+v, want %+v", entry.Origin, from)
	}
	if age := time.Since(entry.Time); age < -time.Minute || age > time.Hour {
		l.Errorf("the version is of %v, which is not now", entry.Time)
	}
	if _, offset := entry.Time.Zone(); offset != 0 {
		l.Errorf("the time %v is not in UTC", entry.Time)
	}
}

// same compares two entries.
func (l *law) same(got, want anycert.Entry) {
	l.Helper()
	if !got.Time.Equal(want.Time) || got.Name != want.Name || got.Version != want.Version ||
		got.Digest != want.Digest || got.Origin != want.Origin || !got.Leaf.Equal(want.Leaf) {
		l.Errorf("got the entry %s, version %d, %v, %v, want %s, version %d, %v, %v",
			got.Name, got.Version, got.Time, got.Digest, want.Name, want.Version, want.Time, want.Digest)
	}
}

package storetest

import (
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/certs"
)

func absent(l *law) {
	_, err := l.Store.Stat(l.ctx, "example")
	l.is(err, anycert.ErrNotFound, "example")
	_, err = l.Store.Get(l.ctx, "example", 1)
	l.is(err, anycert.ErrNotFound, "example")
	_, err = l.Store.Index(l.ctx, "example")
	l.is(err, anycert.ErrNotFound, "example")
	names, err := l.Store.Names(l.ctx)
	l.ok(err)
	if len(names) != 0 {
		l.Errorf("an empty store lists %q", names)
	}
}

func putAndRead(l *law) {
	bundle := l.bundle("example.com", "*.example.com")
	put := l.put("example", 0, bundle)
	l.describes(put, "example", 1, bundle, origin)
	l.same(l.stat("example"), put)
	got, err := l.Store.Get(l.ctx, "example", 1)
	l.ok(err)
	l.sameBundle(got, bundle)
	l.put("another", 0, bundle)
	names, err := l.Store.Names(l.ctx)
	l.ok(err)
	slices.Sort(names)
	if diff := cmp.Diff([]string{"another", "example"}, names); diff != "" {
		l.Errorf("names (-want +got):\n%s", diff)
	}
}

func versions(l *law) {
	first, second := l.bundle("example.com"), l.bundle("example.com", "www.example.com")
	one := l.put("example", 0, first)
	two := l.put("example", 1, second)
	l.describes(two, "example", 2, second, origin)
	l.same(l.stat("example"), two)
	if two.Time.Before(one.Time) {
		l.Errorf("version 2 is of %v, before version 1 of %v", two.Time, one.Time)
	}
	for version, want := range map[int]*anycert.Bundle{1: first, 2: second} {
		got, err := l.Store.Get(l.ctx, "example", version)
		l.ok(err)
		l.sameBundle(got, want)
	}
	for _, version := range []int{-1, 0, 3} {
		_, err := l.Store.Get(l.ctx, "example", version)
		l.is(err, anycert.ErrNotFound, "example")
	}
}

func conflict(l *law) {
	_, err := l.Store.Put(l.ctx, "example", 3, l.bundle("example.com"), origin)
	l.is(err, anycert.ErrConflict, "example")
	_, err = l.Store.Stat(l.ctx, "example")
	l.is(err, anycert.ErrNotFound, "example")

	l.put("example", 0, l.bundle("example.com"))
	second := l.put("example", 1, l.bundle("example.com"))
	writes := l.Writes(l)
	for _, stale := range []int{0, 1, 3} {
		_, err := l.Store.Put(l.ctx, "example", stale, l.bundle("example.com"), origin)
		l.is(err, anycert.ErrConflict, "example")
	}
	l.same(l.stat("example"), second)
	if n := l.Writes(l) - writes; n != 0 {
		l.Errorf("%d writes for Puts that lost", n)
	}
}

func repeatedPut(l *law) {
	bundle := l.bundle("example.com")
	first := l.put("example", 0, bundle)
	l.same(l.put("example", 0, bundle), first)
	l.same(l.stat("example"), first)
	// It is a repetition only if nothing came after it.
	l.put("example", 1, l.bundle("example.com"))
	_, err := l.Store.Put(l.ctx, "example", 0, bundle, origin)
	l.is(err, anycert.ErrConflict, "example")
}

func deleted(l *law) {
	first := l.bundle("example.com")
	l.put("example", 0, first)
	put := l.put("example", 1, l.bundle("example.com"))
	l.SoftDelete(l, "example")
	entry, err := l.Store.Stat(l.ctx, "example")
	l.is(err, anycert.ErrDeleted, "example")
	if entry.Name != "example" || entry.Version != 2 || !entry.Time.Equal(put.Time) {
		l.Errorf("with ErrDeleted came %s, version %d, %v: want example, version 2, %v", entry.Name, entry.Version, entry.Time, put.Time)
	}
	_, err = l.Store.Get(l.ctx, "example", 2)
	l.is(err, anycert.ErrDeleted, "example")
	_, err = l.Store.Index(l.ctx, "example")
	l.is(err, anycert.ErrDeleted, "example")
	old, err := l.Store.Get(l.ctx, "example", 1)
	l.ok(err)
	l.sameBundle(old, first)

	_, err = l.Store.Put(l.ctx, "example", 0, first, origin)
	l.is(err, anycert.ErrConflict, "example")
	after := l.put("example", 2, first)
	l.describes(after, "example", 3, first, origin)
	l.same(l.stat("example"), after)
}

func writtenByHand(l *law) {
	bundle := l.bundle("shop.example.com")
	l.put("shop", 0, l.bundle("shop.example.com"))
	l.WriteByHand(l, "shop", "bought from a CA\n"+string(bundle.FullChainPEM()), bundle.KeyPEM().Reveal())
	entry, err := l.Store.Stat(l.ctx, "shop")
	l.is(err, anycert.ErrUnindexed, "shop")
	if entry.Name != "shop" || entry.Version != 2 || entry.Time.IsZero() || entry.Leaf != nil {
		l.Errorf("with ErrUnindexed came %s, version %d, %v, leaf %t: want shop, version 2, its time, no leaf",
			entry.Name, entry.Version, entry.Time, entry.Leaf != nil)
	}
	indexed, err := l.Store.Index(l.ctx, "shop")
	l.ok(err)
	l.describes(indexed, "shop", 2, bundle, anycert.Origin{})
	if !indexed.Time.Equal(entry.Time) {
		l.Errorf("Index says %v, Stat said %v", indexed.Time, entry.Time)
	}
	l.same(l.stat("shop"), indexed)
	next := l.bundle("shop.example.com")
	l.describes(l.put("shop", 2, next), "shop", 3, next, origin)
}

func keyForms(l *law) {
	forms := map[string]certs.Options{
		"sec1":  {KeyType: certs.EC384, KeyFormat: certs.SEC1},
		"pkcs1": {KeyType: certs.RSA2048, KeyFormat: certs.PKCS1},
		"pkcs8": {KeyType: certs.RSA2048, KeyFormat: certs.PKCS8},
	}
	for name, options := range forms {
		pair := l.issue(options)
		l.WriteByHand(l, name, string(pair.ChainPEM), string(pair.KeyPEM))
		entry, err := l.Store.Index(l.ctx, name)
		l.ok(err)
		if !entry.Leaf.Equal(pair.Leaf()) {
			l.Errorf("%s: another leaf came back", name)
		}
		bundle, err := l.Store.Get(l.ctx, name, 1)
		l.ok(err)
		if !strings.HasPrefix(bundle.KeyPEM().Reveal(), "-----BEGIN PRIVATE KEY-----") {
			l.Errorf("%s: the key is not PKCS#8", name)
		}
	}
}

func malformed(l *law) {
	pair, other := l.issue(certs.Options{}), l.issue(certs.Options{})
	certificate, key := string(pair.ChainPEM), string(pair.KeyPEM)
	faults := map[string][2]string{
		"another-key": {certificate, string(other.KeyPEM)},
		"swapped":     {key, certificate},
		"empty":       {"", ""},
		"no-key":      {certificate, ""},
		"garbage":     {"tls.crt", "tls.key"},
		"cut":         {certificate, key[:len(key)/2]},
		"one-line":    {certificate, strings.ReplaceAll(key, "\n", "")},
		"two-keys":    {certificate, key + string(other.KeyPEM)},
	}
	for name, pems := range faults {
		l.WriteByHand(l, name, pems[0], pems[1])
		writes := l.Writes(l)
		_, err := l.Store.Stat(l.ctx, name)
		l.is(err, anycert.ErrUnindexed, name)
		_, err = l.Store.Get(l.ctx, name, 1)
		l.is(err, anycert.ErrMalformed, name)
		_, err = l.Store.Index(l.ctx, name)
		l.is(err, anycert.ErrMalformed, name)
		if n := l.Writes(l) - writes; n != 0 {
			l.Errorf("%s: %d writes for what is no pair", name, n)
		}
	}
}

func bigChain(l *law) {
	names := make([]string, 100)
	for i := range names {
		names[i] = strings.Repeat(string(rune('a'+i%26)), 40) + strings.Repeat("b", i/26) + ".example.com"
	}
	pair := l.issue(certs.Options{Names: names, KeyType: certs.RSA4096, Intermediate: true})
	bundle, err := anycert.ParseBundle(pair.ChainPEM, pair.KeyPEM)
	l.ok(err)
	small := l.put("example", 0, l.bundle("example.com"))
	l.put("example", 1, bundle)
	l.describes(l.stat("example"), "example", 2, bundle, origin)
	got, err := l.Store.Get(l.ctx, "example", 2)
	l.ok(err)
	l.sameBundle(got, bundle)
	// And small again: nothing of the big one may be left in the way.
	l.put("example", 2, l.bundle("example.com"))
	if leaf := l.stat("example").Leaf; len(leaf.DNSNames) != len(small.Leaf.DNSNames) {
		l.Errorf("the leaf has %d names, want %d", len(leaf.DNSNames), len(small.Leaf.DNSNames))
	}
}

package storetest

import (
	"context"
	"errors"
	"strings"

	"github.com/anycert/anycert"
)

func forgedIndex(l *law) {
	bundle, lie := l.bundle("example.com"), l.bundle("evil.example.org")
	l.put("example", 0, bundle)
	l.ForgeIndex(l, "example", anycert.Entry{Digest: lie.Digest(), Leaf: lie.Leaf()})
	if leaf := l.stat("example").Leaf; !leaf.Equal(lie.Leaf()) {
		l.Fatal("the hook ForgeIndex has no effect on Stat")
	}
	entry, err := l.Store.Index(l.ctx, "example")
	l.ok(err)
	l.describes(entry, "example", 1, bundle, anycert.Origin{})
	l.same(l.stat("example"), entry)

	// A lie about the leaf alone is seen as well.
	l.ForgeIndex(l, "example", anycert.Entry{Digest: bundle.Digest(), Leaf: lie.Leaf()})
	_, err = l.Store.Index(l.ctx, "example")
	l.ok(err)
	if leaf := l.stat("example").Leaf; !leaf.Equal(bundle.Leaf()) {
		l.Error("Index has left a lie about the leaf")
	}
}

func newerIndex(l *law) {
	bundle := l.bundle("example.com")
	l.put("example", 0, bundle)
	l.NewerIndex(l, "example")
	writes := l.Writes(l)
	for range 2 { // the second time proves that the first overwrote nothing
		entry, err := l.Store.Stat(l.ctx, "example")
		l.is(err, anycert.ErrUnindexed, "example")
		if entry.Name != "example" || entry.Version != 1 || entry.Time.IsZero() {
			l.Errorf("with ErrUnindexed came %s, version %d, %v", entry.Name, entry.Version, entry.Time)
		}
		entry, err = l.Store.Index(l.ctx, "example")
		l.is(err, anycert.ErrUnindexed, "example")
		l.is(err, anycert.ErrForbidden, "example")
		l.describes(entry, "example", 1, bundle, anycert.Origin{}) // read all the same
		if !strings.Contains(err.Error(), "anycert") || !strings.Contains(err.Error(), "upgrade") {
			l.Errorf("the error %q does not say that anycert is to be upgraded", err)
		}
		_, err = l.Store.Put(l.ctx, "example", 1, l.bundle("example.com"), origin)
		l.is(err, anycert.ErrUnindexed, "example")
	}
	if n := l.Writes(l) - writes; n != 0 {
		l.Errorf("%d writes over what a newer anycert wrote", n)
	}
	got, err := l.Store.Get(l.ctx, "example", 1)
	l.ok(err)
	l.sameBundle(got, bundle)
}

func indexTwice(l *law) {
	bundle := l.bundle("example.com")
	put := l.put("example", 0, bundle)
	writes := l.Writes(l)
	for range 3 {
		entry, err := l.Store.Index(l.ctx, "example")
		l.ok(err)
		l.same(entry, put)
	}
	if n := l.Writes(l) - writes; n != 0 {
		l.Errorf("%d writes by an Index with nothing to do", n)
	}
}

func statReadsNoKey(l *law) {
	put := l.put("example", 0, l.bundle("example.com"))
	hand := l.bundle("shop.example.com")
	l.WriteByHand(l, "shop", string(hand.FullChainPEM()), hand.KeyPEM().Reveal())
	reader := l.WithoutKeys(l)
	got, err := reader.Stat(l.ctx, "example")
	l.ok(err)
	l.same(got, put)
	_, err = reader.Stat(l.ctx, "shop")
	l.is(err, anycert.ErrUnindexed, "shop")
	store, ok := reader.(anycert.Store)
	if !ok {
		return
	}
	if _, err := store.Get(l.ctx, "example", 1); err == nil {
		l.Error("the hook WithoutKeys gave a store that can read keys: nothing was proven")
	}
}

func endedContext(l *law) {
	bundle := l.bundle("example.com")
	l.put("example", 0, bundle)
	writes := l.Writes(l)
	ctx, cancel := context.WithCancel(l.ctx)
	cancel()
	methods := map[string]func() error{
		"Names": func() error { _, err := l.Store.Names(ctx); return err },
		"Stat":  func() error { _, err := l.Store.Stat(ctx, "example"); return err },
		"Get":   func() error { _, err := l.Store.Get(ctx, "example", 1); return err },
		"Put":   func() error { _, err := l.Store.Put(ctx, "example", 1, bundle, origin); return err },
		"Index": func() error { _, err := l.Store.Index(ctx, "example"); return err },

		"History": func() error { _, err := l.History.History(ctx, "example"); return err },
		"Destroy": func() error { return l.History.Destroy(ctx, "example", []int{1}) },
	}
	for name, method := range methods {
		if err := method(); !errors.Is(err, context.Canceled) {
			l.Errorf("%s with a context that was cancelled: %v, want context.Canceled", name, err)
		}
	}
	if n := l.Writes(l) - writes; n != 0 {
		l.Errorf("%d writes after the context had ended", n)
	}
}

// noNames are no names of certificates; some would lead out of the store.
var noNames = []string{"", ".", "..", "../orders", "a/b", "a b", "Example", "a\x00", "%2e%2e", "certs/", strings.Repeat("a", 64)}

func badNames(l *law) {
	bundle := l.bundle("example.com")
	writes := l.Writes(l)
	for _, name := range noNames {
		methods := map[string]func() error{
			"Stat":  func() error { _, err := l.Store.Stat(l.ctx, name); return err },
			"Get":   func() error { _, err := l.Store.Get(l.ctx, name, 1); return err },
			"Put":   func() error { _, err := l.Store.Put(l.ctx, name, 0, bundle, origin); return err },
			"Index": func() error { _, err := l.Store.Index(l.ctx, name); return err },

			"History": func() error { _, err := l.History.History(l.ctx, name); return err },
			"Destroy": func() error { return l.History.Destroy(l.ctx, name, []int{1}) },
		}
		for method, call := range methods {
			if err := call(); !errors.Is(err, anycert.ErrMalformed) {
				l.Errorf("%s(%q): %v, want ErrMalformed", method, name, err)
			}
		}
	}
	if n := l.Writes(l) - writes; n != 0 {
		l.Errorf("%d writes under names that are none", n)
	}
}

package main

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/store/storetest"
)

var shop = anycert.Certificate{Name: "shop", Domains: []string{"shop.example.com"}}

func bundleOf(t *testing.T, c anycert.Certificate) *anycert.Bundle {
	t.Helper()
	pair := testenv.IssueFrom(t, testenv.CA(t), certs.Options{Names: c.Domains})
	bundle, err := anycert.ParseBundle(pair.ChainPEM, pair.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return bundle
}

// An entry that nobody can read any more is replaced when that is said: the alarm about
// it says to put a good one there.
func TestImportOverWhatIsDamaged(t *testing.T) {
	for name, damage := range map[string]func(*storetest.Memory){
		"malformed": func(m *storetest.Memory) { m.WriteByHand("shop", "not a certificate", "not a key") },
		"deleted":   func(m *storetest.Memory) { m.WriteByHand("shop", "", ""); m.SoftDelete("shop") },
	} {
		t.Run(name, func(t *testing.T) {
			store := new(storetest.Memory)
			damage(store)
			bundle := bundleOf(t, shop)
			_, wrote, err := put(t.Context(), store, shop, bundle, false)
			if wrote || err == nil || !strings.Contains(err.Error(), "--replace") {
				t.Errorf("wrote %v, %v: want a refusal that names --replace", wrote, err)
			}
			version, wrote, err := put(t.Context(), store, shop, bundle, true)
			if err != nil || !wrote || version != 2 {
				t.Errorf("with --replace: version %d, wrote %v, %v", version, wrote, err)
			}
		})
	}
}

// Of two imports at once one writes, and the other says that it did not.
func TestImportsAtOnce(t *testing.T) {
	store := new(storetest.Memory)
	errs := make([]error, 8)
	var wait sync.WaitGroup
	for i := range errs {
		bundle := bundleOf(t, shop)
		wait.Go(func() { _, _, errs[i] = put(t.Context(), store, shop, bundle, false) })
	}
	wait.Wait()
	wrote := 0
	for _, err := range errs {
		switch {
		case err == nil:
			wrote++
		case errors.Is(err, anycert.ErrConflict) || strings.Contains(err.Error(), "--replace"):
		default:
			t.Error(err)
		}
	}
	if entry, err := store.Stat(t.Context(), "shop"); err != nil || wrote != 1 || entry.Version != 1 {
		t.Errorf("%d wrote, version %d, %v", wrote, entry.Version, err)
	}
}

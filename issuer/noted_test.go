package issuer_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/issuer"
	"github.com/anycert/anycert/store/storetest"
)

// What a request had revoked is told by the history of the certificate: which versions,
// since when, by whom and why.
func TestRevocationIsNoted(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	i, c := w.asks(), keepsKey()
	w.versions(i, c, 2)
	began := time.Now().Add(-time.Second)
	w.compromised(i, c, 2)
	obtain(t, i, c)
	if done, err := i.Settle(t.Context(), c, true); !done || err != nil {
		t.Fatalf("settled: %v, %v", done, err)
	}
	superseded(t, w, i, c)
	past, err := w.store.History(t.Context(), c.Name)
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[int]string{}
	for _, p := range past {
		if p.Revoked == nil {
			continue
		}
		reasons[p.Version] = p.Revoked.By + ": " + p.Revoked.Reason
		if at := p.Revoked.Time; at.Before(began) || time.Since(at) < 0 || at.Location() != time.UTC {
			t.Errorf("version %d was revoked at %v", p.Version, at)
		}
	}
	want := map[int]string{1: "ops@laptop: compromised", 2: "ops@laptop: compromised", 3: "ops@laptop: superseded"}
	if diff := cmp.Diff(want, reasons); diff != "" {
		t.Errorf("what the history tells (-want +got):\n%s", diff)
	}
}

// superseded has version 3 of a certificate replaced and revoked.
func superseded(t *testing.T, w *world, i *issuer.Issuer, c anycert.Certificate) {
	t.Helper()
	_, err := i.Request(t.Context(), c, anycert.Request{Time: w.now(), By: "ops@laptop", Version: 3, Superseded: true, Deadline: w.now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	obtain(t, i, c)
	if done, err := i.Settle(t.Context(), c, true); !done || err != nil {
		t.Fatalf("settled: %v, %v", done, err)
	}
}

// A store that cannot note it holds back neither the end of a request nor the destruction
// of the key, and it is told once.
func TestRevocationThatCannotBeNoted(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	w.store.Fail = func(op storetest.Op, _ string) error {
		if op == storetest.OpNote {
			return errors.New("no right to patch")
		}
		return nil
	}
	i, c := w.asks(), keepsKey()
	old := obtain(t, i, c)
	w.compromised(i, c, 1)
	obtain(t, i, c)
	done, err := i.Settle(t.Context(), c, true)
	if !done || err == nil || !strings.Contains(err.Error(), "certificate example: versions [1] were revoked, and history does not tell it: note example: no right to patch") {
		t.Errorf("settled: %v, %v", done, err)
	}
	if reason, revoked := w.acme.Revoked(old.Leaf); !revoked || reason != 1 {
		t.Error("it is not revoked")
	}
	if _, err := w.store.Get(t.Context(), c.Name, 1); !errors.Is(err, anycert.ErrDeleted) {
		t.Errorf("the key is in the store: %v", err)
	}
	if done, err := i.Settle(t.Context(), c, true); !done || err != nil {
		t.Errorf("settled once more: %v, %v", done, err)
	}
}

// Of what had expired no CA was asked, so nothing is noted.
func TestExpiredIsNotRevoked(t *testing.T) {
	w := newWorld(t, acmeserver.Options{})
	i, c := w.asks(), keepsKey()
	obtain(t, i, c)
	w.compromised(i, c, 1)
	obtain(t, i, c)
	w.pass(100 * 24 * time.Hour)
	if done, err := i.Settle(t.Context(), c, true); !done || err != nil {
		t.Fatalf("settled: %v, %v", done, err)
	}
	past, err := w.store.History(t.Context(), c.Name)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range past {
		if p.Revoked != nil {
			t.Errorf("version %d is said to be revoked: %+v", p.Version, p.Revoked)
		}
	}
}

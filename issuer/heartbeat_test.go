package issuer

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/store/storetest"
)

// claimed is work under way for a certificate, over a store that fails as told.
func claimed(t *testing.T, fail func() error) (*work, *storetest.Memory) {
	t.Helper()
	memory := &storetest.Memory{Fail: func(op storetest.Op, _ string) error {
		if op == storetest.OpSave {
			return fail()
		}
		return nil
	}}
	i, err := New(Options{Store: memory, Records: memory})
	if err != nil {
		t.Fatal(err)
	}
	w := &work{Issuer: i, certificate: anycert.Certificate{Name: "site"}, want: want{Domains: []string{"example.com"}, KeyType: anycert.EC256}}
	if err := w.claim(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w, memory
}

// TestClaimOutlivesALongWait: DNS may take an hour; nobody else may take over.
func TestClaimOutlivesALongWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := claimed(t, func() error { return nil })
		kept, stop := w.keep(t.Context())
		defer stop()
		for range 60 {
			time.Sleep(time.Minute)
			if !w.begun().Claim.held("other", time.Now()) {
				t.Fatal("the claim ran out")
			}
		}
		if kept.Err() != nil {
			t.Errorf("the order was ended: %v", context.Cause(kept))
		}
	})
}

// TestLostClaimEndsTheOrder within one beat.
func TestLostClaimEndsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, memory := claimed(t, func() error { return nil })
		kept, stop := w.keep(t.Context())
		defer stop()
		if _, err := memory.Save(t.Context(), anycert.KindOrder, "site", 1, anycert.NewSecret(`{"schema":1}`)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(beat + time.Second)
		if !errors.Is(context.Cause(kept), anycert.ErrClaimed) {
			t.Errorf("the order goes on: %v", context.Cause(kept))
		}
	})
}

// TestStoreThatIsAwayForAMoment ends no order, until the claim has run out.
func TestStoreThatIsAwayForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		w, _ := claimed(t, func() error {
			if away.Load() {
				return anycert.ErrUnavailable
			}
			return nil
		})
		kept, stop := w.keep(t.Context())
		defer stop()
		away.Store(true)
		time.Sleep(beat + time.Second)
		synctest.Wait()
		away.Store(false)
		time.Sleep(beat)
		if kept.Err() != nil {
			t.Fatalf("a beat was missed and the order ended: %v", context.Cause(kept))
		}
		synctest.Wait()
		away.Store(true)
		time.Sleep(claimTime + beat)
		if !errors.Is(context.Cause(kept), anycert.ErrUnavailable) {
			t.Errorf("nobody knows whose the order is, and it goes on: %v", context.Cause(kept))
		}
	})
}

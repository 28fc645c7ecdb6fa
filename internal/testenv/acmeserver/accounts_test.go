package acmeserver

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Pebble sees one request for a new account at a time, and others meanwhile.
func TestNewAccountsOneAtATime(t *testing.T) {
	var registering, most, nonces atomic.Int32
	pebble := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if KindOf(r) != KindNewAccount {
			nonces.Add(1)
			return
		}
		most.Store(max(most.Load(), registering.Add(1)))
		for deadline := time.Now().Add(10 * time.Second); nonces.Load() < 8 && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond) // until all are on their way
		}
		registering.Add(-1)
	})
	f := front{server: &Server{}, pebble: pebble}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { f.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/sign-me-up", nil)) })
		all.Go(func() { f.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodHead, "/nonce-plz", nil)) })
	}
	all.Wait()
	if most.Load() != 1 || nonces.Load() != 8 {
		t.Errorf("%d new accounts at once, beside %d nonces; want 1 and 8", most.Load(), nonces.Load())
	}
}

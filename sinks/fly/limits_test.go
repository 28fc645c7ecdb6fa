package fly

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/sinks/fly/flytest"
	"github.com/anycert/anycert/sinks/sinktest"
)

// limited opens a sink with the real pace on a stand-in with the real limit; no
// network is between them, so that time can be made to pass.
func limited(t *testing.T, hostnames ...string) (*Sink, *flytest.Server) {
	server := flytest.New(flytest.Options{Apps: map[string]string{appName: token}, RateLimit: true})
	handler := server.Handler()
	c := config("", hostnames...)
	c.Interval = 0
	sink := openOn(t, c, &credential{tokens: []string{token}}, roundTrip(func(r *http.Request) *http.Response {
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, r)
		return recorder.Result()
	}))
	return sink, server
}

// A second for each request of one kind after the first three, and never a 429.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink, server := limited(t, "example.com")
		target := targetOf(t, sink, "example.com")
		pair := sinktest.Issue(t, "example", sink.hostnames, 1)[0]
		start := time.Now()
		for range 10 {
			push(t, sink, target, pair)
			observe(t, sink, target) // another action, with a budget of its own
		}
		if took := time.Since(start); took < 7*time.Second || took > 8*time.Second {
			t.Errorf("ten imports and ten readings took %s, want 7 s", took)
		}
		if imports, reads := server.Requests("create_custom"), server.Requests("get"); imports != 10 || reads != 10 {
			t.Errorf("%d imports and %d readings, want ten of each", imports, reads)
		}
	})
}

// The repeats of flaps are paced as well.
func TestRepeatsArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink, server := limited(t, "example.com")
		server.FailAll(http.StatusServiceUnavailable)
		start := time.Now()
		for range 2 { // eight requests
			if _, err := sink.Observe(t.Context(), targetOf(t, sink, "example.com")); !errors.Is(err, anycert.ErrUnavailable) {
				t.Errorf("got %v, want ErrUnavailable", err)
			}
		}
		if took, n := time.Since(start), server.Requests("get"); n != 8 || took < 4900*time.Millisecond {
			t.Errorf("%d requests in %s, want 8 in about 5 s", n, took)
		}
	})
}

// A request whose turn comes after its deadline fails at once, and is not made.
func TestTurnAfterTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink, server := limited(t, "example.com")
		target := targetOf(t, sink, "example.com")
		pair := sinktest.Issue(t, "example", sink.hostnames, 1)[0]
		push(t, sink, target, pair)
		for range 3 {
			observe(t, sink, target)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := sink.Observe(ctx, target)
		if !errors.Is(err, anycert.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want ErrUnavailable and DeadlineExceeded", err)
		}
		if took, n := time.Since(start), server.Requests("get"); took != 0 || n != 3 {
			t.Errorf("it took %s and %d requests, want none and 3", took, n)
		}
		observe(t, sink, target)
	})
}

// Somebody else at the same app may use the budget up.
func TestRateLimited(t *testing.T) {
	sink, server := ready(t, "example.com")
	server.LimitRate(true)
	target := targetOf(t, sink, "example.com")
	var err error
	for range 40 { // the fourth within a second, however fast the machine is
		if _, err = sink.Observe(t.Context(), target); err != nil {
			break
		}
	}
	if !errors.Is(err, anycert.ErrUnavailable) {
		t.Errorf("many at once: %v, want ErrUnavailable", err)
	}
}

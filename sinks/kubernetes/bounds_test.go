package kubernetes

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
)

// hanging heeds no context, as a credential plugin of a kubeconfig.
type hanging chan struct{}

func (h hanging) RoundTrip(*http.Request) (*http.Response, error) {
	<-h
	return nil, errors.New("ended")
}

func TestRequestsThatHeedNoContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plugin := hanging(make(chan struct{}))
		transport := &bounded{next: plugin}
		ask := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), requestTimeout)
			defer cancel()
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://example.com", nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = transport.RoundTrip(request)
			return err
		}
		for range maxHanging {
			if err := ask(); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("%v, want the end of the context", err)
			}
		}
		if err := ask(); err == nil || !strings.Contains(err.Error(), "have not ended") {
			t.Errorf("one request more: %v", err)
		}
		close(plugin)
		synctest.Wait()
		if err := ask(); err == nil || err.Error() != "ended" {
			t.Errorf("after they have ended: %v", err)
		}
	})
}

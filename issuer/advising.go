package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// advising is where a CA gives advice, as its directory said last.
type advising struct {
	mu     sync.Mutex
	base   string // empty: it gives none
	until  time.Time
	misses int
}

// renewalInfo is where the CA gives advice; empty where it gives none. Its directory
// is asked for that every six hours at most, or after a pause that grows.
func (c *ca) renewalInfo(ctx context.Context, now time.Time) (string, error) {
	a := &c.advising
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Before(a.until) {
		return a.base, nil // an error was told once
	}
	directory := struct{ RenewalInfo string }{}
	_, err := c.get(ctx, c.directory, &directory)
	if err != nil {
		if ctx.Err() == nil {
			a.pause(now)
		}
		return "", fmt.Errorf("asking for its directory: %w", err)
	}
	a.base, a.until, a.misses = directory.RenewalInfo, now.Add(usualPause), 0
	return a.base, nil
}

// fail notes that there was no answer: the other certificates wait with their questions,
// and the pass does not wait for each of them.
func (a *advising) fail(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !now.Before(a.until) || a.base != "" {
		a.pause(now)
	}
}

func (a *advising) pause(now time.Time) {
	a.misses++
	a.base, a.until = "", now.Add(growing(a.misses))
}

// isAway reports whether a request had no answer at all.
func isAway(err error) bool {
	told := new(caError)
	return errors.As(err, &told) && told.theirs && told.status == 0
}

// get fetches a public JSON document of the CA's. It tells its Retry-After, also when
// it fails; 0 where there is none.
func (c *ca) get(ctx context.Context, address string, into any) (time.Duration, error) {
	transport, err := c.trusting()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, adviceTime, fmt.Errorf("the CA did not answer within %s", adviceTime))
	defer cancel()
	client, b := newClient(ctx, transport)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil || request.URL.Scheme != "https" {
		return 0, errors.New("the CA names an address that is no https URL")
	}
	request.Header.Set("User-Agent", c.userAgent)
	response, err := client.Do(request)
	if err != nil {
		return 0, b.problem(err)
	}
	defer response.Body.Close()
	pause := b.retryAfter(address)
	text, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return pause, b.problem(err)
	case response.StatusCode != http.StatusOK:
		return pause, fmt.Errorf("the CA answers with status %d", response.StatusCode)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return pause, errors.New("the CA's answer is not what RFC 9773 has it be")
	}
	return pause, nil
}

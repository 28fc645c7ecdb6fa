package calimits

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// The limits are those of the CA: the last token and no more, and what came back.
func TestStrict(t *testing.T) {
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	l := New(Published(), func() time.Time { return now })
	issue := func(n int, advised bool) (string, time.Duration) {
		a := ask{"account", []string{fmt.Sprintf("h%d.example.com", n)}, advised}
		refused, after, _ := l.admit(a)
		if refused == "" {
			path := fmt.Sprint("/finalize/", n, l.Now())
			l.opened(path, a)
			l.finalized(path)
			l.finalized(path) // the client asks again
		}
		return refused, after
	}
	for n := range 50 {
		if refused, _ := issue(n, false); refused != "" {
			t.Fatalf("certificate %d: %s", n, refused)
		}
	}
	refused, after := issue(50, false)
	if !strings.Contains(refused, `too many certificates (50) already issued for "example.com" in the last 168h0m0s, retry after `) || after != 12096*time.Second {
		t.Errorf("refused for %s: %q", after, refused)
	}
	if refused, _ := issue(51, true); refused != "" {
		t.Errorf("an advised renewal is refused: %s", refused)
	}
	for range 4 {
		if refused, _ := issue(3, false); refused != "" { // the same names again: a renewal
			t.Errorf("a renewal is refused: %s", refused)
		}
	}
	if refused, _ := issue(3, false); !strings.Contains(refused, "exact set of identifiers") {
		t.Errorf("a sixth certificate for the same names: %q", refused)
	}
	now = now.Add(after - time.Second)
	if refused, _ := issue(52, false); refused == "" {
		t.Error("a token is back a second early")
	}
	now = now.Add(time.Second)
	if refused, _ := issue(52, false); refused != "" {
		t.Errorf("no token is back: %s", refused)
	}
	if got := len(l.Refusals()); got != 3 {
		t.Errorf("%d refusals are noted, want 3", got)
	}
}

func TestFailuresCountOnce(t *testing.T) {
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	l := New(Published(), func() time.Time { return now })
	a := ask{account: "account", names: []string{"*.example.com"}}
	for n := range 5 {
		if refused, _, _ := l.admit(a); refused != "" {
			t.Fatal(refused)
		}
		l.Failed(fmt.Sprint(n), "account", "example.com")
		l.Failed(fmt.Sprint(n), "account", "example.com") // it is polled again
	}
	if refused, after, _ := l.admit(a); !strings.Contains(refused, `too many failed authorizations (5) for "example.com" in the last 1h0m0s`) || after != 12*time.Minute {
		t.Errorf("refused for %s: %q", after, refused)
	}
}

package issuer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/issuer/limits"
	"github.com/anycert/anycert/store/storetest"
)

// Many processes that take at once take exactly what there is. All have read the
// budget before the first of them writes, however few processors there are.
func TestManyTakeFromOneBudget(t *testing.T) {
	const processes = 8
	var saves atomic.Int64
	var meet, group sync.WaitGroup
	meet.Add(processes)
	store := &storetest.Memory{Fail: func(op storetest.Op, _ string) error {
		if op == storetest.OpSave && saves.Add(1) <= processes {
			meet.Done()
			meet.Wait()
		}
		return nil
	}}
	var mu sync.Mutex
	now := time.Now()
	taken, waiting := 0, 0
	for p := range processes {
		c := &ca{Config: Config{Name: "ca", Limits: limits.Config{Domain: "20 in 7d"}}, directory: "https://ca.example.com", records: store}
		group.Go(func() {
			for n := range 4 {
				order := spending{certificate: fmt.Sprintf("c%d-%d", p, n), names: []string{fmt.Sprintf("h%d-%d.example.com", p, n)}, urgency: anycert.New}
				err := c.take(context.Background(), order, now)
				mu.Lock()
				if late := new(anycert.PostponedError); err == nil {
					taken++
				} else if errors.As(err, &late) && late.Until.After(now) && strings.Contains(err.Error(), "20 certificates for example.com in 7 days lets it begin at") && strings.Contains(err.Error(), "ask the CA for a higher limit") {
					waiting++
				} else {
					t.Error(err)
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if taken != 18 || waiting != 14 {
		t.Errorf("%d were taken and %d wait, want 18 (20 less a tenth) and 14", taken, waiting)
	}
}

func TestObey(t *testing.T) {
	store, now := &storetest.Memory{}, time.Now()
	c := &ca{Config: Config{Name: "ca"}, directory: "https://ca.example.com", records: store}
	order := spending{certificate: "site", names: []string{"www.example.com"}}
	other := spending{certificate: "other", names: []string{"www.example.org"}}
	refusal := &caError{status: 429, kind: "rateLimited", retryAfter: time.Hour,
		error: errors.New(`too many certificates (50) already issued for "example.com" in the last 168h0m0s, retry after then`)}
	if err := c.obey(t.Context(), order, fmt.Errorf("making the order: %w", refusal), now); err != nil {
		t.Fatal(err)
	}
	if err := c.take(t.Context(), order, now); err == nil || !strings.Contains(err.Error(), "the CA asked to wait until") {
		t.Errorf("it does not wait: %v", err)
	}
	if err := c.take(t.Context(), other, now); err != nil {
		t.Errorf("another domain waits: %v", err)
	}
	busy := &caError{status: 503, retryAfter: time.Minute, error: errors.New("busy")}
	if err := c.obey(t.Context(), order, busy, now); err != nil {
		t.Fatal(err)
	}
	if err := c.take(t.Context(), other, now); err == nil {
		t.Error("nobody waits for a CA that is busy")
	}
	if err := c.take(t.Context(), other, now.Add(time.Minute)); err != nil {
		t.Error(err)
	}
}

func TestBudgetsThatCannotBeRead(t *testing.T) {
	for text, want := range map[string]string{`{"schema":2}`: "newer anycert", `{`: "delete it", `{"schema":1,"budgets":{"https://ca.example.com":{"holds":7}}}`: "delete it"} {
		store := &storetest.Memory{}
		if _, err := store.Save(t.Context(), anycert.KindBudget, "ca", 0, anycert.NewSecret(text)); err != nil {
			t.Fatal(err)
		}
		c := &ca{Config: Config{Name: "ca"}, directory: "https://ca.example.com", records: store}
		if err := c.take(t.Context(), spending{certificate: "site"}, time.Now()); err == nil || !strings.Contains(err.Error(), want) || !errors.As(err, new(uncounted)) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

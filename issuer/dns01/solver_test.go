package dns01

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anycert/anycert/internal/testenv"
)

// memory is a provider that holds its records in memory. single makes it as
// clumsy as the worst: a value replaces what was there, and cleaning up removes
// all.
type memory struct {
	single bool
	pause  time.Duration
	queue  bool
	wrote  func() error // called after a record was written

	mu      sync.Mutex
	records map[string][]string
	calls   []string
}

func (m *memory) present(_ context.Context, r record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = append(m.calls, "present "+r.Token)
	if m.records == nil {
		m.records = map[string][]string{}
	}
	if m.single {
		m.records[r.name] = nil
	}
	m.records[r.name] = append(m.records[r.name], r.value())
	if m.wrote != nil {
		return m.wrote()
	}
	return nil
}

func (m *memory) cleanUp(_ context.Context, r record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = append(m.calls, "clean "+r.Token)
	delete(m.records, r.name)
	return nil
}

func (m *memory) pace() (timeout, interval time.Duration) { return time.Minute, 100 * time.Millisecond }
func (m *memory) sequential() (time.Duration, bool)       { return m.pause, m.queue }

// shows reports whether the CA would see the value of a challenge.
func (m *memory) shows(name string, c Challenge) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Contains(m.records[name], c.value())
}

func (m *memory) solver(t *testing.T, locks *Locks) *Solver {
	t.Helper()
	r := &resolver{servers: []string{startDNS(t, nil)}, port: "53"}
	return &Solver{locks: locks, providers: []*opened{{config: Provider{Provider: "memory", Propagation: Unchecked}, backend: m, resolver: r}}}
}

// TestOrdersAtOneNameDoNotDisturbEachOther, whatever the provider does to a name.
func TestOrdersAtOneNameDoNotDisturbEachOther(t *testing.T) {
	m := &memory{}
	locks := new(Locks)
	solver := m.solver(t, locks)
	var group sync.WaitGroup
	for n := range 8 {
		group.Go(func() {
			challenges := []Challenge{
				{Domain: "example.com", Token: fmt.Sprint(n, "a"), KeyAuth: fmt.Sprint(n, "a.k")},
				{Domain: "example.com", Token: fmt.Sprint(n, "b"), KeyAuth: fmt.Sprint(n, "b.k")},
			}
			err := solver.Solve(t.Context(), challenges, false, func(_ context.Context, i int) error {
				if !m.shows("_acme-challenge.example.com.", challenges[i]) {
					return errors.New("the record is gone")
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if len(locks.held) != 0 {
		t.Errorf("locks are left: %v", locks.held)
	}
}

// TestSequentialProviderHasOneRecordAtATime.
func TestSequentialProviderHasOneRecordAtATime(t *testing.T) {
	m := &memory{single: true, queue: true}
	challenges := []Challenge{{Domain: "example.com", Token: "a", KeyAuth: "a.k"}, {Domain: "example.com", Token: "b", KeyAuth: "b.k"}, {Domain: "www.example.com", Token: "c", KeyAuth: "c.k"}}
	names := []string{"_acme-challenge.example.com.", "_acme-challenge.example.com.", "_acme-challenge.www.example.com."}
	err := m.solver(t, new(Locks)).Solve(t.Context(), challenges, false, func(_ context.Context, i int) error {
		if !m.shows(names[i], challenges[i]) {
			return fmt.Errorf("the record of %s is gone", challenges[i].Token)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if want := "present a,clean a,present b,clean b,present c,clean c"; strings.Join(m.calls, ",") != want {
		t.Errorf("the calls were %v", m.calls)
	}
}

// TestOneNameThatFailsLeavesTheOthers to be proven.
func TestOneNameThatFailsLeavesTheOthers(t *testing.T) {
	m := &memory{}
	var accepted sync.Map
	challenges := []Challenge{{Domain: "example.com"}, {Domain: "www.example.com"}, {Domain: "example.org"}}
	err := m.solver(t, new(Locks)).Solve(t.Context(), challenges, false, func(_ context.Context, i int) error {
		accepted.Store(i, true)
		if i == 1 {
			return errors.New("www is wrong")
		}
		return nil
	})
	if err == nil || err.Error() != "www is wrong" {
		t.Errorf("got %v", err)
	}
	for i := range challenges {
		if _, ok := accepted.Load(i); !ok {
			t.Errorf("challenge %d was not accepted", i)
		}
	}
	if len(m.records) != 0 {
		t.Errorf("records are left: %v", m.records)
	}
}

func TestLockEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		locks := new(Locks)
		unlock, err := locks.lock(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := locks.lock(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if other, err := locks.lock(t.Context(), "b"); err != nil {
			t.Error(err)
		} else {
			other()
		}
		unlock()
		again, err := locks.lock(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		again()
	})
}

// TestResolversAreNotMixed: issuers with different resolvers take turns at lego's
// list.
func TestResolversAreNotMixed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newLegoGlobals()
		first := g.use([]string{"192.0.2.1:53"}, true)
		same := g.use([]string{"192.0.2.1:53"}, true) // does not wait
		turn := false
		go func() {
			release := g.use([]string{"192.0.2.2:53"}, true)
			turn = true
			release()
		}()
		synctest.Wait()
		first()
		synctest.Wait()
		if turn {
			t.Error("the list was changed under a user's hands")
		}
		same()
		synctest.Wait()
		if !turn {
			t.Error("the list was not handed on")
		}
	})
}

// TestRecordsOfAnEarlierProcessAreLeft where they are: some providers refuse to
// write what is there. The one that is missing is written.
func TestRecordsOfAnEarlierProcessAreLeft(t *testing.T) {
	server := testenv.DNS(t, "example.com")
	challenges := []Challenge{{Domain: "example.com", Token: "a", KeyAuth: "a.k"}, {Domain: "example.com", Token: "b", KeyAuth: "b.k"}}
	if err := server.Add(fmt.Sprintf("_acme-challenge.example.com. 1 IN TXT %q", challenges[0].value())); err != nil {
		t.Fatal(err)
	}
	m := &memory{}
	r := &resolver{servers: []string{server.Addr}}
	solver := &Solver{locks: new(Locks), providers: []*opened{{config: Provider{Propagation: ByResolvers}, backend: m, resolver: r}}}
	m.wrote = func() error {
		return server.Add(fmt.Sprintf("_acme-challenge.example.com. 1 IN TXT %q", challenges[1].value()))
	}
	if err := solver.Solve(t.Context(), challenges, true, func(context.Context, int) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if want := "present b,clean a,clean b"; strings.Join(m.calls, ",") != want {
		t.Errorf("the calls were %v, want %s", m.calls, want)
	}
}

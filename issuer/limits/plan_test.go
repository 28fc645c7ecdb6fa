package limits

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// What Plan tells is what Take does when each order is tried again all the time.
func TestPlanIsWhatHappens(t *testing.T) {
	table := Table{Orders: Limit{6, time.Hour}, Domain: Limit{5, 10 * time.Hour}, Set: Limit{2, 5 * time.Hour}, Failures: Limit{5, time.Hour}, Renewals: true}
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 1))
		var turns []Turn
		for n := range 40 {
			turn := Turn{Rank: r.IntN(5), From: begin.Add(time.Duration(r.IntN(600)) * time.Minute)}
			turn.Order = Order{Certificate: fmt.Sprint("c", n), Exempt: Exemption(r.IntN(3)), Urgent: turn.Rank > 2,
				Names: []string{fmt.Sprintf("h%d.example%d.com", r.IntN(5), r.IntN(3))}}
			turns = append(turns, turn)
		}
		b := new(Budget)
		b.Take(table, turns[0].Order, begin.Add(-time.Minute))
		b.Issued(table, turns[0].Order, begin.Add(-time.Minute))
		planned := again(t, b).Plan(table, turns, begin)
		for i, at := range happens(t, b, table, turns) {
			if gap := planned[i].At.Sub(at).Abs(); gap > time.Minute {
				t.Errorf("seed %d: %+v begins at %s, planned for %s (%v)", seed, turns[i], at, planned[i].At, planned[i].Wait)
			}
		}
	}
}

// happens tries each order every ten seconds, those of a higher rank first.
func happens(t *testing.T, b *Budget, table Table, turns []Turn) map[int]time.Time {
	t.Helper()
	p := planner{turns: turns}
	begun := map[int]time.Time{}
	for now := begin; len(begun) < len(turns); now = now.Add(10 * time.Second) {
		if now.Sub(begin) > 60*day {
			t.Fatal("it does not end")
		}
		for rank := 4; rank >= 0; rank-- {
			var best []int
			for i, turn := range turns {
				if _, ok := begun[i]; !ok && turn.Rank == rank && !turn.From.After(now) {
					best = append(best, i)
				}
			}
			for len(best) > 0 {
				first := 0
				for i := range best {
					if p.compare(best[i], best[first]) < 0 {
						first = i
					}
				}
				i := best[first]
				best = append(best[:first], best[first+1:]...)
				if b.Take(table, turns[i].Order, now) == nil {
					b.Issued(table, turns[i].Order, now)
					begun[i] = now
				}
			}
		}
	}
	return begun
}

func TestPlanOfBlocksAndOrdersUnderWay(t *testing.T) {
	b := new(Budget)
	for n := range 45 {
		b.Take(LetsEncrypt(), order(n, Counted), begin)
	}
	b.Block(Everything, begin.Add(time.Hour), begin, "busy")
	starts := b.Plan(LetsEncrypt(), []Turn{{Order: order(3, Counted)}, {Order: order(77, Counted)}}, begin)
	if at := starts[0].At.Sub(begin); at != time.Hour || !starts[0].Wait.Asked {
		t.Errorf("one that was begun goes on after %s: %v", at, starts[0].Wait)
	}
	if at := starts[1].At.Sub(begin); at != 12096*time.Second || starts[1].Wait.Asked {
		t.Errorf("one more begins after %s: %v", at, starts[1].Wait)
	}
}

// Ten thousand certificates: of one domain, of a domain each, and mixed.
func TestPlanOfMany(t *testing.T) {
	for name, domain := range map[string]func(int) string{
		"one domain":    func(int) string { return "example.com" },
		"a domain each": func(n int) string { return fmt.Sprintf("example%d.com", n) },
		"a hundred":     func(n int) string { return fmt.Sprintf("example%d.com", n%100) },
	} {
		turns := make([]Turn, 10_000)
		for n := range turns {
			turns[n] = Turn{Rank: n % 5, Order: Order{Certificate: fmt.Sprint("c", n),
				Names: []string{fmt.Sprintf("h%d.%s", n, domain(n)), "example.org"}, Urgent: n%5 > 2}}
			if name != "one domain" {
				turns[n].Names = turns[n].Names[:1]
			}
		}
		b, begun := new(Budget), time.Now()
		starts := b.Plan(LetsEncrypt(), turns, begin)
		last := time.Time{}
		for _, start := range starts {
			if start.At.After(last) {
				last = start.At
			}
		}
		t.Logf("%s: planned in %s, the last begins after %s", name, time.Since(begun).Round(time.Millisecond), last.Sub(begin))
		if last.IsZero() {
			t.Error("nothing was planned")
		}
	}
}

func BenchmarkPlan(b *testing.B) {
	turns := make([]Turn, 10_000)
	for n := range turns {
		turns[n] = Turn{Rank: n % 5, Order: Order{Certificate: fmt.Sprint("c", n), Names: []string{fmt.Sprintf("h%d.example%d.com", n, n%300)}}}
	}
	for b.Loop() {
		new(Budget).Plan(LetsEncrypt(), turns, begin)
	}
}

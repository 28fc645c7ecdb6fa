package main

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
)

// point is a moment at which the daemon is killed: just before a call leaves it, or
// when the other side has answered and the daemon has not heard of it.
type point struct {
	call  string // such as "acme newOrder"
	after bool
}

func (p point) compare(q point) int {
	if p.call == q.call && p.after != q.after {
		if q.after {
			return -1
		}
		return 1
	}
	return strings.Compare(p.call, q.call)
}

// book remembers every point that was ever passed and how often the daemon was killed
// there. It may be used by several goroutines at once.
type book struct {
	mu     sync.Mutex
	dice   *rand.Rand
	kills  map[point]int
	missed map[point]int // lives that were to end at a point and never came there
	hand   []point       // where the life ends that runs now: at the first that comes along
	random int           // kills at moments that the dice chose

	only []point // the only hand that is ever dealt; nil: see deal
}

func newBook(seed uint64) *book {
	return &book{dice: rand.New(rand.NewPCG(seed, 0)), kills: map[point]int{}, missed: map[point]int{}}
}

// deal chooses where the next life is to end: at one of the points that had the fewest
// turns. It is false as long as no point is known.
func (b *book) deal() bool {
	const most = 4
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hand = b.only; b.hand != nil {
		return true
	}
	known := slices.SortedFunc(maps.Keys(b.kills), point.compare)
	b.dice.Shuffle(len(known), func(i, j int) { known[i], known[j] = known[j], known[i] })
	slices.SortStableFunc(known, func(p, q point) int { return b.kills[p] + b.missed[p] - b.kills[q] - b.missed[q] })
	b.hand = known[:min(most, len(known))]
	return len(known) > 0
}

// pass notes that a daemon came to p and tells whether it is to be killed there: if so
// it counts as killed.
func (b *book) pass(p point, armed bool) (kill bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kill = armed && slices.Contains(b.hand, p)
	if kill {
		b.kills[p]++
	} else {
		b.kills[p] += 0 // it is known from now on
	}
	return kill
}

// chance notes a kill at a moment of the dice's choice, which may be that of a life
// that came to none of its points.
func (b *book) chance(missed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.random++
	for _, p := range b.hand {
		if missed {
			b.missed[p]++
		}
	}
}

// roll is a number below n.
func (b *book) roll(n int64) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dice.Int64N(n)
}

// line is a call in the table.
type line struct {
	call          string
	before, after int
}

// lines is the book by calls.
func (b *book) lines() []line {
	b.mu.Lock()
	defer b.mu.Unlock()
	var lines []line
	for _, p := range slices.SortedFunc(maps.Keys(b.kills), point.compare) {
		if len(lines) == 0 || lines[len(lines)-1].call != p.call {
			lines = append(lines, line{call: p.call})
		}
		last := &lines[len(lines)-1]
		if p.after {
			last.after = b.kills[p]
		} else {
			last.before = b.kills[p]
		}
	}
	return lines
}

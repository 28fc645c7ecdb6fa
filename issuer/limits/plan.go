package limits

import (
	"cmp"
	"container/heap"
	"slices"
	"time"
)

// Turn is an order in a plan.
type Turn struct {
	Order
	Rank int       // the higher, the sooner
	From time.Time // not before
}

// Start is when the order of a Turn can begin.
type Start struct {
	At   time.Time
	Wait *Wait // what it waits for the longest; nil when nothing
}

// Plan tells when each of turns can begin, if each begins as soon as it can, leads to
// a certificate at once, and gives way to those of a higher rank. Of equal ranks the
// one that may begin earlier goes first, then the one that stands before. It takes
// nothing from the budget. It takes about n log n steps.
func (b *Budget) Plan(t Table, turns []Turn, now time.Time) []Start {
	b.Tidy(t, now)
	p := planner{budget: b, table: t, full: make(map[string]int64, len(b.buckets)), queues: map[string]*queue{},
		starts: make([]Start, len(turns)), turns: turns, needs: make([][]need, len(turns)), places: make([]int, len(turns))}
	for key, full := range b.buckets {
		p.full[key] = full
	}
	for key, count := range b.underWay(t, "") { // as if they were taken now
		if limit := t.limit(key); !limit.none() {
			p.full[key] = max(p.full[key], now.UnixMilli()) + int64(count)*limit.refill().Milliseconds()
		}
	}
	order := make([]int, len(turns))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, p.compare)
	for place, i := range order {
		p.arrive(i, place, now)
	}
	for p.events.Len() > 0 {
		e := heap.Pop(&p.events).(event)
		p.wake(e)
	}
	return p.starts
}

// planner moves through time from one event to the next. An order that cannot begin
// stands in the queue of that bucket which opens last; when it opens, the first in the
// queue is tried.
type planner struct {
	budget *Budget
	table  Table
	turns  []Turn
	needs  [][]need
	starts []Start
	places []int // of the orders, if all could begin

	full   map[string]int64  // buckets, when each is full again
	queues map[string]*queue // by bucket
	events events
}

// event is the moment at which something may begin: an order that was not to begin
// before (turn), or the first in the queue of a bucket (key).
type event struct {
	at    int64
	place int // of the order, or of the first in the queue, among all; breaks ties
	turn  int // or -1
	key   string
}

// compare puts orders into the order in which they begin, if all can.
func (p *planner) compare(i, j int) int {
	a, b := p.turns[i], p.turns[j]
	return cmp.Or(-cmp.Compare(a.Rank, b.Rank), a.From.Compare(b.From), cmp.Compare(i, j))
}

// arrive lets an order wait for the moment before which it is not to begin.
func (p *planner) arrive(i, place int, now time.Time) {
	p.places[i] = place
	turn := p.turns[i]
	at := now.UnixMilli()
	if turn.From.After(now) { // what is due now is not due a millisecond later
		at = ceil(turn.From)
	}
	for _, key := range p.table.blocking(turn.Order) {
		if x, ok := p.budget.blocks[key]; ok && x.Until > at {
			at = x.Until
			p.starts[i].Wait = new(x.wait())
		}
	}
	if !p.budget.UnderWay(turn.Certificate) { // else it goes on with what it has taken
		p.needs[i] = p.table.needs(turn.Order)
	}
	heap.Push(&p.events, event{at: at, place: place, turn: i})
}

func ceil(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Add(time.Millisecond - 1).UnixMilli()
}

func (p *planner) wake(e event) {
	if e.turn >= 0 {
		p.try(e.turn, e.at)
		return
	}
	q := p.queues[e.key]
	if q.next = 0; q.Len() == 0 {
		return
	}
	if opens := p.opens(q.turns[0], q.need, e.at); opens > e.at {
		p.schedule(q, opens)
		return
	}
	p.try(heap.Pop(q).(int), e.at)
	if q.Len() > 0 {
		p.schedule(q, e.at)
	}
}

// try lets an order begin, or puts it into a queue.
func (p *planner) try(i int, at int64) {
	var last *queue
	latest := at
	for _, n := range p.needs[i] {
		opens := p.opens(i, n, at)
		q := p.queues[n.key]
		if opens == at && q != nil && q.Len() > 0 && p.places[q.turns[0]] < p.places[i] {
			opens = at + 1 // after the one that is before it
		}
		if opens > latest {
			if q == nil {
				q = &queue{places: p.places, need: n}
				p.queues[n.key] = q
			}
			latest, last = opens, q
		}
	}
	if last != nil {
		p.starts[i].Wait = new(last.need.wait())
		heap.Push(last, i)
		p.schedule(last, latest)
		return
	}
	p.begin(i, at)
}

func (p *planner) begin(i int, at int64) {
	p.starts[i].At = time.UnixMilli(at).UTC()
	if wait := p.starts[i].Wait; wait != nil {
		wait.Until = p.starts[i].At
	}
	if len(p.needs[i]) == 0 {
		return
	}
	spend := p.table.costs(p.turns[i].Order)
	if p.table.exempt(p.turns[i].Order) == Counted && !p.table.Orders.none() {
		spend = append(spend, keyOrders)
	}
	for _, key := range spend {
		p.full[key] = p.table.limit(key).less(p.full[key], at)
	}
}

func (p *planner) opens(i int, n need, at int64) int64 {
	return n.opens(max(p.full[n.key], at), at, n.keep(p.turns[i].Order))
}

// schedule wakes a queue at a moment, unless it wakes before.
func (p *planner) schedule(q *queue, at int64) {
	if q.next != 0 && q.next <= at {
		return
	}
	q.next = at
	heap.Push(&p.events, event{at: at, place: p.places[q.turns[0]], turn: -1, key: q.need.key})
}

// queue are the orders that wait for a bucket, the next one first.
type queue struct {
	need   need
	turns  []int
	places []int // of all orders
	next   int64 // when it is looked at; 0: not yet known
}

func (q *queue) Len() int           { return len(q.turns) }
func (q *queue) Less(i, j int) bool { return q.places[q.turns[i]] < q.places[q.turns[j]] }
func (q *queue) Swap(i, j int)      { q.turns[i], q.turns[j] = q.turns[j], q.turns[i] }
func (q *queue) Push(x any)         { q.turns = append(q.turns, x.(int)) }
func (q *queue) Pop() any {
	last := q.turns[len(q.turns)-1]
	q.turns = q.turns[:len(q.turns)-1]
	return last
}

// events are those to come, the earliest first.
type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(e[i].at, e[j].at), cmp.Compare(e[i].place, e[j].place)) < 0
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

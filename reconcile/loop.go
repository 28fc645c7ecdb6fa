package reconcile

import (
	"context"
	"sync"
	"time"
)

// Schedule tells when the next pass is due; robfig/cron's schedules are of this kind.
type Schedule interface{ Next(time.Time) time.Time }

// Loop makes passes until it is told to end. Each sink has a worker of its own: one
// that is slow, stuck or dead delays none of the others, and finds the newest truth
// when it is done (law 8).
type Loop struct {
	schedule Schedule
	health   *Health

	hub    *Hub
	reload chan reloaded
	wake   chan struct{} // a certificate was obtained: do not wait for the next tick
}

type reloaded struct {
	parts    Parts
	schedule Schedule
	taken    chan<- struct{} // closed when nothing works on the old parts any more
}

// grace is how long passes and orders that are under way may go on after the end was
// asked for. Both can be broken off at any point.
const grace = 5 * time.Second

// breakOff is how long after that they have to notice.
const breakOff = time.Second

// NewLoop makes a loop over hub.
func NewLoop(hub *Hub, schedule Schedule) *Loop {
	return &Loop{
		schedule: schedule,
		health:   newHealth(hub),
		hub:      hub,
		reload:   make(chan reloaded),
		wake:     make(chan struct{}, 1),
	}
}

// Health tells how the loop does. It may be asked at any time.
func (l *Loop) Health() *Health { return l.health }

// Reload swaps the configuration between two passes. It returns nil when nothing
// works on the old one any more, but for what heeds no context, and an error when
// ctx ended before the new one was taken.
func (l *Loop) Reload(ctx context.Context, parts Parts, schedule Schedule) error {
	taken := make(chan struct{})
	select {
	case l.reload <- reloaded{parts, schedule, taken}:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-taken:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run makes the first pass at once and then one at each tick, until ctx ends. It
// returns within the grace and a second, whatever a sink does.
func (l *Loop) Run(ctx context.Context) {
	round := l.begin(ctx)
	round.tick()
	timer := time.NewTimer(l.untilNext())
	defer timer.Stop()
	for {
		l.health.turned(time.Now(), l.untilNext())
		select {
		case <-ctx.Done():
			round.end()
			return
		case <-timer.C:
			round.tick()
		case <-l.wake:
			round.tick()
		case next := <-l.reload:
			round.end()
			if ctx.Err() != nil {
				return // nothing new is begun, the grace is over
			}
			l.hub, l.schedule = l.hub.With(next.parts), next.schedule
			l.hub.seen.declared(l.hub.Agents)
			l.health.configured(l.hub)
			close(next.taken)
			round = l.begin(ctx)
			round.tick()
		}
		timer.Reset(l.untilNext())
	}
}

func (l *Loop) untilNext() time.Duration {
	now := time.Now()
	return max(l.schedule.Next(now).Sub(now), time.Second)
}

// round is the goroutines that work on one configuration: a reader of the store, and
// for each sink a worker and who watches what the world is served from there.
type round struct {
	hub    *Hub
	health *Health
	wake   chan<- struct{}

	asked context.Context // ends when no new work is to be begun
	work  context.Context // ends when the grace is over
	stop  context.CancelFunc
	abort context.CancelFunc
	wait  sync.WaitGroup
	ticks chan struct{}
	boxes []chan assessment
}

func (l *Loop) begin(ctx context.Context) *round {
	r := &round{hub: l.hub, health: l.health, wake: l.wake, ticks: make(chan struct{}, 1)}
	r.asked, r.stop = context.WithCancel(ctx)
	r.work, r.abort = context.WithCancel(context.WithoutCancel(ctx))
	for _, agent := range l.hub.Agents {
		if agent.Suspended {
			continue
		}
		box := make(chan assessment, 1)
		r.boxes = append(r.boxes, box)
		passed := func([]Promise) {}
		if l.hub.Witness != nil && agent.Endpoints != nil {
			after := make(chan []Promise, 1)
			passed = func(promises []Promise) { replace(after, promises) }
			r.wait.Go(func() { r.watch(agent, after) })
		}
		r.wait.Go(func() { r.serve(agent, box, passed) })
	}
	r.wait.Go(r.read)
	return r
}

// tick asks for a pass. While one is being prepared, it is not asked for twice.
func (r *round) tick() { offer(r.ticks, struct{}{}) }

// end lets what is under way come to its end, breaks it off when the grace is over,
// and waits, but not for what does not heed its context, like a disk that hangs: that
// is left to itself.
func (r *round) end() {
	r.stop()
	defer r.abort()
	ended := make(chan struct{})
	go func() { defer close(ended); r.wait.Wait() }()
	for _, patience := range []time.Duration{grace, breakOff} {
		select {
		case <-ended:
			return
		case <-time.After(patience):
			r.abort()
		}
	}
}

// read asks the store at each tick, hands the answer to every worker, and has due
// certificates obtained. A store that cannot be read is an answer as well: the
// workers then know nothing, and change nothing.
func (r *round) read() {
	for {
		select {
		case <-r.asked.Done():
			return
		case <-r.ticks:
		}
		truth := r.hub.truth(r.work, r.hub.Certificates)
		if r.work.Err() != nil {
			return
		}
		for name, known := range truth {
			r.hub.log.store(name, known)
		}
		look := r.hub.assessment(truth, Only{}, nil)
		for _, box := range r.boxes {
			replace(box, look)
		}
		now := time.Now()
		states := r.hub.states(truth, now)
		r.health.read(now, states, r.hub.report(r.hub.Certificates, truth, now).Certificates, r.hub.plights(truth, states, now), r.hub.overdue(truth, now))
		r.obtain(truth)
	}
}

// obtain has what is due obtained, and asks for a pass as soon as one of them was. It
// does not wait for them: a slow CA delays no pass. Orders end as soon as the end is
// asked for, since they need the grace to tidy up, and are gone on with later.
func (r *round) obtain(truth Truth) {
	r.wait.Go(func() { r.hub.obtain(r.asked, truth, func() { offer(r.wake, struct{}{}) }) })
}

// serve does the passes of one sink, and calls passed after each.
func (r *round) serve(agent Agent, box <-chan assessment, passed func([]Promise)) {
	for {
		select {
		case <-r.asked.Done():
			return
		case look := <-box:
			look.now = time.Now()
			promises := r.hub.pass(r.work, agent, look)
			if r.work.Err() != nil { // broken off: it tells nothing
				return
			}
			r.hub.note(r.work, agent, following(promises))
			r.health.passed(agent.Name, look.now, time.Now(), promises)
			passed(promises)
			r.release(agent)
		}
	}
}

// offer puts v into a channel that holds one, unless one is there.
func offer[T any](box chan<- T, v T) {
	select {
	case box <- v:
	default:
	}
}

// replace puts v into a channel that holds one, in place of what is there. There is
// one sender.
func replace[T any](box chan T, v T) {
	select {
	case <-box:
	default:
	}
	box <- v
}

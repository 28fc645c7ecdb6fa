package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/anycert/anycert"
)

const (
	pushers       = 4               // certificates of one sink pushed at once
	pushTimeout   = 2 * time.Minute // for one target
	finishTimeout = 2 * time.Minute
)

// application is the half of a pass that writes. Nothing else in anycert pushes.
type application struct {
	store   anycert.Store
	indexer *indexer
	look    assessment
	rivals  *rivals
	// restrain takes their actions from promises that have to wait.
	restrain func(assessment, []*Promise)
}

// apply does what the promises' actions say, and writes what became of it into
// them. What was pushed is observed again: the verdict is what was seen, not what
// was sent. A target that fails delays none of another certificate.
func (a application) apply(ctx context.Context, agent Agent, promises []Promise) {
	a.look.now = time.Now() // it may have taken a while to look
	a.recheck(ctx, promises)
	a.restrain(a.look, refs(promises))
	a.rivals.name(promises, a.look.now)
	patience := patience{limit: pushers, hurry: 10 * time.Second}
	var group errgroup.Group
	group.SetLimit(pushers)
	for _, batch := range byCertificate(promises) {
		group.Go(func() error {
			a.pushAll(ctx, agent, batch, &patience)
			return nil
		})
	}
	_ = group.Wait()
	finish(ctx, agent, promises)
	a.lookAgain(ctx, agent, promises)
}

// recheck asks the store once more about each certificate that something is to be
// done about, and judges anew: the look at the sink may have taken a while, and
// another daemon may have been quicker.
func (a application) recheck(ctx context.Context, promises []Promise) {
	doubtful := func(p Promise) bool { return p.Action != None || p.Verdict == Held }
	var names []string
	for _, p := range promises {
		if doubtful(p) {
			names = append(names, p.Certificate)
		}
	}
	slices.Sort(names)
	fresh := readAll(ctx, slices.Compact(names), a.indexer.stat)
	for i := range promises {
		p := &promises[i]
		if !doubtful(*p) {
			continue
		}
		s := *p.sighting
		s.known, s.now = fresh[p.Certificate], a.look.now
		a.look.conclude(p, &s)
	}
}

// byCertificate groups the promises that want an action: the targets of one
// certificate are pushed one after the other, since sinks share work between them.
func byCertificate(promises []Promise) [][]*Promise {
	var batches [][]*Promise
	at := make(map[string]int)
	for i := range promises {
		p := &promises[i]
		if p.Action == None {
			continue
		}
		j, ok := at[p.Certificate]
		if !ok {
			j = len(batches)
			at[p.Certificate] = j
			batches = append(batches, nil)
		}
		batches[j] = append(batches[j], p)
	}
	return batches
}

// pushAll reads the bundle of one certificate once and pushes it to each target.
func (a application) pushAll(ctx context.Context, agent Agent, batch []*Promise, patience *patience) {
	entry := *batch[0].sighting.known.Entry
	bundle, err := a.bundle(ctx, entry, *batch[0].sighting.certificate)
	for _, p := range batch {
		if err != nil {
			p.fail(err)
			continue
		}
		p.Pushed, p.Because = true, p.Reason
		if err := patience.ask(ctx, pushTimeout, func(ctx context.Context) error {
			return push(ctx, agent.Sink, p.target, entry, bundle)
		}); err != nil {
			p.fail(err)
		}
	}
}

// bundle reads the key. What it brings must be what the metadata promised; when it
// is not, the metadata is mended and the next pass goes by that.
func (a application) bundle(ctx context.Context, entry anycert.Entry, certificate anycert.Certificate) (*anycert.Bundle, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	bundle, err := a.store.Get(ctx, entry.Name, entry.Version)
	if err != nil {
		return nil, err
	}
	if bundle.Digest() != entry.Digest {
		if _, err := a.store.Index(ctx, entry.Name); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("certificate %s: the metadata of version %d spoke of another certificate than its data; it was mended, the next pass goes by the data", entry.Name, entry.Version)
	}
	if err := anycert.Check(bundle.Leaf(), certificate.Domains, a.look.now); err != nil {
		return nil, fmt.Errorf("certificate %s: version %d in the store is %w", entry.Name, entry.Version, err)
	}
	return bundle, nil
}

func push(ctx context.Context, sink anycert.Sink, target anycert.Target, entry anycert.Entry, bundle *anycert.Bundle) (err error) {
	defer recovered("pushing "+target.Certificate+" to "+target.Label, &err)
	return sink.Push(ctx, target, entry, bundle)
}

// finish lets a sink do what it does once after all pushes. When that fails, what
// was pushed is there but not in use: every promise of it says so.
func finish(ctx context.Context, agent Agent, promises []Promise) {
	finisher, ok := agent.Sink.(anycert.Finisher)
	if !ok || !anyPushed(promises) {
		return
	}
	err := func() (err error) {
		defer recovered("finishing sink "+agent.Name, &err)
		ctx, cancel := context.WithTimeout(ctx, finishTimeout)
		defer cancel()
		return finisher.Finish(ctx)
	}()
	if err == nil {
		return
	}
	for i := range promises {
		if p := &promises[i]; p.Pushed && p.Err == nil {
			p.fail(err)
			p.unfinished = true
		}
	}
}

// lookAgain observes what was pushed. The verdict is what is seen, also where a push
// failed: its answer was lost, or another process of this hub was quicker.
func (a application) lookAgain(ctx context.Context, agent Agent, promises []Promise) {
	var again []Promise
	var places []int // where they stand among all
	for i, p := range promises {
		if p.Pushed && !p.unfinished {
			p.Err = nil
			again, places = append(again, p), append(places, i)
		}
	}
	if len(again) == 0 {
		return
	}
	for i, s := range a.look.sightings(ctx, agent, again) {
		p := &promises[places[i]]
		tried, did := *p, p.Action
		s.known = p.sighting.known
		a.look.conclude(p, s)
		if tried.Err != nil && p.Verdict != Kept {
			*p = tried
			continue
		}
		if p.Action != None {
			p.Reason = "it was pushed, and then seen again: " + p.Reason
		}
		p.Action = did
	}
}

// fail records why a push did not happen or did not succeed.
func (p *Promise) fail(err error) {
	p.Err, p.Reason = err, err.Error()
	p.Verdict = Broken
	if errors.Is(err, anycert.ErrRefused) {
		p.Verdict = Refused
	}
}

func anyPushed(promises []Promise) bool {
	for _, p := range promises {
		if p.Pushed {
			return true
		}
	}
	return false
}

package dns01

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/failures"
)

const (
	// namesAtOnce bounds the names of one order that are worked at together.
	namesAtOnce = 8
	// cleanUpTime is what cleaning up may take, and lastCleanUp what is left of it
	// when the order's context has ended: the process is about to stop.
	cleanUpTime = time.Minute
	lastCleanUp = 4 * time.Second
)

// batch are challenges whose records stand at one name.
type batch struct {
	place
	challenges []Challenge
	indexes    []int // of the challenges, as accept wants them
}

// Solve writes the records of challenges, waits until they are seen, calls accept
// for each with its index, and removes the records when accept has returned,
// whatever it returned. accept is called by several goroutines at once. resumed
// says that an earlier process may have written the records already.
//
// Each name goes its own way: one that fails leaves the others to be proven, which
// the CA remembers for the next attempt. The error joins what failed, each with
// its domain.
func (s *Solver) Solve(ctx context.Context, challenges []Challenge, resumed bool, accept func(ctx context.Context, index int) error) error {
	batches, err := s.batches(ctx, challenges)
	if err != nil {
		return err
	}
	var lines [][]batch // each line is worked off in order
	queues := map[*opened][]batch{}
	for _, b := range batches {
		if _, is := b.by.sequential(); is {
			queues[b.by] = append(queues[b.by], b.split()...)
			continue
		}
		lines = append(lines, []batch{b})
	}
	for _, queue := range queues {
		lines = append(lines, queue)
	}
	errs := make([]error, len(lines))
	var group errgroup.Group
	group.SetLimit(namesAtOnce)
	for i, line := range lines {
		group.Go(func() error {
			errs[i] = s.solveLine(ctx, line, resumed, accept)
			return nil
		})
	}
	_ = group.Wait()
	return failures.Join(errs...)
}

// split makes a batch of each challenge, for providers that hold one value.
func (b batch) split() (each []batch) {
	for i := range b.challenges {
		each = append(each, batch{place: b.place, challenges: b.challenges[i : i+1], indexes: b.indexes[i : i+1]})
	}
	return each
}

// batches finds out where the records belong.
func (s *Solver) batches(ctx context.Context, challenges []Challenge) ([]batch, error) {
	var domains []string
	for _, challenge := range challenges {
		domains = append(domains, challenge.Domain)
	}
	places, errs := s.places(ctx, domains)
	if err := failures.Join(errs...); err != nil {
		return nil, err
	}
	var batches []batch
	for i, challenge := range challenges {
		at := places[challenge.Domain]
		n := slices.IndexFunc(batches, func(b batch) bool { return b.place == at })
		if n < 0 {
			n = len(batches)
			batches = append(batches, batch{place: at})
		}
		batches[n].challenges = append(batches[n].challenges, challenge)
		batches[n].indexes = append(batches[n].indexes, i)
	}
	return batches, nil
}

func (s *Solver) solveLine(ctx context.Context, line []batch, resumed bool, accept func(context.Context, int) error) error {
	var errs []error
	for i, b := range line {
		if pause, _ := b.by.sequential(); i > 0 && pause > 0 {
			if err := sleep(ctx, pause); err != nil {
				return failures.Join(append(errs, err)...)
			}
		}
		errs = append(errs, s.solve(ctx, b, resumed, accept))
	}
	return failures.Join(errs...)
}

// solve works at one name.
func (s *Solver) solve(ctx context.Context, b batch, resumed bool, accept func(context.Context, int) error) error {
	unlock, err := s.locks.lock(ctx, b.name)
	if err != nil {
		return err
	}
	defer unlock()
	defer b.cleanUp(ctx)
	if err := b.present(ctx, resumed); err != nil {
		return fmt.Errorf("%s: writing the record %s with DNS provider %s: %w", b.challenges[0].Domain, strings.TrimSuffix(b.name, "."), b.by.config.Provider, err)
	}
	if err := b.watch().wait(ctx, b.name, b.values()); err != nil {
		return fmt.Errorf("%s: %w", b.challenges[0].Domain, err)
	}
	errs := make([]error, len(b.indexes))
	var group errgroup.Group
	for i, index := range b.indexes {
		group.Go(func() error {
			errs[i] = accept(ctx, index)
			return nil
		})
	}
	_ = group.Wait()
	return failures.Join(errs...)
}

func (b batch) record(c Challenge) record {
	return record{Challenge: c, name: b.name, hides: b.hides}
}

func (b batch) values() (values []string) {
	for _, challenge := range b.challenges {
		values = append(values, challenge.value())
	}
	return values
}

func (b batch) watch() watch {
	timeout, interval := b.by.pace()
	return watch{resolver: b.by.resolver, who: b.by.config.Propagation, timeout: timeout, interval: interval}
}

// present writes the values. Those that an earlier process wrote are left: some
// providers refuse to write what is there.
func (b batch) present(ctx context.Context, resumed bool) error {
	w := b.watch()
	_, unseen := w.who.pause()
	for _, challenge := range b.challenges {
		if resumed && !unseen && w.seen(ctx, b.name, []string{challenge.value()}) == nil {
			continue
		}
		if err := b.by.present(ctx, b.record(challenge)); err != nil {
			for _, credential := range b.by.refs {
				credential.Refused() // if that was the reason, the next attempt reads them anew
			}
			shown := b.by.redact.Error(err)
			if errors.Is(err, anycert.ErrForbidden) {
				return denial{shown}
			}
			return shown
		}
	}
	return nil
}

// cleanUp removes the values. A record that stays behind does no harm, and the
// order is none the worse for it, so failures are not told. Where another process has
// taken the order over, they are its values now.
func (b batch) cleanUp(ctx context.Context) {
	if errors.Is(context.Cause(ctx), anycert.ErrClaimed) {
		return
	}
	cleaning, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastCleanUp, cancel) })()
	for _, challenge := range b.challenges {
		_ = b.by.cleanUp(cleaning, b.record(challenge))
	}
}

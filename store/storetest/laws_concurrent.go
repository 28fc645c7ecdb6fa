package storetest

import (
	"errors"
	"fmt"
	"sync"

	"github.com/anycert/anycert"
)

// many goroutines try the same at once.
const many = 100

func concurrentPut(l *law) {
	bundles := make([]*anycert.Bundle, many)
	for i := range bundles {
		bundles[i] = l.bundle(fmt.Sprintf("host-%d.example.com", i))
	}
	for round := range 2 {
		entries, errs := make([]anycert.Entry, many), make([]error, many)
		together(func(i int) {
			store := l.Store
			if i%2 == 1 {
				store = l.Other
			}
			entries[i], errs[i] = store.Put(l.ctx, "example", round, bundles[(i+round)%many], origin)
		})
		winner := l.winner(errs)
		l.describes(entries[winner], "example", round+1, bundles[(winner+round)%many], origin)
		got, err := l.Store.Get(l.ctx, "example", round+1)
		l.ok(err)
		l.sameBundle(got, bundles[(winner+round)%many])
	}
}

func concurrentSave(l *law) {
	for round := range 2 {
		errs := make([]error, many)
		together(func(i int) {
			records := l.Records
			if i%2 == 1 {
				records = l.OtherRecords
			}
			_, errs[i] = records.Save(l.ctx, anycert.KindOrder, "example", round, value(i))
		})
		winner := l.winner(errs)
		got, version, err := l.Records.Load(l.ctx, anycert.KindOrder, "example")
		l.ok(err)
		if got.Reveal() != value(winner).Reveal() || version != round+1 {
			l.Errorf("version %d holds another value than the winner's", version)
		}
	}
}

func value(i int) anycert.Secret { return anycert.NewSecret(fmt.Sprintf(`{"claim":"process-%d"}`, i)) }

// winner expects one success and conflicts else.
func (l *law) winner(errs []error) int {
	l.Helper()
	winner, wins := -1, 0
	for i, err := range errs {
		switch {
		case err == nil:
			winner, wins = i, wins+1
		case !errors.Is(err, anycert.ErrConflict):
			l.Errorf("a loser got %v, want ErrConflict", err)
		}
	}
	if wins != 1 {
		l.Fatalf("%d of %d won, want 1", wins, many)
	}
	return winner
}

// noTornPair reads the newest version while it is being replaced.
func noTornPair(l *law) {
	const replacements = 10
	bundles := make([]*anycert.Bundle, replacements)
	for i := range bundles {
		bundles[i] = l.bundle("example.com")
	}
	l.put("example", 0, bundles[0])
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := l.readPair(); err != nil {
					l.Errorf("reading while another writes: %v", err)
					return
				}
			}
		})
	}
	for version := 1; version < replacements; version++ {
		if _, err := l.Other.Put(l.ctx, "example", version, bundles[version], origin); err != nil {
			l.Error(err)
			break
		}
	}
	close(done)
	readers.Wait()
	l.describes(l.stat("example"), "example", replacements, bundles[replacements-1], origin)
}

func (l *law) readPair() error {
	entry, err := l.Store.Stat(l.ctx, "example")
	if errors.Is(err, anycert.ErrUnindexed) {
		return nil // between a write and its index
	}
	if err != nil {
		return err
	}
	bundle, err := l.Store.Get(l.ctx, "example", entry.Version)
	if err != nil {
		return err
	}
	if bundle.Digest() != entry.Digest {
		return fmt.Errorf("version %d: Stat says %v, Get gives %v", entry.Version, entry.Digest, bundle)
	}
	return nil
}

func twoHandles(l *law) {
	bundle := l.bundle("example.com")
	put := l.put("example", 0, bundle)
	seen, err := l.Other.Stat(l.ctx, "example")
	l.ok(err)
	l.same(seen, put)
	next := l.bundle("example.com")
	theirs, err := l.Other.Put(l.ctx, "example", 1, next, origin)
	l.ok(err)
	l.same(l.stat("example"), theirs)
	_, err = l.Store.Put(l.ctx, "example", 1, bundle, origin)
	l.is(err, anycert.ErrConflict, "example")
}

// together runs f many times at once.
func together(f func(i int)) {
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range many {
		all.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	all.Wait()
}

package reconcile

import (
	"context"
	"crypto/x509"
	"errors"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/anycert/anycert"
)

// Known is what the store said of one certificate: an entry, or why there is none.
type Known struct {
	Entry *anycert.Entry
	Err   error

	asked time.Time // when
}

// Truth is what the store said at one moment, by name of certificate.
type Truth map[string]Known

const (
	storeReaders = 16               // readings of the store under way at once
	storeTimeout = 30 * time.Second // for one of them
)

// readTruth asks the store for every certificate, one reading of metadata each. A
// certificate whose reading fails stands there with its error; the others do not
// suffer.
func readTruth(ctx context.Context, store anycert.EntryReader, certificates []anycert.Certificate) Truth {
	names := make([]string, len(certificates))
	for i, certificate := range certificates {
		names[i] = certificate.Name
	}
	return readAll(ctx, names, func(ctx context.Context, name string) Known { return stat(ctx, store, name) })
}

// readAll calls read for each name, some at a time, each within storeTimeout.
func readAll(ctx context.Context, names []string, read func(context.Context, string) Known) Truth {
	var (
		mu       sync.Mutex
		truth    = make(Truth, len(names))
		patience = patience{limit: storeReaders, hurry: 2 * time.Second}
		group    errgroup.Group
	)
	group.SetLimit(storeReaders)
	for _, name := range names {
		group.Go(func() error {
			var known Known
			begun := time.Now()
			_ = patience.ask(ctx, storeTimeout, func(ctx context.Context) error {
				known = read(ctx, name)
				return known.Err
			})
			known.asked = begun
			mu.Lock()
			defer mu.Unlock()
			truth[name] = known
			return nil
		})
	}
	_ = group.Wait()
	return truth
}

func stat(ctx context.Context, store anycert.EntryReader, name string) Known {
	entry, err := store.Stat(ctx, name)
	if err != nil {
		return Known{Err: err}
	}
	return Known{Entry: &entry}
}

// leaves has one leaf for each certificate, for as long as it is the same: what is
// remembered of several passes shares it.
type leaves struct {
	mu   sync.Mutex
	last map[string]*x509.Certificate
}

// reader is store, giving the leaf that it gave before where nothing changed.
func (l *leaves) reader(store anycert.EntryReader) anycert.EntryReader {
	return sharing{store, l}
}

type sharing struct {
	anycert.EntryReader
	*leaves
}

func (s sharing) Stat(ctx context.Context, name string) (anycert.Entry, error) {
	entry, err := s.EntryReader.Stat(ctx, name)
	if err != nil || entry.Leaf == nil {
		return entry, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if last := s.last[name]; last != nil && last.Equal(entry.Leaf) {
		entry.Leaf = last
		return entry, nil
	}
	if s.last == nil {
		s.last = make(map[string]*x509.Certificate)
	}
	s.last[name] = entry.Leaf
	return entry, nil
}

// indexer makes entries that a person wrote by hand readable without their key. Where
// that cannot be, since they are malformed or we may read alone, it remembers what
// reading them brought: it costs one reading of the data for each version, not one a
// minute.
type indexer struct {
	store anycert.Store

	mu   sync.Mutex
	read map[string]reading
}

// reading is what the data of a version brought.
type reading struct {
	version int
	time    time.Time // numbers begin anew when an entry is removed with its metadata
	known   Known
}

// index replaces each ErrUnindexed in truth by what reading the data brought.
func (x *indexer) index(ctx context.Context, truth Truth) {
	var names []string
	for name, known := range truth {
		if errors.Is(known.Err, anycert.ErrUnindexed) {
			names = append(names, name)
		}
	}
	maps.Copy(truth, readAll(ctx, names, x.one))
}

// stat is the package's stat, indexed.
func (x *indexer) stat(ctx context.Context, name string) Known {
	known := stat(ctx, x.store, name)
	if errors.Is(known.Err, anycert.ErrUnindexed) {
		return x.one(ctx, name)
	}
	return known
}

func (x *indexer) one(ctx context.Context, name string) Known {
	current, err := x.store.Stat(ctx, name) // with ErrUnindexed comes the version
	if err == nil {
		return Known{Entry: &current}
	}
	if past, ok := x.recall(name); ok && past.version == current.Version && past.time.Equal(current.Time) {
		return past.known
	}
	entry, err := x.store.Index(ctx, name)
	switch {
	case err == nil:
		return Known{Entry: &entry}
	case errors.Is(err, anycert.ErrForbidden) && entry.Leaf != nil: // a follower or a laptop may read and not write
		return x.keep(name, reading{entry.Version, entry.Time, Known{Entry: &entry}})
	case errors.Is(err, anycert.ErrMalformed) && current.Version > 0:
		return x.keep(name, reading{current.Version, current.Time, Known{Err: err}})
	}
	return Known{Err: err}
}

func (x *indexer) recall(name string) (reading, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	past, ok := x.read[name]
	return past, ok
}

func (x *indexer) keep(name string, r reading) Known {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.read == nil {
		x.read = make(map[string]reading)
	}
	x.read[name] = r
	return r.known
}

// memory keeps, for each certificate, the latest version that was seen in the store
// or in a mark of ours. It stands in for the mark at targets that have no place for
// one, and nowhere else: a forged mark holds its own target alone.
type memory struct {
	mu     sync.Mutex
	latest map[string]anycert.Mark
}

func (m *memory) see(mark anycert.Mark) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.latest == nil {
		m.latest = make(map[string]anycert.Mark)
	}
	if known, ok := m.latest[mark.Certificate]; !ok || mark.Time.After(known.Time) {
		m.latest[mark.Certificate] = mark
	}
}

func (m *memory) forget(certificate string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.latest, certificate)
}

// doubts reports whether a later version of a certificate was seen than the store
// has, or one at all where the store has none.
func (m *memory) doubts(certificate string, known Known) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	mark, ok := m.latest[certificate]
	switch {
	case !ok:
		return false
	case known.Entry != nil:
		return mark.Later(*known.Entry)
	}
	return errors.Is(known.Err, anycert.ErrNotFound)
}

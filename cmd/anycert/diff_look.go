package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/anycert/anycert"
)

// What of a certificate can differ.
const (
	differsName    = "certificate"
	differsNames   = "names"
	differsTargets = "targets"
	differsVersion = "version"
)

// look is what one side told.
type look struct {
	certificates map[string]*shown
	unknown      []string
	unlisted     bool // its certificates could not be listed: what is not there may be
}

// lookers is how many certificates of a store are asked for at once.
const lookers = 8

// names are those of the certificates that a side has, as far as it says by itself.
func (s side) names(ctx context.Context) ([]string, error) {
	switch {
	case s.declared != nil:
		names := make([]string, len(s.declared))
		for i, c := range s.declared {
			names[i] = c.Name
		}
		return names, nil
	case s.named != nil:
		return s.named, nil
	}
	names, err := s.store.Names(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing its certificates: %w", err)
	}
	return names, nil
}

// looks asks both sides at once. What an environment names is what is pulled from it and
// not all that its store has, so it is asked for what the other side has as well.
func looks(ctx context.Context, sides [2]side) (seen [2]look) {
	var names [2][]string
	var errs [2]error
	both(func(i int) { names[i], errs[i] = sides[i].names(ctx) })
	both(func(i int) {
		asked := names[i]
		if sides[i].named != nil {
			asked = slices.Concat(asked, names[1-i])
		}
		if seen[i] = sides[i].look(ctx, asked); errs[i] != nil {
			seen[i].unknown, seen[i].unlisted = []string{errs[i].Error()}, true
		}
	})
	return seen
}

func both(do func(i int)) {
	var other sync.WaitGroup
	other.Go(func() { do(0) })
	do(1)
	other.Wait()
}

// look asks a side's store for certificates. No key is read.
func (s side) look(ctx context.Context, names []string) look {
	seen := look{certificates: map[string]*shown{}}
	for _, c := range s.declared {
		domains := slices.Sorted(slices.Values(c.Domains))
		seen.certificates[c.Name] = &shown{Names: domains, Targets: s.targets[c.Name]}
	}
	var (
		mu    sync.Mutex
		group errgroup.Group
	)
	group.SetLimit(lookers)
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		group.Go(func() error {
			entry, err := s.store.Stat(ctx, name)
			mu.Lock()
			defer mu.Unlock()
			seen.take(name, entry, err)
			return nil
		})
	}
	_ = group.Wait()
	slices.Sort(seen.unknown)
	return seen
}

// take notes what the store said of one certificate. What it has not, and nobody declares,
// the side has not.
func (l *look) take(name string, entry anycert.Entry, err error) {
	absent := errors.Is(err, anycert.ErrNotFound)
	at := l.certificates[name]
	if at == nil && absent {
		return
	}
	if at == nil {
		at = &shown{Names: []string{}}
		l.certificates[name] = at
	}
	switch {
	case absent:
		at.known = true
	case err != nil:
		l.unknown = append(l.unknown, fmt.Sprintf("certificate %s: %v", name, err))
	default:
		end := entry.Leaf.NotAfter.UTC()
		at.known, at.Version, at.NotAfter, at.Digest = true, entry.Version, &end, entry.Digest.String()
		if len(at.Names) == 0 { // nobody declared any: what it is for is what it says
			at.Names = slices.Sorted(slices.Values(entry.Leaf.DNSNames))
		}
	}
}

// differs lists what is not the same. What a side could not tell is no difference, and
// is listed as unknown.
func differs(sides [2]*shown, targets bool) (what []string) {
	one, other := sides[0], sides[1]
	if one == nil || other == nil {
		return []string{differsName}
	}
	if one.known && other.known && !slices.Equal(one.Names, other.Names) {
		what = append(what, differsNames)
	}
	if targets && !slices.Equal(one.Targets, other.Targets) {
		what = append(what, differsTargets)
	}
	if one.known && other.known && one.Digest != other.Digest {
		what = append(what, differsVersion)
	}
	return what
}

func union(one, other map[string]*shown) []string {
	names := slices.AppendSeq(slices.Collect(maps.Keys(one)), maps.Keys(other))
	slices.Sort(names)
	return slices.Compact(names)
}

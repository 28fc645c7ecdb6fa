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

// look asks a side's store for every certificate. No key is read.
func (s side) look(ctx context.Context) look {
	seen := look{certificates: map[string]*shown{}}
	names := s.named
	for _, c := range s.declared {
		names = append(names, c.Name)
		domains := slices.Sorted(slices.Values(c.Domains))
		seen.certificates[c.Name] = &shown{Names: domains, Targets: s.targets[c.Name]}
	}
	if s.declared == nil && s.named == nil {
		var err error
		if names, err = s.store.Names(ctx); err != nil {
			return look{certificates: seen.certificates, unknown: []string{"listing its certificates: " + err.Error()}, unlisted: true}
		}
	}
	var (
		mu    sync.Mutex
		group errgroup.Group
	)
	group.SetLimit(lookers)
	for _, name := range names {
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

// take notes what the store said of one certificate.
func (l *look) take(name string, entry anycert.Entry, err error) {
	at := l.certificates[name]
	if at == nil {
		at = &shown{Names: []string{}}
		l.certificates[name] = at
	}
	switch {
	case errors.Is(err, anycert.ErrNotFound):
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

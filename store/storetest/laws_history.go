package storetest

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/certs"
)

// rolledBack is an origin as a person's hand leaves it.
var rolledBack = anycert.Origin{Issuer: "example-ca", Directory: "https://ca.example.com/directory", By: "ops@laptop: rollback to 1"}

// past is what is to be known of a version; bundle nil: its number and time alone.
func past(version int, bundle *anycert.Bundle, from anycert.Origin) anycert.Past {
	known := anycert.Past{Version: version, Origin: from}
	if bundle != nil {
		known.Digest, known.NotBefore, known.NotAfter = bundle.Digest(), bundle.Leaf().NotBefore.UTC(), bundle.Leaf().NotAfter.UTC()
	}
	return known
}

// tells expects a history, the times left out.
func (l *law) tells(from anycert.Historian, name string, want ...anycert.Past) {
	l.Helper()
	if diff := cmp.Diff(want, l.told(from, name)); diff != "" {
		l.Errorf("the history of %s (-want +got):\n%s", name, diff)
	}
}

// told is a history without its times, which are to be of now and in order.
func (l *law) told(from anycert.Historian, name string) []anycert.Past {
	l.Helper()
	got, err := from.History(l.ctx, name)
	l.ok(err)
	later := time.Now().Add(time.Minute)
	for i := range got {
		if at := got[i].Time; at.After(later) || time.Since(at) > time.Hour || at.Location() != time.UTC {
			l.Errorf("version %d is of %v, the one after it of %v", got[i].Version, at, later)
		}
		later, got[i].Time = got[i].Time, time.Time{}
	}
	return got
}

func history(l *law) {
	_, err := l.History.History(l.ctx, "example")
	l.is(err, anycert.ErrNotFound, "example")

	first, second, third, fourth := l.bundle("example.com"), l.bundle("example.com"), l.bundle("example.com"), l.bundle("example.com")
	put := l.put("example", 0, first)
	known, err := l.History.History(l.ctx, "example")
	l.ok(err)
	if len(known) != 1 || !known[0].Time.Equal(put.Time) {
		l.Errorf("History says %+v, Put said %v", known, put.Time)
	}
	_, err = l.Store.Put(l.ctx, "example", 1, first, rolledBack)
	l.ok(err)
	l.WriteByHand(l, "example", string(second.FullChainPEM()), second.KeyPEM().Reveal())
	l.tells(l.History, "example", past(3, nil, anycert.Origin{}), past(2, first, rolledBack), past(1, first, origin))
	l.WriteByHand(l, "example", string(third.FullChainPEM()), third.KeyPEM().Reveal())
	_, err = l.Store.Index(l.ctx, "example")
	l.ok(err)
	want := []anycert.Past{past(4, third, anycert.Origin{}), past(3, nil, anycert.Origin{}), past(2, first, rolledBack), past(1, first, origin)}
	l.tells(l.History, "example", want...)
	l.put("example", 4, fourth)
	want = append([]anycert.Past{past(5, fourth, origin)}, want...)
	l.tells(l.History, "example", want...)

	blind := l.WithoutKeys(l)
	reader, ok := blind.(anycert.Historian)
	if !ok {
		l.Fatal("the hook WithoutKeys gives no anycert.Historian")
	}
	l.tells(reader, "example", want...)
	if store, ok := blind.(anycert.Store); ok {
		if _, err := store.Get(l.ctx, "example", 1); err == nil {
			l.Error("the hook WithoutKeys gave a store that can read keys: nothing was proven")
		}
	}
}

// longHistory goes over what stores keep by default, ten versions, with a leaf among
// them that takes all the room there is.
func longHistory(l *law) {
	names := make([]string, 100)
	for i := range names {
		names[i] = fmt.Sprintf("%s%d.example.com", strings.Repeat("a", 60), i)
	}
	pair := l.issue(certs.Options{Names: names, KeyType: certs.EC256, Intermediate: true})
	big, err := anycert.ParseBundle(pair.ChainPEM, pair.KeyPEM)
	l.ok(err)
	bundles := []*anycert.Bundle{l.bundle("example.com"), big}
	for version := range 14 {
		l.put("example", version, bundles[version%2])
	}
	entry := l.stat("example")
	if entry.Version != 14 || entry.Digest != big.Digest() {
		l.Errorf("Stat tells of version %d, %v", entry.Version, entry.Digest)
	}
	var want []anycert.Past
	for version := 14; version > 4; version-- {
		want = append(want, past(version, bundles[(version+1)%2], origin))
	}
	got := l.told(l.History, "example")
	if diff := cmp.Diff(want, got[:min(len(got), len(want))]); diff != "" {
		l.Errorf("the last ten versions (-want +got):\n%s", diff)
	}
}

func deletedHistory(l *law) {
	first, second := l.bundle("example.com"), l.bundle("example.com")
	l.put("example", 0, first)
	l.put("example", 1, second)
	l.SoftDelete(l, "example")
	gone := past(2, second, origin)
	gone.Deleted = true
	l.tells(l.History, "example", gone, past(1, first, origin))
	l.put("example", 2, first)
	l.tells(l.History, "example", past(3, first, origin), gone, past(1, first, origin))
}

func destroyed(l *law) {
	first, second, third := l.bundle("example.com"), l.bundle("example.com"), l.bundle("example.com")
	l.put("example", 0, first)
	l.put("example", 1, second)
	current := l.put("example", 2, third)
	writes := l.Writes(l)
	err := l.History.Destroy(l.ctx, "example", []int{1, 3})
	l.is(err, anycert.ErrRefused, "example")
	if n := l.Writes(l) - writes; n != 0 {
		l.Errorf("%d writes by a Destroy that was refused", n)
	}
	got, err := l.Store.Get(l.ctx, "example", 1)
	l.ok(err)
	l.sameBundle(got, first)

	l.ok(l.History.Destroy(l.ctx, "example", []int{1}))
	_, err = l.Other.Get(l.ctx, "example", 1)
	l.is(err, anycert.ErrDeleted, "example")
	got, err = l.Store.Get(l.ctx, "example", 2)
	l.ok(err)
	l.sameBundle(got, second)
	l.same(l.stat("example"), current)
	gone := past(1, first, origin)
	gone.Destroyed = true
	l.tells(l.History, "example", past(3, third, origin), past(2, second, origin), gone)

	// What was deleted, and could be brought back, is destroyed as well; also when the
	// version after it goes on.
	l.SoftDelete(l, "example")
	l.is(l.History.Destroy(l.ctx, "example", []int{3}), anycert.ErrRefused, "example")
	l.put("example", 3, second)
	l.ok(l.History.Destroy(l.ctx, "example", []int{2, 3}))
	for _, version := range []int{2, 3} {
		_, err := l.Store.Get(l.ctx, "example", version)
		l.is(err, anycert.ErrDeleted, "example")
	}
	got, err = l.Store.Get(l.ctx, "example", 4)
	l.ok(err)
	l.sameBundle(got, second)
}

func destroyTwice(l *law) {
	l.ok(l.History.Destroy(l.ctx, "example", []int{1}))
	l.put("example", 0, l.bundle("example.com"))
	l.put("example", 1, l.bundle("example.com"))
	writes := l.Writes(l)
	l.ok(l.History.Destroy(l.ctx, "example", nil))
	l.ok(l.History.Destroy(l.ctx, "example", []int{-1, 0, 7}))
	if n := l.Writes(l) - writes; n != 0 {
		l.Errorf("%d writes by a Destroy of what never was", n)
	}
	l.ok(l.History.Destroy(l.ctx, "example", []int{1}))
	writes = l.Writes(l)
	l.ok(l.History.Destroy(l.ctx, "example", []int{1}))
	if n := l.Writes(l) - writes; n != 0 {
		l.Errorf("%d writes by a Destroy of what is destroyed", n)
	}
}

// revoked notes it of the current version and of an older one, and goes on writing.
func revoked(l *law) {
	first, second, third := l.bundle("example.com"), l.bundle("example.com"), l.bundle("example.com")
	note := func(reason string, versions ...int) *anycert.Revocation {
		l.Helper()
		r := anycert.Revocation{Time: time.Now().UTC().Truncate(time.Second), By: "ops@laptop", Reason: reason}
		l.ok(l.History.NoteRevoked(l.ctx, "example", versions, r))
		return &r
	}
	of := func(past anycert.Past, r *anycert.Revocation) anycert.Past {
		past.Revoked = r
		return past
	}
	l.put("example", 0, first)
	l.put("example", 1, second)
	note("unspecified", 2)
	old, current := note("superseded", 1), note("ceased", 2)
	want := []anycert.Past{of(past(2, second, origin), current), of(past(1, first, origin), old)}
	l.tells(l.History, "example", want...)
	got := l.stat("example")
	if got.Version != 2 || got.Digest != second.Digest() || got.Origin != origin {
		l.Errorf("beside a note Stat tells %+v", got)
	}
	writes := l.Writes(l)
	note("superseded")
	note("superseded", 7, 0, -1)
	if n := l.Writes(l) - writes; n != 0 {
		l.Errorf("%d writes about versions that never were", n)
	}

	// Neither the next version nor one that a person writes takes it away, and it is told
	// of what was destroyed, too.
	l.put("example", 2, third)
	l.WriteByHand(l, "example", string(first.FullChainPEM()), first.KeyPEM().Reveal())
	byHand := note("superseded", 4)
	_, err := l.Store.Index(l.ctx, "example")
	l.ok(err)
	l.ok(l.History.Destroy(l.ctx, "example", []int{1}))
	want[1].Destroyed = true
	want = append([]anycert.Past{of(past(4, first, anycert.Origin{}), byHand), past(3, third, origin)}, want...)
	l.tells(l.History, "example", want...)

	l.is(l.History.NoteRevoked(l.ctx, "other", []int{1}, *old), anycert.ErrNotFound, "other")
}

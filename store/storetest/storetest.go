// Package storetest holds the laws of a store: what package anycert promises of
// Store and Records, as one suite that every implementation passes.
//
// Are you adding a store? Give Run a fresh one for each law, and the hooks that
// do what a store cannot do to itself: a person writing by hand, a deletion, an
// index that lies. A hook that your store cannot have does not exist: each stands
// for something that happens to stores in use.
package storetest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/leak"
)

// Subject is an empty store, and what can happen to it from outside. Hooks end
// the test when they cannot do their work.
type Subject struct {
	Store   anycert.Store
	Records anycert.Records
	// History is the past of the same store.
	History anycert.Historian
	// Other is the same store as another process sees it.
	Other anycert.Store
	// OtherRecords are the same records as another process sees them.
	OtherRecords anycert.Records

	// WriteByHand writes the next version as a person would, unchecked.
	WriteByHand func(t testing.TB, name, certificatePEM, keyPEM string)
	// SoftDelete deletes the current version; the entry stays.
	SoftDelete func(t testing.TB, name string)
	// ForgeIndex makes what Stat reads say digest, leaf and origin of entry, for
	// the current version.
	ForgeIndex func(t testing.TB, name string, entry anycert.Entry)
	// NewerIndex makes what Stat reads look as if a later anycert, with a schema
	// that this one does not know, had written it for the current version.
	NewerIndex func(t testing.TB, name string)
	// WithoutKeys is the same store for somebody who can read no key. It is an
	// anycert.Historian as well.
	WithoutKeys func(t testing.TB) anycert.EntryReader
	// Writes counts the writes so far that the store has accepted.
	Writes func(t testing.TB) int
}

// Run holds a store to the laws. open makes a fresh, empty store for each.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	laws := []struct {
		name string
		law  func(*law)
	}{
		{"absent is ErrNotFound", absent},
		{"what was put is what is read", putAndRead},
		{"versions count on and stay readable", versions},
		{"a stale expectation is ErrConflict and changes nothing", conflict},
		{"the same Put again reports the success", repeatedPut},
		{"a deleted version is ErrDeleted, and can be followed", deleted},
		{"what a person wrote is ErrUnindexed, then indexed", writtenByHand},
		{"a key of any usual form is read", keyForms},
		{"what is no pair is ErrMalformed", malformed},
		{"a lying index is corrected", forgedIndex},
		{"a newer index is left alone", newerIndex},
		{"Index writes nothing when all is there", indexTwice},
		{"Stat reads no key", statReadsNoKey},
		{"History tells every version, the newest first, and reads no key", history},
		{"History of many versions and of big ones", longHistory},
		{"History tells what was deleted", deletedHistory},
		{"Destroy leaves nothing to read, and the current version alone", destroyed},
		{"Destroy of what is not there is no error", destroyTwice},
		{"NoteRevoked is told by History, whatever comes after it", revoked},
		{"of a hundred Puts one wins", concurrentPut},
		{"a reader sees one pair while others write", noTornPair},
		{"another process sees the same", twoHandles},
		{"every method ends with its context", endedContext},
		{"a name that is none is refused", badNames},
		{"a big chain comes back whole", bigChain},
		{"records: saved, loaded, deleted", recordsLife},
		{"records: a stale expectation is ErrConflict", recordsConflict},
		{"records: kinds do not mix", recordsKinds},
		{"records: values come back unchanged", recordsValues},
		{"records: of a hundred Saves one wins", concurrentSave},
		{"records: a context that ended, names that are none", recordsRefuse},
	}
	for _, l := range laws {
		t.Run(l.name, func(t *testing.T) {
			law := &law{T: t, Subject: open(t), ctx: t.Context()}
			l.law(law)
		})
	}
}

// law is one law being tried: the test, the store, and every key it has planted.
type law struct {
	*testing.T
	Subject
	ctx  context.Context
	keys []leak.Secret
}

// put writes and expects success.
func (l *law) put(name string, expected int, bundle *anycert.Bundle) anycert.Entry {
	l.Helper()
	entry, err := l.Store.Put(l.ctx, name, expected, bundle, origin)
	l.ok(err)
	return entry
}

// stat expects success.
func (l *law) stat(name string) anycert.Entry {
	l.Helper()
	entry, err := l.Store.Stat(l.ctx, name)
	l.ok(err)
	return entry
}

func (l *law) ok(err error) {
	l.Helper()
	if err != nil {
		l.Fatalf("unexpected error: %v", err)
	}
}

// is expects err to be want, to name what it is about, and to show no key.
func (l *law) is(err, want error, about string) {
	l.Helper()
	if err == nil || !errors.Is(err, want) {
		l.Fatalf("got error %v, want %v", err, want)
	}
	if !strings.Contains(err.Error(), about) {
		l.Errorf("the error %q does not name %q", err, about)
	}
	l.showsNoKey(err)
}

func (l *law) showsNoKey(err error) {
	l.Helper()
	if len(l.keys) == 0 {
		return
	}
	search, searchErr := leak.New(l.keys...)
	if searchErr != nil {
		l.Fatal(searchErr)
	}
	for _, finding := range search.Bytes("the error", []byte(err.Error())) {
		l.Error(finding)
	}
}

package fastly_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/sinks/sinktest"
)

// A key whose certificate never followed is awaited while its certificate is
// declared, and an orphan afterwards.
func TestKeyOfAHalfPush(t *testing.T) {
	server := start(t)
	sink := open(t, server, sinktest.Owner, nil)
	pair := versions(t, both, 1)[0]
	declared := targets(t, sink, both...)
	server.FailWrite(2)
	if err := sink.Push(t.Context(), declared[0], pair.Entry, pair.Bundle); err == nil {
		t.Fatal("Push reports success")
	}
	if orphans, err := sink.Orphans(t.Context(), declared); err != nil || len(orphans) != 0 {
		t.Errorf("Orphans returned (%+v, %v), want none: the next pass uses the key", orphans, err)
	}
	orphans, err := sink.Orphans(t.Context(), nil)
	if err != nil || len(orphans) != 1 || !strings.HasPrefix(orphans[0].Key, "key/") {
		t.Fatalf("Orphans returned (%+v, %v), want the key", orphans, err)
	}
	if err := sink.Remove(t.Context(), orphans[0]); err != nil || len(server.Keys()) != 0 {
		t.Errorf("Remove returned %v and left %q", err, keyNames(server))
	}
	if err := sink.Remove(t.Context(), orphans[0]); err != nil {
		t.Errorf("Remove of what is gone returned %v", err)
	}
}

// Between listing and removing, the key came into use.
func TestOrphanedKeyCameIntoUse(t *testing.T) {
	server := start(t)
	sink := open(t, server, sinktest.Owner, nil)
	pair := versions(t, both, 1)[0]
	keyOf(t, server, name(anycert.MarkOf(sinktest.Owner, pair.Entry)), pair)
	orphans, err := sink.Orphans(t.Context(), nil)
	if err != nil || len(orphans) != 1 {
		t.Fatalf("Orphans returned (%+v, %v), want the key", orphans, err)
	}
	pass(t, sink, pair)
	before := server.Writes()
	if err := sink.Remove(t.Context(), orphans[0]); !errors.Is(err, anycert.ErrRefused) || server.Writes() != before {
		t.Errorf("Remove returned %v after %d writes, want ErrRefused and none", err, server.Writes()-before)
	}
}

func TestRemoveLeavesOthersObjects(t *testing.T) {
	server := start(t)
	sink := open(t, server, sinktest.Owner, nil)
	pair := versions(t, both, 1)[0]
	keyOf(t, server, "uploaded by hand", pair)
	id := foreign(t, server, pair)
	for _, orphan := range []anycert.Orphan{
		{Key: "certificate/" + id, Label: "a certificate"},
		{Key: "key/" + server.Keys()[0].ID, Label: "a key"},
		{Key: "service/" + id, Label: "a service"},
	} {
		if err := sink.Remove(t.Context(), orphan); !errors.Is(err, anycert.ErrRefused) {
			t.Errorf("Remove(%s) returned %v, want ErrRefused", orphan.Key, err)
		}
	}
	if server.Writes() != 0 {
		t.Errorf("refusing made %d writes", server.Writes())
	}
}

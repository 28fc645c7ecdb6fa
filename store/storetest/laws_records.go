package storetest

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert"
)

func (l *law) save(kind, key string, expected int, text string) {
	l.Helper()
	version, err := l.Records.Save(l.ctx, kind, key, expected, anycert.NewSecret(text))
	l.ok(err)
	if version != expected+1 {
		l.Fatalf("Save over version %d gave version %d", expected, version)
	}
}

func (l *law) holds(kind, key string, version int, text string) {
	l.Helper()
	value, got, err := l.OtherRecords.Load(l.ctx, kind, key)
	l.ok(err)
	if got != version || value.Reveal() != text {
		l.Errorf("%s/%s holds version %d of %d bytes, want version %d of %d bytes",
			kind, key, got, len(value.Reveal()), version, len(text))
	}
}

func recordsLife(l *law) {
	_, _, err := l.Records.Load(l.ctx, anycert.KindOrder, "example")
	l.is(err, anycert.ErrNotFound, "example")
	l.ok(l.Records.Delete(l.ctx, anycert.KindOrder, "example"))

	for range 2 { // the second time after a Delete
		l.save(anycert.KindOrder, "example", 0, "intent")
		l.holds(anycert.KindOrder, "example", 1, "intent")
		l.save(anycert.KindOrder, "example", 1, "order")
		l.holds(anycert.KindOrder, "example", 2, "order")
		l.ok(l.Records.Delete(l.ctx, anycert.KindOrder, "example"))
		_, _, err = l.OtherRecords.Load(l.ctx, anycert.KindOrder, "example")
		l.is(err, anycert.ErrNotFound, "example")
		keys, err := l.Records.Keys(l.ctx, anycert.KindOrder)
		l.ok(err)
		if len(keys) != 0 {
			l.Errorf("after Delete Keys lists %q", keys)
		}
	}
}

func recordsConflict(l *law) {
	_, err := l.Records.Save(l.ctx, anycert.KindOrder, "example", 1, anycert.NewSecret("x"))
	l.is(err, anycert.ErrConflict, "example")
	l.save(anycert.KindOrder, "example", 0, "one")
	l.save(anycert.KindOrder, "example", 1, "two")
	writes := l.Writes(l)
	for _, stale := range []int{0, 1, 3} {
		// The value that is there already is no excuse: a record may be a claim.
		for _, text := range []string{"one", "two", "three"} {
			_, err := l.Records.Save(l.ctx, anycert.KindOrder, "example", stale, anycert.NewSecret(text))
			l.is(err, anycert.ErrConflict, "example")
		}
	}
	l.holds(anycert.KindOrder, "example", 2, "two")
	if n := l.Writes(l) - writes; n != 0 {
		l.Errorf("%d writes for Saves that lost", n)
	}
}

func recordsKinds(l *law) {
	l.save(anycert.KindOrder, "example", 0, "order")
	l.save(anycert.KindAccount, "example", 0, "account")
	l.save(anycert.KindAccount, "another", 0, "account too")
	l.put("example", 0, l.bundle("example.com"))
	l.ok(l.Records.Delete(l.ctx, anycert.KindOrder, "example"))
	l.holds(anycert.KindAccount, "example", 1, "account")
	l.stat("example")
	want := map[string][]string{anycert.KindOrder: nil, anycert.KindAccount: {"another", "example"}, "budgets": nil}
	for kind, keys := range want {
		got, err := l.Records.Keys(l.ctx, kind)
		l.ok(err)
		slices.Sort(got)
		if diff := cmp.Diff(keys, append([]string(nil), got...)); diff != "" {
			l.Errorf("keys of %s (-want +got):\n%s", kind, diff)
		}
	}
	names, err := l.Store.Names(l.ctx)
	l.ok(err)
	if diff := cmp.Diff([]string{"example"}, names); diff != "" {
		l.Errorf("names (-want +got):\n%s", diff)
	}
}

func recordsValues(l *law) {
	values := []string{
		"", " ", "line\nline\r\n\ttab", `{"a":"<&>\u2028"}`, "\u2028 naïve ☂ 𝄞", `"quoted" \back`,
		strings.Repeat("0123456789abcdef", 16<<10),
	}
	for i, text := range values {
		l.save(anycert.KindAccount, "example", i, text)
		l.holds(anycert.KindAccount, "example", i+1, text)
	}
}

func recordsRefuse(l *law) {
	ctx, cancel := context.WithCancel(l.ctx)
	cancel()
	calls := func(ctx context.Context, kind, key string) map[string]error {
		_, keys := l.Records.Keys(ctx, kind)
		_, _, load := l.Records.Load(ctx, kind, key)
		_, save := l.Records.Save(ctx, kind, key, 0, anycert.NewSecret("x"))
		return map[string]error{"Keys": keys, "Load": load, "Save": save, "Delete": l.Records.Delete(ctx, kind, key)}
	}
	for method, err := range calls(ctx, anycert.KindOrder, "example") {
		if !errors.Is(err, context.Canceled) {
			l.Errorf("%s with a context that was cancelled: %v, want context.Canceled", method, err)
		}
	}
	for _, name := range append([]string{"certs"}, noNames...) {
		for method, err := range calls(l.ctx, name, "example") {
			if !errors.Is(err, anycert.ErrMalformed) {
				l.Errorf("%s of kind %q: %v, want ErrMalformed", method, name, err)
			}
		}
	}
	for _, name := range noNames {
		for method, err := range calls(l.ctx, anycert.KindOrder, name) {
			if method != "Keys" && !errors.Is(err, anycert.ErrMalformed) {
				l.Errorf("%s of key %q: %v, want ErrMalformed", method, name, err)
			}
		}
	}
}

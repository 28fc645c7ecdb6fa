package sinktest

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anycert/anycert"
)

// faulty are sinks that are right but for one fault each, the faults being those
// that were found in the wild. The suite must reject each of them, by the law
// named, and no law may fail that is not named.
var faulty = []struct {
	name string
	open func(m *Memory, owner string) anycert.Sink
	laws []string // must fail, also those "…/*" of which every one may
}{
	{
		name: "believes what it sent instead of observing",
		open: func(m *Memory, owner string) anycert.Sink {
			return &believer{memorySink: &memorySink{m, owner}, sent: map[string]anycert.Observed{}}
		},
		laws: []string{"Tamper/deleted", "Tamper/*"},
	},
	{
		name: "writes the certificate and its key in two steps",
		open: func(m *Memory, owner string) anycert.Sink { return &twoSteps{&memorySink{m, owner}} },
		laws: []string{"TornPair", "FailedPush", "FailedFirstPush"},
	},
	{
		name: "takes foreign objects over",
		open: func(m *Memory, owner string) anycert.Sink { return &taker{&memorySink{m, owner}} },
		laws: []string{"Foreign/without a mark", "OtherOwner"},
	},
	{
		name: "deletes before it writes",
		open: func(m *Memory, owner string) anycert.Sink { return &deleter{&memorySink{m, owner}} },
		laws: []string{"FailedPush", "TornPair"},
	},
	{
		name: "shows what it sent in an error",
		open: func(m *Memory, owner string) anycert.Sink { return &teller{&memorySink{m, owner}} },
		laws: []string{"FailedPush", "FailedFirstPush", "Forbidden", "Unavailable"},
	},
	{
		name: "lists everything as orphans",
		open: func(m *Memory, owner string) anycert.Sink { return &lister{&memorySink{m, owner}} },
		laws: []string{"Foreign/without a mark", "OtherOwner"},
	},
	{
		name: "takes what it cannot read for absent",
		open: func(m *Memory, owner string) anycert.Sink { return &absentee{&memorySink{m, owner}} },
		laws: []string{"Forbidden", "Unavailable", "Hanging", "Cancelled"},
	},
}

func TestFaultySinksAreRejected(t *testing.T) {
	for _, sink := range faulty {
		t.Run(sink.name, func(t *testing.T) {
			failed := failedLaws(t, func() *Harness { return memoryHarness(sink.open) })
			for _, law := range sink.laws {
				if _, ok := failed[law]; !ok && !strings.HasSuffix(law, "/*") {
					t.Errorf("the law %s let it pass", law)
				}
			}
			for _, law := range slices.Sorted(maps.Keys(failed)) {
				kind, _, _ := strings.Cut(law, "/")
				if !slices.Contains(sink.laws, law) && !slices.Contains(sink.laws, kind+"/*") {
					t.Errorf("the law %s failed as well, so the sink has more than one fault: %s", law, failed[law])
				}
			}
		})
	}
}

// failedLaws runs every law and returns the messages of those that failed.
func failedLaws(t *testing.T, harness func() *Harness) map[string][]string {
	failed := map[string][]string{}
	for _, law := range append(laws(), tamperLaws(harness())...) {
		if messages := record(t, func(t testing.TB) { law.run(t, harness()) }); len(messages) > 0 {
			failed[law.name] = messages
		}
	}
	return failed
}

// roundTrip is what two requests lie apart.
const roundTrip = 5 * time.Millisecond

// believer remembers what it sent. cert-manager-sync keeps a hash of it.
type believer struct {
	*memorySink
	mu   sync.Mutex
	sent map[string]anycert.Observed
}

func (b *believer) Push(ctx context.Context, target anycert.Target, entry anycert.Entry, bundle *anycert.Bundle) error {
	if err := b.memorySink.Push(ctx, target, entry, bundle); err != nil {
		return err
	}
	observed, err := b.memorySink.Observe(ctx, target)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent[target.Label] = observed
	return err
}

func (b *believer) Observe(ctx context.Context, target anycert.Target) (anycert.Observed, error) {
	observed, err := b.memorySink.Observe(ctx, target)
	b.mu.Lock()
	defer b.mu.Unlock()
	if sent, ok := b.sent[target.Label]; ok && err == nil && observed.Foreign == "" {
		return sent, nil
	}
	return observed, err
}

// twoSteps writes the certificate, then the key.
type twoSteps struct{ *memorySink }

func (s *twoSteps) Push(ctx context.Context, target anycert.Target, entry anycert.Entry, bundle *anycert.Bundle) error {
	if err := s.begin(ctx, "push", target); err != nil {
		return err
	}
	object, ok := s.Get(target.Label)
	if why := s.foreign(object); ok && why != "" {
		return fmt.Errorf("push %s: %w: %s", target.Label, anycert.ErrRefused, why)
	}
	mark := anycert.MarkOf(s.owner, entry)
	object.ChainPEM, object.Mark = bundle.FullChainPEM(), &mark
	s.Put(target.Label, object)
	time.Sleep(roundTrip)
	return s.memorySink.Push(ctx, target, entry, bundle)
}

// taker asks nobody.
type taker struct{ *memorySink }

func (s *taker) Push(ctx context.Context, target anycert.Target, entry anycert.Entry, bundle *anycert.Bundle) error {
	object, ok := s.Get(target.Label)
	if ok && s.foreign(object) != "" {
		object.Mark = &anycert.Mark{Owner: s.owner}
		s.Put(target.Label, object)
	}
	return s.memorySink.Push(ctx, target, entry, bundle)
}

// deleter makes room first.
type deleter struct{ *memorySink }

func (s *deleter) Push(ctx context.Context, target anycert.Target, entry anycert.Entry, bundle *anycert.Bundle) error {
	if object, ok := s.Get(target.Label); ok && s.foreign(object) == "" && ctx.Err() == nil {
		orphan := anycert.Orphan{Key: "memory://" + target.Label, Label: target.Label, Mark: *object.Mark}
		if err := s.memorySink.Remove(ctx, orphan); err != nil {
			return err
		}
		time.Sleep(roundTrip)
	}
	return s.memorySink.Push(ctx, target, entry, bundle)
}

// teller quotes the request, as a client with debugging on does.
type teller struct{ *memorySink }

func (s *teller) Push(ctx context.Context, target anycert.Target, entry anycert.Entry, bundle *anycert.Bundle) error {
	err := s.memorySink.Push(ctx, target, entry, bundle)
	if err == nil || errors.Is(err, anycert.ErrRefused) {
		return err
	}
	body := base64.StdEncoding.EncodeToString([]byte(bundle.KeyPEM().Reveal()))
	return fmt.Errorf("%w: the request was {\"data\": {\"tls.key\": %q}}", err, body)
}

// lister does not look at the marks.
type lister struct{ *memorySink }

func (s *lister) Orphans(ctx context.Context, declared []anycert.Target) ([]anycert.Orphan, error) {
	found, err := s.memorySink.Orphans(ctx, declared)
	s.mu.Lock()
	defer s.mu.Unlock()
	for label, object := range s.objects {
		if err == nil && len(declared) == 0 && s.foreign(object) != "" {
			found = append(found, anycert.Orphan{Key: "memory://" + label, Label: label})
		}
	}
	return found, err
}

// absentee takes every failure for "not found".
type absentee struct{ *memorySink }

func (s *absentee) Observe(ctx context.Context, target anycert.Target) (anycert.Observed, error) {
	observed, err := s.memorySink.Observe(ctx, target)
	if err != nil {
		return anycert.Observed{}, nil
	}
	return observed, nil
}

func TestLeaksFindsEveryForm(t *testing.T) {
	pair := Issue(t, "example", []string{"example.com"}, 1)[0]
	key := pair.Bundle.KeyPEM().Reveal()
	for name, text := range map[string]string{
		"PEM":            key,
		"quoted":         fmt.Sprintf("%q", key),
		"first line":     strings.Split(key, "\n")[1],
		"second line":    strings.Split(key, "\n")[2],
		"base64":         base64.StdEncoding.EncodeToString([]byte(key)),
		"base64 shift 1": base64.StdEncoding.EncodeToString([]byte("x" + key)),
		"base64 shift 2": base64.StdEncoding.EncodeToString([]byte("xx" + key)),
	} {
		if Leaks("before "+text+" after", pair.Bundle) == nil {
			t.Errorf("the key as %s was not found", name)
		}
	}
	for name, text := range map[string]string{
		"the certificate":           string(pair.Bundle.FullChainPEM()),
		"the certificate in base64": base64.StdEncoding.EncodeToString(pair.Bundle.FullChainPEM()),
		"an error":                  "push one/example: permission denied",
	} {
		if err := Leaks(text, pair.Bundle); err != nil {
			t.Errorf("%s is no leak: %v", name, err)
		}
	}
}

package sinktest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/anycert/anycert"
)

// Memory is the other side of a sink that keeps its copies in memory: for the tests
// of whoever uses sinks. It obeys all laws, and may be used by several goroutines
// at once.
type Memory struct {
	places []string
	fail   Fault

	mu      sync.Mutex
	objects map[string]Object // by the label of the target
	writes  int
	pushes  []string // labels, in order
}

// Fault is asked before each operation of a client: "observe", "push", "orphans"
// (with the zero Target), "remove" (with the orphan's label as target). The error
// that it returns is what the client meets; it may also wait, for as long as ctx
// lives.
type Fault func(ctx context.Context, op string, target anycert.Target) error

// Object is what lies at a target.
type Object struct {
	ChainPEM, KeyPEM []byte
	Mark             *anycert.Mark // nil: somebody else's
}

// NewMemory makes an other side on which every certificate has a target at each of
// places. fail may be nil.
func NewMemory(fail Fault, places ...string) *Memory {
	if fail == nil {
		fail = func(context.Context, string, anycert.Target) error { return nil }
	}
	return &Memory{places: places, fail: fail, objects: map[string]Object{}}
}

// Sink opens a client as the hub named owner.
func (m *Memory) Sink(owner string) anycert.Sink { return &memorySink{Memory: m, owner: owner} }

// Writes counts the objects written and removed by clients so far.
func (m *Memory) Writes() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.writes
}

// Pushes are the labels of the targets that were pushed to, in order.
func (m *Memory) Pushes() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.pushes)
}

// Get is what lies at the target of that label: "<place>/<certificate>".
func (m *Memory) Get(label string) (Object, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	object, ok := m.objects[label]
	return object, ok
}

// Put lays an object there, as somebody else would: it is not counted.
func (m *Memory) Put(label string, object Object) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects[label] = object
}

// Delete takes it away, as somebody else would: it is not counted.
func (m *Memory) Delete(label string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, label)
}

// memorySink is one client.
type memorySink struct {
	*Memory
	owner string
}

var (
	_ anycert.OrphanLister  = (*memorySink)(nil)
	_ anycert.OrphanRemover = (*memorySink)(nil)
)

func (s *memorySink) Targets(certificate string, _ []string) ([]anycert.Target, error) {
	var targets []anycert.Target
	for _, place := range s.places {
		label := place + "/" + certificate
		targets = append(targets, anycert.Target{Key: "memory://" + label, Label: label, Certificate: certificate})
	}
	return targets, nil
}

// begin is what every operation does first.
func (s *memorySink) begin(ctx context.Context, op string, target anycert.Target) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s %s: %w", op, target.Label, err)
	}
	if err := s.fail(ctx, op, target); err != nil {
		return fmt.Errorf("%s %s: %w", op, target.Label, err)
	}
	return nil
}

func (s *memorySink) Observe(ctx context.Context, target anycert.Target) (anycert.Observed, error) {
	if err := s.begin(ctx, "observe", target); err != nil {
		return anycert.Observed{}, err
	}
	object, ok := s.Get(target.Label)
	if !ok {
		return anycert.Observed{}, nil
	}
	return s.look(object), nil
}

// look tells what an object is. What does not parse is left zero.
func (s *memorySink) look(object Object) anycert.Observed {
	observed := anycert.Observed{Found: true, Evidence: anycert.Exact, Mark: object.Mark, Foreign: s.foreign(object)}
	if chain, err := anycert.ParseChain(object.ChainPEM); err == nil {
		observed.Digest = anycert.DigestOf(chain)
		observed.NotBefore, observed.NotAfter = chain[0].NotBefore.UTC(), chain[0].NotAfter.UTC()
	}
	observed.SPKI, _ = anycert.SPKIOfKey(object.KeyPEM) // zero: not known
	return observed
}

func (s *memorySink) foreign(object Object) string {
	switch {
	case object.Mark == nil:
		return "it has no mark: somebody else put it there; delete it first"
	case object.Mark.Owner != s.owner:
		return fmt.Sprintf("it carries the mark of %q: take it out of that hub's configuration first", object.Mark.Owner)
	}
	return ""
}

func (s *memorySink) Push(ctx context.Context, target anycert.Target, entry anycert.Entry, bundle *anycert.Bundle) error {
	if err := s.begin(ctx, "push", target); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pushes = append(s.pushes, target.Label)
	if object, ok := s.objects[target.Label]; ok {
		if why := s.foreign(object); why != "" {
			return fmt.Errorf("push %s: %w: %s", target.Label, anycert.ErrRefused, why)
		}
	}
	mark := anycert.MarkOf(s.owner, entry)
	s.objects[target.Label] = Object{ChainPEM: bundle.FullChainPEM(), KeyPEM: []byte(bundle.KeyPEM().Reveal()), Mark: &mark}
	s.writes++
	return nil
}

func (s *memorySink) Orphans(ctx context.Context, declared []anycert.Target) ([]anycert.Orphan, error) {
	if err := s.begin(ctx, "orphans", anycert.Target{}); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []anycert.Orphan
	for _, label := range slices.Sorted(maps.Keys(s.objects)) {
		isDeclared := slices.ContainsFunc(declared, func(t anycert.Target) bool { return t.Label == label })
		if object := s.objects[label]; !isDeclared && s.foreign(object) == "" {
			found = append(found, anycert.Orphan{Key: "memory://" + label, Label: label, Mark: *object.Mark})
		}
	}
	return found, nil
}

func (s *memorySink) Remove(ctx context.Context, orphan anycert.Orphan) error {
	if err := s.begin(ctx, "remove", anycert.Target{Key: orphan.Key, Label: orphan.Label}); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	label := strings.TrimPrefix(orphan.Key, "memory://")
	object, ok := s.objects[label]
	if !ok {
		return nil
	}
	if object.Mark == nil || *object.Mark != orphan.Mark {
		return fmt.Errorf("remove %s: %w: it has changed since it was listed", label, anycert.ErrRefused)
	}
	delete(s.objects, label)
	s.writes++
	return nil
}

// Served is what an object serves, for a Harness.
func (o Object) Served() Served {
	return Served{ChainPEM: bytes.Clone(o.ChainPEM), KeyPEM: bytes.Clone(o.KeyPEM)}
}

package sinktest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/anycert/anycert"
)

func TestMemory(t *testing.T) {
	Run(t, func(testing.TB) *Harness { return memoryHarness((*Memory).Sink) })
}

// memoryHarness holds the clients that open makes to the laws.
func memoryHarness(open func(m *Memory, owner string) anycert.Sink) *Harness {
	side := &faultySide{}
	memory := NewMemory(side.fault, "one", "two")
	return &Harness{
		New:         func(owner string) anycert.Sink { return open(memory, owner) },
		Certificate: "example",
		Names:       []string{"example.com", "*.example.com"},
		Served: func(target anycert.Target) (Served, error) {
			object, _ := memory.Get(target.Label)
			return object.Served(), nil
		},
		Writes:      memory.Writes,
		Tamper:      memoryTampers(memory),
		Foreign:     memoryForeigners(memory),
		FailWrite:   side.failWrite,
		Forbid:      func() func() { return side.fail(anycert.ErrForbidden) },
		Unavailable: func() func() { return side.fail(anycert.ErrUnavailable) },
		Hang:        side.hang,
	}
}

func memoryTampers(memory *Memory) []Tamper {
	change := func(name string, change func(o *Object, m Material)) Tamper {
		return Tamper{Name: name, Do: func(_ testing.TB, target anycert.Target, m Material) {
			object, _ := memory.Get(target.Label)
			change(&object, m)
			memory.Put(target.Label, object)
		}}
	}
	return []Tamper{
		{Name: "deleted", Do: func(_ testing.TB, target anycert.Target, _ Material) { memory.Delete(target.Label) }},
		change("emptied", func(o *Object, _ Material) { o.ChainPEM, o.KeyPEM = nil, nil }),
		change("self-signed until 2099", func(o *Object, m Material) { o.lay(m.LongLived) }),
		change("somebody else's certificate under our mark", func(o *Object, m Material) { o.lay(m.Stranger) }),
		change("an older certificate of ours", func(o *Object, m Material) { o.lay(m.Older) }),
		change("a wrong key beside the right certificate", func(o *Object, m Material) {
			o.KeyPEM = []byte(m.Stranger.Bundle.KeyPEM().Reveal())
		}),
		change("the chain cut", func(o *Object, m Material) { o.ChainPEM = m.Pushed.Bundle.LeafPEM() }),
		change("the mark of an older version", func(o *Object, m Material) {
			mark := anycert.MarkOf(Owner, m.Older.Entry)
			o.Mark = &mark
		}),
	}
}

func (o *Object) lay(pair Pair) {
	o.ChainPEM, o.KeyPEM = pair.Bundle.FullChainPEM(), []byte(pair.Bundle.KeyPEM().Reveal())
}

func memoryForeigners(memory *Memory) []Tamper {
	return []Tamper{{Name: "without a mark", Do: func(_ testing.TB, target anycert.Target, m Material) {
		var object Object
		object.lay(m.Stranger)
		memory.Put(target.Label, object)
	}}}
}

// faultySide is an other side that can be told to fail. A write that fails echoes
// nothing here: memorySink sends nothing.
type faultySide struct {
	mu      sync.Mutex
	nth     int
	err     error
	hanging chan struct{} // closed by undo
}

func (f *faultySide) fault(ctx context.Context, op string, _ anycert.Target) error {
	f.mu.Lock()
	hanging, err := f.hanging, f.err
	if op == "push" && f.nth > 0 {
		if f.nth--; f.nth == 0 {
			err = errors.New("the disk is full")
		}
	}
	f.mu.Unlock()
	if hanging == nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-hanging:
		return err
	}
}

func (f *faultySide) failWrite(nth int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nth = nth
}

func (f *faultySide) fail(err error) (undo func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.err = nil
	}
}

func (f *faultySide) hang() (undo func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	hanging := make(chan struct{})
	f.hanging = hanging
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.hanging = nil
		close(hanging)
	}
}

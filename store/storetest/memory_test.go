package storetest_test

import (
	"errors"
	"testing"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/store/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Subject {
		memory := &storetest.Memory{}
		return storetest.Subject{
			Store: memory, Records: memory, History: memory, Other: memory, OtherRecords: memory,
			WriteByHand: func(_ testing.TB, name, certificatePEM, keyPEM string) {
				memory.WriteByHand(name, certificatePEM, keyPEM)
			},
			SoftDelete:  func(_ testing.TB, name string) { memory.SoftDelete(name) },
			ForgeIndex:  func(_ testing.TB, name string, entry anycert.Entry) { memory.ForgeIndex(name, entry) },
			NewerIndex:  func(_ testing.TB, name string) { memory.NewerIndex(name) },
			WithoutKeys: func(testing.TB) anycert.EntryReader { return keyless(memory) },
			Writes:      func(testing.TB) int { return memory.Counts().Writes + memory.Counts().Records },
		}
	})
}

// keyless is a memory of the same state that fails where keys are read.
func keyless(memory *storetest.Memory) *storetest.Memory {
	blind := &storetest.Memory{Fail: func(op storetest.Op, _ string) error {
		if op == storetest.OpGet || op == storetest.OpIndex {
			return anycert.ErrForbidden
		}
		return nil
	}}
	blind.Restore(memory.Snapshot())
	return blind
}

func TestMemoryFaults(t *testing.T) {
	down := false
	memory := &storetest.Memory{Fail: func(op storetest.Op, name string) error {
		if down && op == storetest.OpStat && name == "example" {
			return anycert.ErrUnavailable
		}
		return nil
	}}
	memory.WriteByHand("example", "no certificate", "no key")
	older := memory.Snapshot()
	memory.Rollback("example", 1)
	if entry, err := memory.Stat(t.Context(), "example"); entry.Version != 2 || !errors.Is(err, anycert.ErrUnindexed) {
		t.Errorf("after a rollback: version %d, %v, want version 2, ErrUnindexed", entry.Version, err)
	}
	memory.Restore(older)
	if entry, _ := memory.Stat(t.Context(), "example"); entry.Version != 1 {
		t.Errorf("after restoring a snapshot: version %d, want 1", entry.Version)
	}
	down = true
	if _, err := memory.Stat(t.Context(), "example"); !errors.Is(err, anycert.ErrUnavailable) {
		t.Errorf("with a fault: %v, want ErrUnavailable", err)
	}
	if got := memory.Counts(); got != (storetest.Counts{Stats: 2}) {
		t.Errorf("counted %+v, want two Stats", got)
	}
}

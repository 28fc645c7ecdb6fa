package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Two who pull at once, as in two shells, do not get into each other's way: each writes,
// and whoever reads sees one whole text.
func TestTwoPullsOfOneFile(t *testing.T) {
	dir, memory := t.TempDir(), t.TempDir()
	file := rendered{name: ".env", path: filepath.Join(dir, ".env")}
	var writers, readers sync.WaitGroup
	done := make(chan struct{})
	readers.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			text, err := os.ReadFile(file.path)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil || len(text) != 64<<10 || strings.Trim(string(text), string(text[:1])) != "" {
				t.Errorf("a reader saw %d bytes, %.20q, %v", len(text), text, err)
				return
			}
		}
	})
	for _, letter := range []string{"a", "b", "c", "d"} {
		writers.Go(func() {
			for range 20 {
				if _, err := file.put(t.Context(), memory, []byte(strings.Repeat(letter, 64<<10)), false); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("beside the file lie %v (%v)", entries, err)
	}
}

package main

import (
	"strings"
	"testing"

	e2e "github.com/anycert/anycert/internal/testenv/world"
)

// Fifty kills, and the judge finds nothing; the journal switched off, and it does.
// `make chaos` is twenty times as many.
func TestKilledFiftyTimes(t *testing.T) {
	e2e.DependOnSources(t)
	var said strings.Builder
	err := run(t.Context(), []string{"-kills", "50", "-dir", t.TempDir()}, &said)
	t.Log(said.String()) // the seed is in it
	if err != nil {
		t.Fatal(err)
	}
}

package main

import (
	"os"
	"strings"
	"testing"

	"github.com/anycert/anycert/reconcile"
)

// Colours are for a terminal that did not ask for none. That a pipe gets none is
// shown by the session terminal.txtar.
func TestColours(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	for name, test := range map[string]struct {
		env      map[string]string
		coloured bool
	}{
		"a terminal":      {map[string]string{"TERM": "xterm"}, true},
		"NO_COLOR":        {map[string]string{"TERM": "xterm", "NO_COLOR": "1"}, false},
		"a dumb terminal": {map[string]string{"TERM": "dumb"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("NO_COLOR", "")
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			app := &app{out: terminal}
			if got := app.paint()(reconcile.Kept, "kept"); strings.Contains(got, "\x1b") != test.coloured {
				t.Errorf("got %q", got)
			}
		})
	}
}

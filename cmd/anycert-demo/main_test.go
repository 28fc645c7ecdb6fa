package main

import (
	"path/filepath"
	"testing"

	"github.com/anycert/anycert/internal/testenv/program"
)

// The demo ends well, with nothing built but anycert and with the real parts. It
// checks itself at each step: exit codes, certificates issued, writes counted.
func TestDemo(t *testing.T) {
	anycert := filepath.Join(t.TempDir(), "anycert")
	if err := program.Build(t.Context(), anycert); err != nil {
		t.Fatal(err)
	}
	t.Run("without the rig", func(t *testing.T) {
		t.Setenv("ANYCERT_RIG", t.TempDir())
		t.Setenv("PATH", "/usr/bin:/bin")
		if err := run(t.Context(), []string{"-anycert", anycert, "-dir", filepath.Join(t.TempDir(), "demo")}); err != nil {
			t.Error(err)
		}
		if err := run(t.Context(), []string{"-real", "-anycert", anycert, "-dir", filepath.Join(t.TempDir(), "demo")}); err == nil {
			t.Error("the demo claims to be real without the real parts")
		}
	})
	t.Run("with the real parts", func(t *testing.T) {
		if err := run(t.Context(), []string{"-real", "-anycert", anycert, "-dir", filepath.Join(t.TempDir(), "demo")}); err != nil {
			t.Error(err)
		}
	})
}

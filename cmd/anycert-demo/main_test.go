package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
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
		if err := run(t.Context(), []string{"-anycert", anycert, "-dir", filepath.Join(t.TempDir(), "demo")}, t.Output()); err != nil {
			t.Error(err)
		}
		if err := run(t.Context(), []string{"-real", "-anycert", anycert, "-dir", filepath.Join(t.TempDir(), "demo")}, t.Output()); err == nil {
			t.Error("the demo claims to be real without the real parts")
		}
	})
	t.Run("with the real parts", func(t *testing.T) {
		var said bytes.Buffer
		dir := filepath.Join(t.TempDir(), "demo")
		if err := run(t.Context(), []string{"-real", "-anycert", anycert, "-dir", dir}, io.MultiWriter(&said, t.Output())); err != nil {
			t.Error(err)
		}
		readmeShows(t, strings.ReplaceAll(said.String(), dir+"/nginx", "/etc/ssl/anycert"))
	})
}

// readmeShows holds the sample in the README against what the demo said: each line of
// its audit and of its sync, but for the width of the columns.
func readmeShows(t *testing.T, said string) {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, sample, found := strings.Cut(string(readme), "$ anycert audit\n")
	sample, _, ended := strings.Cut(sample, "## Install it")
	if !found || !ended {
		t.Fatal("README.md has no sample of an audit before its section on installing")
	}
	lines := map[string]bool{}
	for line := range strings.Lines(said) {
		lines[strings.Join(strings.Fields(line), " ")] = true
	}
	shown := 0
	for line := range strings.Lines(sample) {
		words := strings.Join(strings.Fields(line), " ")
		if !strings.Contains(words, " kept") && !strings.Contains(words, " broken") {
			continue
		}
		shown++
		if !lines[words] {
			t.Errorf("README.md shows what the demo does not say: %s", words)
		}
	}
	if shown < 15 {
		t.Errorf("README.md shows %d lines of the demo", shown)
	}
}

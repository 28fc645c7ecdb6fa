package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/anycert/anycert/internal/breaks/overlay"
	"github.com/anycert/anycert/internal/testenv/parts"
	"github.com/anycert/anycert/internal/testenv/program"
)

// broken is the patch that switches the journal off.
const broken = "internal/chaos/broken/no-journal.patch"

// buildBroken builds the daemon without its journal.
func buildBroken(ctx context.Context, dir string) (binary string, err error) {
	checkout, err := parts.Checkout()
	if err != nil {
		return "", err
	}
	sources := filepath.Join(dir, "broken")
	if err := os.MkdirAll(sources, 0o700); err != nil {
		return "", err
	}
	laid, err := overlay.Write(sources, checkout, filepath.Join(checkout, broken))
	if err != nil {
		return "", err
	}
	binary = filepath.Join(dir, "anycert-without-journal")
	cmd := exec.CommandContext(ctx, "go", "build", "-overlay", laid, "-o", binary, "./cmd/anycert")
	cmd.Dir = checkout
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building anycert without its journal: %w\n%s", err, text)
	}
	return binary, nil
}

// build builds the daemon, unless there is one, and the judge.
func build(ctx context.Context, dir, daemon string) (programs, error) {
	built := programs{anycert: daemon, judge: filepath.Join(dir, "judge")}
	if built.anycert == "" {
		built.anycert = filepath.Join(dir, "anycert")
		if err := program.Build(ctx, built.anycert); err != nil {
			return built, err
		}
	}
	checkout, err := parts.Checkout()
	if err != nil {
		return built, err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", built.judge, "./internal/chaos/judge")
	cmd.Dir = checkout
	if text, err := cmd.CombinedOutput(); err != nil {
		return built, fmt.Errorf("building the judge: %w\n%s", err, text)
	}
	return built, nil
}

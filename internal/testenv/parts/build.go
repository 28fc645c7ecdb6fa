package parts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Build builds the parts that are missing and tells out what it does. Several
// programs may call it at once: one builds, the others wait and find it done.
// It needs Go and the Go module proxy.
func Build(ctx context.Context, out io.Writer, parts ...Part) error {
	for _, p := range parts {
		path, err := Path(p)
		if err != nil {
			return err
		}
		if err := buildOnce(ctx, out, p, path); err != nil {
			return fmt.Errorf("building %s: %w", p, err)
		}
	}
	return nil
}

func buildOnce(ctx context.Context, out io.Writer, p Part, path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	unlock, err := lock(filepath.Join(dir, ".lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return build(ctx, out, p, path)
}

func build(ctx context.Context, out io.Writer, p Part, path string) error {
	r, err := recipeOf(p)
	if err != nil {
		return err
	}
	module, err := moduleDir(r.module)
	if err != nil {
		return err
	}
	begun := time.Now()
	fmt.Fprintf(out, "rig: building %s from its Go module, once (about %s on two cores)\n", p, r.usual)
	unfinished := path + ".unfinished"
	flags := []string{"-s", "-w"}
	for _, v := range r.vars {
		flags = append(flags, "-X", v)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false",
		"-tags="+r.tags, "-ldflags="+strings.Join(flags, " "), "-o", unfinished, r.pkg)
	cmd.Dir = module
	// The surroundings must not decide what is built: the folder's name does.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build in %s: %w", module, err)
	}
	if err := os.Rename(unfinished, path); err != nil {
		return err
	}
	fmt.Fprintf(out, "rig: built %s in %s: %s\n", p, time.Since(begun).Round(time.Second), path)
	return nil
}

package hubs

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/anycert/anycert/internal/testenv/parts"
	"github.com/anycert/anycert/internal/testenv/world"
)

// previous is the last commit of what users had before this. It is moved on with each
// release.
const previous = "e77988d9e3249afc8459ee1f0d2ef2cf046ea142"

// A daemon of the previous release has obtained and pushed everything. This one takes
// over, and gives it back again: nothing is issued, and nothing is written anywhere.
func TestUpgradeAndDowngrade(t *testing.T) {
	t.Parallel()
	f := newFleet(t, cluster)
	config := f.hub("hub.yaml", "example", "api")
	now := f.Binary
	before := buildPrevious(t)
	for name, binary := range map[string]string{"this": now, "the previous": before} {
		if got := f.with(binary).Run(config, "check"); got.Code != 0 {
			t.Fatalf("%s release does not take the configuration: %v", name, got)
		}
	}

	f.Binary = before
	f.start(config)
	f.filled("example", "api")
	f.calm("under the previous release")
	f.end(0, (*world.Daemon).End)

	for _, next := range []struct{ name, binary string }{
		{"after the upgrade", now}, {"after the downgrade", before}, {"after the second upgrade", now},
	} {
		f.Binary = next.binary
		m := f.Now()
		f.start(config)
		f.passes(2)
		f.WroteNothing(next.name, m, advice)
		f.end(0, (*world.Daemon).End)
		f.WroteNothing(next.name+", at the end", m, advice)
		f.Kept(f.Report(0, config, "sync"))
		f.Kept(f.Report(0, config, "audit"))
		f.WroteNothing(next.name+", by a sync", m, advice)
	}
	f.issuedOnce("example", "api")

	// Both at once, as while one is replaced by the other.
	f.start(config)
	f.Binary = before
	f.start(config)
	f.calm("under both releases")
	f.breaks("example")
	f.filled("example", "api")
	f.calm("under both, once it is mended")
	f.issuedOnce("example", "api")
}

// advice is what a release that follows the CA's advice keeps of it, once.
const advice = "/renewals/"

// with is the world with another program.
func (f *fleet) with(binary string) *world.World {
	other := *f.World
	other.Binary = binary
	return &other
}

// buildPrevious builds the previous release as it was shipped.
func buildPrevious(t *testing.T) (binary string) {
	t.Helper()
	checkout, err := parts.Checkout()
	if err != nil {
		t.Fatal(err)
	}
	sources := t.TempDir()
	archive := exec.CommandContext(t.Context(), "git", "-C", checkout, "archive", "--format=tar", previous)
	unpack := exec.CommandContext(t.Context(), "tar", "-x", "-C", sources)
	var said bytes.Buffer
	archive.Stderr, unpack.Stderr = &said, &said
	if unpack.Stdin, err = archive.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unpack.Start(), archive.Run(), unpack.Wait()); err != nil {
		t.Fatalf("the commit %s of the previous release cannot be had from this checkout (%v): %sthis test needs its history, so clone without --depth, or run `git fetch --unshallow`",
			previous, err, &said)
	}
	binary = filepath.Join(t.TempDir(), "anycert")
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-s -w", "-o", binary, "./cmd/anycert")
	build.Dir = sources
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath", "GOWORK=off")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the previous release: %v\n%s", err, text)
	}
	return binary
}

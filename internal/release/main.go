// Command release makes what is given away: images and archives, each the same to
// the last byte wherever the same commit is built by the same Go.
//
//	release image       OCI image for linux/amd64 and linux/arm64, to dist/image and dist/image.tar
//	release tree        the image's files alone, to dist/tree: for deploy/image/Containerfile
//	release archives    archives with binaries, licences, units, completions; SBOMs; SHA256SUMS
//	release licences    the licences of everything that is linked; -check fails on one that is not allowed
//
// It is a module of its own, so that its libraries stay out of anycert's go.mod.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/anycert/anycert/internal/release/build"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// job is what the flags say.
type job struct {
	source    string // the checkout
	to        string // folder
	platforms []build.Platform
	out       io.Writer
}

var verbs = map[string]struct {
	platforms string // unless -platforms names others
	do        func(context.Context, job) error
}{
	"image":    {"linux/amd64,linux/arm64", makeImage},
	"tree":     {build.Host().String(), makeTree},
	"archives": {"linux/amd64,linux/arm64,darwin/amd64,darwin/arm64", makeArchives},
	"licences": {"linux/amd64,linux/arm64,darwin/amd64,darwin/arm64", showLicences},
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		args = []string{""}
	}
	verb, ok := verbs[args[0]]
	if !ok {
		return fmt.Errorf("%q is no verb: use image, tree, archives or licences", args[0])
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	source := flags.String("source", "../..", "`folder` of the checkout")
	to := flags.String("to", "../../dist", "`folder` that is written to")
	platforms := flags.String("platforms", verb.platforms, "`list` of OS/ARCH")
	check := flags.Bool("check", false, "licences: say nothing, and fail on one that is not allowed")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%s takes no arguments, there is %q", args[0], strings.Join(flags.Args(), " "))
	}
	wanted, err := build.ParsePlatforms(*platforms)
	if err != nil {
		return err
	}
	if *check {
		out = io.Discard
	}
	folder, err := filepath.Abs(*to) // `make` runs it elsewhere than it is typed
	if err != nil {
		return err
	}
	return verb.do(ctx, job{source: filepath.Clean(*source), to: folder, platforms: wanted, out: out})
}

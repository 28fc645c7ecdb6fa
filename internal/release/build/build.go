// Package build compiles anycert so that the same commit and the same Go give the
// same bytes, wherever the folder is and whatever the environment says. All that is
// later told of a binary, its version, commit, time and modules, is read from the
// binary itself.
package build

import (
	"bytes"
	"cmp"
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// Platform is an operating system and an architecture, as Go calls them.
type Platform struct{ OS, Arch string }

func (p Platform) String() string { return p.OS + "/" + p.Arch }

// Host is the platform of this machine.
func Host() Platform { return Platform{runtime.GOOS, runtime.GOARCH} }

// ParsePlatforms reads a list such as "linux/amd64,linux/arm64".
func ParsePlatforms(list string) ([]Platform, error) {
	var platforms []Platform
	for word := range strings.SplitSeq(list, ",") {
		system, arch, ok := strings.Cut(strings.TrimSpace(word), "/")
		if !ok || system == "" || arch == "" {
			return nil, fmt.Errorf("%q is no platform: write OS/ARCH, as in linux/amd64", word)
		}
		platforms = append(platforms, Platform{system, arch})
	}
	return platforms, nil
}

// Binary is a compiled anycert, and what it says of itself.
type Binary struct {
	Platform Platform
	Path     string
	Info     *debug.BuildInfo

	Version  string    // of the main module: a tag, or one made from commit and time
	Revision string    // commit; empty outside a checkout
	Time     time.Time // of the commit, UTC; SOURCE_DATE_EPOCH wins over it
}

// Flags are those of every build of anycert, of `make build` too: others make Go
// compile a thousand packages anew.
func Flags() []string { return []string{"-trimpath", "-buildvcs=auto", "-ldflags=-s -w"} }

// Anycert compiles ./cmd/anycert of the checkout at source into the file to.
func Anycert(ctx context.Context, source string, platform Platform, to string) (*Binary, error) {
	to, err := filepath.Abs(to)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "go", append(append([]string{"build"}, Flags()...), "-o", to, "./cmd/anycert")...)
	cmd.Dir, cmd.Env = source, Environment(platform)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building anycert for %s in %s: %w\n%s", platform, source, err, bytes.TrimSpace(out))
	}
	return Read(to, platform)
}

// Environment is this process's, without what would change a build for platform.
func Environment(platform Platform) []string {
	return append(os.Environ(), "GOOS="+platform.OS, "GOARCH="+platform.Arch, "CGO_ENABLED=0",
		"GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=", "GOWORK=off", "GOEXPERIMENT=", "GOFIPS140=off")
}

// Read reads what a binary says of itself.
func Read(path string, platform Platform) (*Binary, error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading what %s says of itself: %w", path, err)
	}
	b := &Binary{Platform: platform, Path: path, Info: info, Version: version(info), Time: time.Unix(0, 0).UTC()}
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			b.Revision = setting.Value
		case "vcs.time":
			if b.Time, err = time.Parse(time.RFC3339, setting.Value); err != nil {
				return nil, fmt.Errorf("reading what %s says of itself: %w", path, err)
			}
		}
	}
	if epoch := os.Getenv("SOURCE_DATE_EPOCH"); epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("SOURCE_DATE_EPOCH=%q is no number of seconds", epoch)
		}
		b.Time = time.Unix(seconds, 0).UTC()
	}
	return b, nil
}

// version is what `anycert version` prints.
func version(info *debug.BuildInfo) string {
	if info.Main.Version == "(devel)" {
		return "devel"
	}
	return cmp.Or(info.Main.Version, "devel")
}

// Package licence finds the licences of everything that is linked into anycert,
// names them, and holds them against what may be linked.
package licence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/anycert/anycert/internal/release/build"
)

// Module is one that is linked, with the licences that go with what is linked of it.
type Module struct {
	Path    string // "std" for Go's standard library
	Version string
	Files   []File // sorted by name
}

// File is a licence, or a notice that must go with it.
type File struct {
	Name string // within the module
	Text []byte
	IDs  []string // SPDX identifiers of the licences in it; none in a notice
}

// IDs are the identifiers of all its licences, sorted.
func (m Module) IDs() []string {
	var ids []string
	for _, file := range m.Files {
		ids = append(ids, file.IDs...)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// listed is what `go list` tells of a package.
type listed struct {
	Dir    string
	Module *owner // none for Go's own
}

type owner struct {
	Path, Version, Dir string
	Main               bool
}

// Linked finds the modules that packages of the module in the folder dir are built
// from on platforms, sorted by path, and names their licences. The module itself is
// not among them.
func Linked(ctx context.Context, dir string, platforms []build.Platform, packages ...string) ([]Module, error) {
	found := map[string]*Module{}
	seen := map[string]bool{}
	for _, platform := range platforms {
		listed, err := list(ctx, dir, platform, packages)
		if err != nil {
			return nil, err
		}
		for _, p := range listed {
			if seen[p.Dir] || p.Module != nil && p.Module.Main {
				continue
			}
			seen[p.Dir] = true
			if err := p.collect(found); err != nil {
				return nil, err
			}
		}
	}
	modules := make([]Module, 0, len(found))
	for _, path := range slices.Sorted(maps.Keys(found)) {
		modules = append(modules, *found[path])
	}
	return modules, identify(modules)
}

func list(ctx context.Context, dir string, platform build.Platform, packages []string) ([]listed, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"list", "-deps", "-json=Dir,Module"}, packages...)...)
	cmd.Dir, cmd.Env = dir, build.Environment(platform)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return nil, fmt.Errorf("listing what is linked for %s: %w", platform, err)
	}
	var all []listed
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
}

// collect adds the licences of a package: those in its folder and in each one above
// it, up to the module's. What was copied into a module keeps its own licence.
func (p listed) collect(found map[string]*Module) error {
	name, version, top := "std", runtime.Version(), goRoot(p.Dir)
	if p.Module != nil {
		name, version, top = p.Module.Path, p.Module.Version, p.Module.Dir
	}
	module := found[name]
	if module == nil {
		module = &Module{Path: name, Version: version}
		found[name] = module
	}
	for dir := p.Dir; ; dir = filepath.Dir(dir) {
		if err := module.read(top, dir); err != nil {
			return err
		}
		if dir == top || dir == filepath.Dir(dir) {
			break
		}
	}
	slices.SortFunc(module.Files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// goRoot is the folder above src.
func goRoot(dir string) string {
	for filepath.Base(dir) != "src" && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
	}
	return filepath.Dir(dir)
}

// licenceFile is how licences and notices are called.
var licenceFile = regexp.MustCompile(`(?i)^(un)?(licen[cs]e|copying|notice|copyright|patents)s?([-_.][-_.a-z0-9]*)?$`)

// code is never a licence, whatever it is called.
var code = regexp.MustCompile(`(?i)\.(go|tmpl|json|ya?ml|sh|py)$`)

func (m *Module) read(top, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !entry.Type().IsRegular() || !licenceFile.MatchString(entry.Name()) || code.MatchString(entry.Name()) {
			continue
		}
		path := filepath.Join(dir, entry.Name())
		name, err := filepath.Rel(top, path)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		known := slices.ContainsFunc(m.Files, func(f File) bool { return f.Name == name })
		if known || unlinked[m.Path+" "+name] != "" {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		m.Files = append(m.Files, File{Name: name, Text: text})
	}
	return nil
}

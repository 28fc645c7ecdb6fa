package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/anycert/anycert/internal/release/archive"
	"github.com/anycert/anycert/internal/release/build"
	"github.com/anycert/anycert/internal/release/licence"
	"github.com/anycert/anycert/internal/release/sbom"
)

// makeArchives writes for each platform an archive and a bill of materials, and
// SHA256SUMS over all of them.
func makeArchives(ctx context.Context, j job) error {
	modules, err := j.linked(ctx)
	if err == nil {
		err = licence.Check(modules)
	}
	if err != nil {
		return err
	}
	binaries, err := j.binaries(ctx)
	if err != nil {
		return err
	}
	common, err := j.papers(ctx, modules, binaries)
	if err != nil {
		return err
	}
	var sums bytes.Buffer
	for _, binary := range binaries {
		if err := j.release(binary, common, modules, &sums); err != nil {
			return fmt.Errorf("packing the release for %s: %w", binary.Platform, err)
		}
	}
	return os.WriteFile(filepath.Join(j.to, "SHA256SUMS"), sums.Bytes(), 0o644)
}

// papers are what every archive holds beside the binary.
func (j job) papers(ctx context.Context, modules []licence.Module, binaries []*build.Binary) ([]archive.File, error) {
	files := []archive.File{{Name: "THIRD-PARTY", Mode: 0o644, Data: licence.Texts(modules)}}
	for _, name := range []string{"LICENSE", "README.md"} {
		file, err := archive.Read(name, 0o644, filepath.Join(j.source, name))
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	completions, err := j.completions(ctx, binaries)
	return append(files, completions...), err
}

// completions asks a binary that runs here, one of binaries or another.
func (j job) completions(ctx context.Context, binaries []*build.Binary) ([]archive.File, error) {
	here := slices.IndexFunc(binaries, func(b *build.Binary) bool { return b.Platform == build.Host() })
	if here < 0 {
		j.platforms = []build.Platform{build.Host()}
		made, err := j.binaries(ctx)
		if err != nil {
			return nil, err
		}
		binaries, here = made, 0
	}
	var files []archive.File
	for _, shell := range []struct{ name, file string }{{"bash", "anycert.bash"}, {"zsh", "_anycert"}, {"fish", "anycert.fish"}} {
		text, err := exec.CommandContext(ctx, binaries[here].Path, "completion", shell.name).Output()
		if err != nil {
			return nil, fmt.Errorf("making the completion for %s: %w", shell.name, err)
		}
		files = append(files, archive.File{Name: "completions/" + shell.file, Mode: 0o644, Data: text})
	}
	return files, nil
}

// release writes the files of one platform.
func (j job) release(binary *build.Binary, common []archive.File, modules []licence.Module, sums *bytes.Buffer) error {
	program, err := archive.Read("anycert", 0o755, binary.Path)
	if err != nil {
		return err
	}
	files := append([]archive.File{program}, common...)
	if binary.Platform.OS == "linux" {
		units, err := j.units()
		if err != nil {
			return err
		}
		files = append(files, units...)
	}
	top := fmt.Sprintf("anycert_%s_%s_%s", binary.Version, binary.Platform.OS, binary.Platform.Arch)
	var packed, bill bytes.Buffer
	if err := archive.Write(&packed, top, binary.Time, files); err != nil {
		return err
	}
	if err := sbom.Write(&bill, binary, modules); err != nil {
		return err
	}
	for _, file := range []archive.File{{Name: top + ".cdx.json", Data: bill.Bytes()}, {Name: top + ".tar.gz", Data: packed.Bytes()}} {
		if err := os.WriteFile(filepath.Join(j.to, file.Name), file.Data, 0o644); err != nil {
			return err
		}
		fmt.Fprintf(sums, "%x  %s\n", sha256.Sum256(file.Data), file.Name)
		fmt.Fprintf(j.out, "%s  %.1f MB\n", filepath.Join(j.to, file.Name), float64(len(file.Data))/1e6)
	}
	return nil
}

// units are what a machine with systemd needs.
func (j job) units() ([]archive.File, error) {
	var files []archive.File
	for _, pattern := range []string{"*.service", "*.conf", "*.rules", "*.yaml", "README.md"} {
		found, err := archive.Glob("systemd", 0o644, filepath.Join(j.source, "deploy", "systemd", pattern))
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("deploy/systemd: %w", fs.ErrNotExist)
	}
	return files, nil
}

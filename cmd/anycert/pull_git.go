package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// refuseTracked keeps private keys out of git: a directory within a work tree must
// be ignored there.
func refuseTracked(ctx context.Context, dir string) error {
	root := workTree(dir)
	if root == "" {
		return nil
	}
	// The keys lie below .anycert: DIR/NAME is a symlink, and git looks behind none.
	ignored, err := gitIgnores(ctx, root, filepath.Join(dir, ".anycert", "example", "privkey.pem"))
	switch {
	case err != nil:
		return fmt.Errorf("pull: %s is inside the git work tree %s, and git could not be asked whether it ignores it (%w): choose a --dir outside", dir, root, err)
	case !ignored:
		relative, _ := filepath.Rel(root, dir)
		return fmt.Errorf("pull: %s is inside the git work tree %s, which does not ignore it: a private key would be one `git add` away from being published; add /%s/ to %s, or choose another --dir",
			dir, root, filepath.ToSlash(relative), filepath.Join(root, ".gitignore"))
	}
	return nil
}

// resolved is path without symlinks, as far as it exists.
func resolved(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil || path == filepath.Dir(path) {
		return cmp.Or(real, path)
	}
	return filepath.Join(resolved(filepath.Dir(path)), filepath.Base(path))
}

// workTree is the nearest folder at or above dir that git works in.
func workTree(dir string) string {
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Lstat(filepath.Join(at, ".git")); err == nil {
			return at
		}
		if at == filepath.Dir(at) {
			return ""
		}
	}
}

// gitIgnores asks git itself: only it knows all its rules.
func gitIgnores(ctx context.Context, root, path string) (bool, error) {
	return git(ctx, root, "check-ignore", "--quiet", path)
}

// elsewhere are the variables by which git tells the hooks of a repository which that is.
// We ask about the one that a file lies in.
var elsewhere = []string{"GIT_DIR=", "GIT_WORK_TREE=", "GIT_INDEX_FILE=", "GIT_COMMON_DIR="}

// git asks a question whose answer is an exit code. The work tree's own configuration
// may name a command to run at each look, which is somebody else's.
func git(ctx context.Context, root string, question ...string) (bool, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-c", "core.fsmonitor=false", "-C", root}, question...)...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return slices.ContainsFunc(elsewhere, func(name string) bool { return strings.HasPrefix(variable, name) })
	})
	var exit *exec.ExitError
	switch _, err := cmd.Output(); {
	case err == nil:
		return true, nil
	case errors.As(err, &exit) && exit.ExitCode() == 1:
		return false, nil
	case errors.As(err, &exit):
		return false, fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	default:
		return false, err
	}
}

// refuseTrackedFile keeps a rendered file out of git, as refuseTracked does a directory.
func refuseTrackedFile(ctx context.Context, path string) error {
	root := workTree(filepath.Dir(path))
	if root == "" {
		return nil
	}
	relative, err := filepath.Rel(root, path)
	if err != nil {
		return err
	}
	// What git tracks already, it goes on tracking, whatever it is told to ignore.
	tracked, err := git(ctx, root, "ls-files", "--error-unmatch", "--", relative)
	if err != nil {
		return fmt.Errorf("pull: %s is inside the git work tree %s, and git could not be asked whether it ignores it (%w): choose an --out outside", path, root, err)
	}
	ignored, err := gitIgnores(ctx, root, path)
	switch {
	case err != nil:
		return fmt.Errorf("pull: %s is inside the git work tree %s, and git could not be asked whether it ignores it (%w): choose an --out outside", path, root, err)
	case tracked:
		return fmt.Errorf("pull: git tracks %s in %s: what is rendered may hold secrets, and is one commit away from being published; git rm --cached it and add /%s to %s, or choose an --out outside",
			relative, root, filepath.ToSlash(relative), filepath.Join(root, ".gitignore"))
	case !ignored:
		return fmt.Errorf("pull: %s is inside the git work tree %s, which does not ignore it: what is rendered may hold secrets, and is one `git add` away from being published; add /%s to %s, or choose an --out outside",
			path, root, filepath.ToSlash(relative), filepath.Join(root, ".gitignore"))
	}
	return nil
}

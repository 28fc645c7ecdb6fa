// Package overlay lays a patch over the sources for one build: nothing in the work tree
// is changed.
package overlay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

var changed = regexp.MustCompile(`(?m)^\+\+\+ b/(\S+)`)

// Files lists what a patch changes, from the top of the project.
func Files(patch []byte) []string {
	var files []string
	for _, match := range changed.FindAllSubmatch(patch, -1) {
		files = append(files, string(match[1]))
	}
	return files
}

// Write applies the patch at a path, as `git diff` prints it, to copies in dir of the
// files that it changes. It returns what the flag -overlay of go build and go test
// wants. The top of the project is checkout.
func Write(dir, checkout, path string) (file string, err error) {
	patch, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	replace := make(map[string]string)
	for _, name := range Files(patch) {
		original, err := filepath.Abs(filepath.Join(checkout, filepath.FromSlash(name)))
		if err != nil {
			return "", err
		}
		text, err := os.ReadFile(original)
		if err != nil {
			return "", err
		}
		copied := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(copied), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(copied, text, 0o644); err != nil {
			return "", err
		}
		replace[original] = copied
	}
	apply := exec.Command("git", "apply", "-")
	apply.Dir, apply.Stdin = dir, bytes.NewReader(patch)
	apply.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir))
	if out, err := apply.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s does not apply any more:\n%s", path, strings.TrimSpace(string(out)))
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file = filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, text, 0o644)
}

// Package chart holds the Helm chart against what it promises, with the real helm and
// no cluster: what it renders, which mistakes it names, and that its values, their
// schema and its README say the same.
package chart

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/anycert/anycert/internal/testenv/parts"
)

// dir is the chart's.
const dir = "../../../../deploy/chart"

// helm runs it on the chart, with values in YAML, and returns what it printed.
func helm(t *testing.T, values string, verb ...string) (stdout, stderr string, err error) {
	t.Helper()
	path, err := parts.Find(parts.Helm)
	if err != nil {
		t.Fatal(err)
	}
	noteChart(t)
	home := t.TempDir()
	file := filepath.Join(home, "values.yaml")
	if err := os.WriteFile(file, []byte(values), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, append(verb, dir, "--namespace", "anycert", "--values", file)...)
	cmd.Env = []string{"HOME=" + home}
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errOut.String(), err
}

// noteChart reads what helm will read, so that go test knows that the result depends
// on it.
func noteChart(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			_, err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// manifests are what a release would apply, by kind and name.
type manifests map[string][]byte

func render(t *testing.T, values string, flags ...string) manifests {
	t.Helper()
	stdout, stderr, err := helm(t, values, append([]string{"template", "anycert"}, flags...)...)
	if err != nil || stderr != "" {
		t.Fatalf("helm template: %v\n%s", err, stderr)
	}
	found := manifests{}
	for text := range strings.SplitSeq(stdout, "\n---\n") {
		var head struct {
			Kind     string
			Metadata struct{ Namespace, Name string }
		}
		if err := yaml.Unmarshal([]byte(text), &head); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if head.Kind == "" {
			continue
		}
		name := head.Kind + " " + head.Metadata.Namespace + "/" + head.Metadata.Name
		if found[name] != nil {
			t.Errorf("%s is there twice", name)
		}
		found[name] = []byte(text)
	}
	return found
}

// get decodes one object, in which no field may be unknown to Kubernetes.
func get[T any](t *testing.T, m manifests, name string) *T {
	t.Helper()
	if m[name] == nil {
		t.Fatalf("there is no %s", name)
	}
	object := new(T)
	if err := yaml.UnmarshalStrict(m[name], object); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return object
}

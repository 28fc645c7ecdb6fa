package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-cmp/cmp"
	"github.com/xeipuuv/gojsonschema"

	"github.com/anycert/anycert/internal/release/build"
)

// checkArchive looks into the one archive that a release of one platform has.
func checkArchive(t *testing.T, dir string) {
	path := onlyMatch(t, dir, "*.tar.gz")
	top := strings.TrimSuffix(filepath.Base(path), ".tar.gz")
	files := untar(t, path)
	var names []string
	for name := range files {
		names = append(names, strings.TrimPrefix(name, top+"/"))
	}
	for _, want := range []string{"anycert", "LICENSE", "THIRD-PARTY", "README.md", "completions/anycert.bash", "completions/_anycert",
		"completions/anycert.fish", "systemd/anycert-hub.service", "systemd/anycert-follower.service"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not in the archive %s: %q", want, path, names)
		}
	}
	program := filepath.Join(t.TempDir(), "anycert")
	must(t, os.WriteFile(program, files[top+"/anycert"], 0o700))
	said, err := exec.CommandContext(t.Context(), program, "version").Output()
	must(t, err)
	version, _, _ := strings.Cut(strings.TrimPrefix(top, "anycert_"), "_")
	if !strings.HasPrefix(string(said), "anycert "+version+"\n") {
		t.Errorf("the archive is called %s, and its binary says\n%s", top, said)
	}
	checkSums(t, dir, filepath.Base(path), top+".cdx.json")
}

// checkSums computes SHA256SUMS anew.
func checkSums(t *testing.T, dir string, names ...string) {
	t.Helper()
	slices.Sort(names)
	var want bytes.Buffer
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		fmt.Fprintf(&want, "%x  %s\n", sha256.Sum256(data), name)
	}
	got, err := os.ReadFile(filepath.Join(dir, "SHA256SUMS"))
	must(t, err)
	if diff := cmp.Diff(want.String(), string(got)); diff != "" {
		t.Errorf("SHA256SUMS (-want +got):\n%s", diff)
	}
}

// checkBill holds the bill of materials against its schema and against the binary.
func checkBill(t *testing.T, dir string) {
	text, err := os.ReadFile(onlyMatch(t, dir, "*.cdx.json"))
	must(t, err)
	checkSchema(t, text)
	var bom cdx.BOM
	must(t, cdx.NewBOMDecoder(bytes.NewReader(text), cdx.BOMFileFormatJSON).Decode(&bom))
	binary, err := build.Read(filepath.Join(dir, "bin", "linux-amd64", "anycert"), build.Platform{OS: "linux", Arch: "amd64"})
	must(t, err)
	want := []string{"std " + binary.Info.GoVersion}
	for _, module := range binary.Info.Deps {
		want = append(want, module.Path+" "+module.Version)
	}
	var got []string
	for _, part := range *bom.Components {
		got = append(got, part.Name+" "+part.Version)
		if part.Licenses == nil || len(*part.Licenses) == 0 {
			t.Errorf("%s has no licence", part.Name)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("modules in the binary and in its bill (-binary +bill):\n%s", diff)
	}
	if bom.Metadata.Component.Version != binary.Version {
		t.Errorf("the bill is for %s, the binary is %s", bom.Metadata.Component.Version, binary.Version)
	}
}

// checkSchema uses the schemas that come with the module that writes.
func checkSchema(t *testing.T, text []byte) {
	t.Helper()
	schemas := filepath.Join(strings.TrimSpace(string(command(t, ".", "go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go"))), "schema")
	loader := gojsonschema.NewSchemaLoader()
	for url, file := range map[string]string{"spdx.schema.json": "spdx.schema.json", "jsf-0.82.schema.json": "jsf-0.82.schemax.json"} {
		schema, err := os.ReadFile(filepath.Join(schemas, file))
		must(t, err)
		must(t, loader.AddSchema("http://cyclonedx.org/schema/"+url, gojsonschema.NewBytesLoader(schema)))
	}
	own, err := os.ReadFile(filepath.Join(schemas, "bom-1.6.schema.json"))
	must(t, err)
	schema, err := loader.Compile(gojsonschema.NewBytesLoader(own))
	must(t, err)
	result, err := schema.Validate(gojsonschema.NewBytesLoader(text))
	must(t, err)
	for _, mistake := range result.Errors() {
		t.Errorf("the bill of materials: %s", mistake)
	}
}

func onlyMatch(t *testing.T, dir, pattern string) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	must(t, err)
	if len(paths) != 1 {
		t.Fatalf("%d files are like %s, want one", len(paths), pattern)
	}
	return paths[0]
}

func untar(t *testing.T, path string) map[string][]byte {
	t.Helper()
	file, err := os.Open(path)
	must(t, err)
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	must(t, err)
	files := map[string][]byte{}
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		must(t, err)
		files[header.Name], err = io.ReadAll(archive)
		must(t, err)
	}
}

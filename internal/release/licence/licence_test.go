package licence

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert/internal/release/build"
)

// Everything that is linked into anycert may be.
func TestWhatIsLinkedIsAllowed(t *testing.T) {
	platforms, err := build.ParsePlatforms("linux/amd64,linux/arm64,darwin/amd64,darwin/arm64")
	if err != nil {
		t.Fatal(err)
	}
	modules, err := Linked(t.Context(), "../../..", platforms, "./cmd/anycert")
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(modules); err != nil {
		t.Error(err)
	}
	ids := map[string]string{}
	for _, module := range modules {
		ids[module.Path] = strings.Join(module.IDs(), " ")
	}
	for path, want := range map[string]string{ // one for each licence that is there
		"k8s.io/client-go":               "Apache-2.0",
		"github.com/hashicorp/vault/api": "MPL-2.0",
		"github.com/go-acme/lego/v4":     "MIT",
		"golang.org/x/net":               "BSD-3-Clause",
		"github.com/davecgh/go-spew":     "ISC",
		"github.com/aws/aws-sdk-go-v2":   "Apache-2.0 BSD-3-Clause", // what it copied has its own
	} {
		if ids[path] != want {
			t.Errorf("the licence of %s is %q, want %q", path, ids[path], want)
		}
	}
	if len(modules) < 50 {
		t.Errorf("%d modules only", len(modules))
	}
}

func TestCheckNamesWhatIsNotAllowed(t *testing.T) {
	mit, err := os.ReadFile("testdata/MIT")
	if err != nil {
		t.Fatal(err)
	}
	gpl, err := os.ReadFile("testdata/GPL-3.0")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		files []File
		want  string // part of the error; empty when it is allowed
	}{
		{"allowed", []File{{Name: "LICENSE", Text: mit}}, ""},
		{"allowed, with a notice", []File{{Name: "LICENSE", Text: mit}, {Name: "NOTICE", Text: []byte("Made by many.")}}, ""},
		{"forbidden", []File{{Name: "COPYING", Text: gpl}}, "COPYING holds the licence GPL-3.0, which is not allowed"},
		{"one of two forbidden", []File{{Name: "LICENSE", Text: mit}, {Name: "internal/copied/LICENSE", Text: gpl}}, "internal/copied/LICENSE holds the licence GPL-3.0"},
		{"unknown", []File{{Name: "LICENSE", Text: []byte("All rights are mine.")}}, "none of LICENSE is a licence that is known"},
		{"a notice alone", []File{{Name: "NOTICE", Text: []byte("Made by many.")}}, "none of NOTICE is a licence that is known"},
		{"none", nil, "it has no licence"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			modules := []Module{{Path: "example.com/m", Version: "v1.2.3", Files: test.files}}
			if err := identify(modules); err != nil {
				t.Fatal(err)
			}
			err := Check(modules)
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), "example.com/m v1.2.3: "+test.want)):
				t.Errorf("%v, want that %s", err, test.want)
			}
		})
	}
}

// A package's licences are those beside it and above it, up to its module.
func TestCollect(t *testing.T) {
	top := t.TempDir()
	for _, name := range []string{"LICENSE", "Notice.txt", "copied/LICENCE.md", "copied/license.go", "other/COPYING", "LICENSES/MIT"} {
		path := filepath.Join(top, "module", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(top, "LICENSE"), []byte("of somebody else"), 0o644); err != nil {
		t.Fatal(err)
	}
	var p listed
	p.Dir = filepath.Join(top, "module", "copied")
	p.Module = &owner{Path: "example.com/m", Version: "v1.0.0", Dir: filepath.Join(top, "module")}
	found := map[string]*Module{}
	for range 2 { // a second package finds the same
		if err := p.collect(found); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"LICENSE", "Notice.txt", "copied/LICENCE.md"}, names(found["example.com/m"].Files)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTextsHoldEachTextOnce(t *testing.T) {
	modules := []Module{
		{Path: "example.com/a", Version: "v1.0.0", Files: []File{{Name: "LICENSE", Text: []byte("as it is\n"), IDs: []string{"MIT"}}}},
		{Path: "example.com/b", Version: "v2.0.0", Files: []File{{Name: "LICENSE", Text: []byte("as it is"), IDs: []string{"MIT"}}, {Name: "NOTICE", Text: []byte("by many")}}},
	}
	text := string(Texts(modules))
	for want, times := range map[string]int{
		"example.com/a v1.0.0: MIT\n": 1, "example.com/b v2.0.0: MIT\n": 1, "as it is": 1, "by many": 1,
		"example.com/a LICENSE\nexample.com/b LICENSE\n": 1, "example.com/b NOTICE\n": 1,
	} {
		if n := strings.Count(text, want); n != times {
			t.Errorf("%q is there %d times, want %d:\n%s", want, n, times, text)
		}
	}
}

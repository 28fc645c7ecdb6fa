// Package walls holds up the walls between the packages: imports run one way,
//
//	cmd → internal/config, internal/web → issuer, store, sinks, reconcile → anycert → standard library
//
// and nothing that is for tests is linked into what is shipped.
package walls

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/anycert/anycert"

// tools are the two things that every part does alike: reading files that it is told
// to trust, and telling several errors in one line.
var tools = []string{"/internal/trusted", "/internal/failures"}

func tool(path string) bool { return slices.Contains(tools, path) }

// pkg is what `go list` tells of a package. Imports of its tests are not there:
// tests may reach anywhere.
type pkg struct {
	ImportPath string
	Imports    []string
}

// wall is a rule about imports, and why it is there.
type wall struct {
	name   string
	why    string
	breaks func(from, to string) bool // paths; those of the project without the module's: "", "/sinks/fly"
}

var walls = []wall{
	{
		name:   "contracts",
		why:    "package anycert says what the parts promise each other; what it imports, every part depends on",
		breaks: func(from, to string) bool { return from == "" && !standard(to) },
	},
	{
		name: "parts",
		why:  "issuer, store, reconcile and each sink know only the contracts: any can be replaced, tested and read alone",
		breaks: func(from, to string) bool {
			return part(from) != "" && part(to) != "" && part(from) != part(to) && (part(from) != "/sinks" || !isSink(to))
		},
	},
	{
		name: "no SDK in reconcile",
		why:  "what decides must not know whose API it decides about",
		breaks: func(from, to string) bool {
			return part(from) == "/reconcile" && !ours(to) && !standard(to) && to != "golang.org/x/sync/errgroup"
		},
	},
	{
		name: "wiring",
		why:  "internal/config is the only package that knows everyone, so nobody but a command may know it",
		breaks: func(from, to string) bool {
			return within(to, "/internal/config") && !within(from, "/internal/config") && !within(from, "/cmd") && !forTests(from)
		},
	},
	{
		name: "internal",
		why:  "a part is usable on its own: it needs nothing of how we put the parts together",
		breaks: func(from, to string) bool {
			return (from == "" || part(from) != "") && !forTests(from) && within(to, "/internal") && !tool(to)
		},
	},
	{
		name: "tool",
		why:  "what every part does alike depends on none of them",
		breaks: func(from, to string) bool {
			return tool(from) && to != "" && !standard(to)
		},
	},
	{
		name: "metrics",
		why:  "how others count us is the web server's business: the parts keep plain numbers",
		breaks: func(from, to string) bool {
			return strings.HasPrefix(to, "github.com/prometheus/") && !within(from, "/internal/web")
		},
	},
	{
		name:   "commands",
		why:    "a command is the end of the way",
		breaks: func(from, to string) bool { return within(to, "/cmd") && !within(from, "/cmd") && !forTests(from) },
	},
	{
		name: "tests",
		why:  "stand-ins, rigs and package testing have no business in what is shipped",
		breaks: func(from, to string) bool {
			return ours(from) && !forTests(from) && (to == "testing" || forTests(to))
		},
	},
}

// part is the part of the project that a package belongs to: issuer, store,
// reconcile, the list of sinks, or one sink; "" for everything else.
func part(path string) string {
	for _, name := range []string{"/issuer", "/store", "/reconcile"} {
		if within(path, name) && !forTests(path) {
			return name
		}
	}
	if !within(path, "/sinks") || forTests(path) {
		return ""
	}
	elements := strings.SplitN(path, "/", 4)
	return strings.Join(elements[:min(len(elements), 3)], "/")
}

func isSink(path string) bool { return strings.HasPrefix(part(path), "/sinks/") }

// forTests reports whether a package is for tests and demonstrations only.
func forTests(path string) bool {
	for _, tree := range []string{"/internal/testenv", "/internal/e2e", "/internal/bench", "/internal/breaks", "/internal/chaos", "/internal/deps", "/cmd/anycert-demo"} {
		if within(path, tree) {
			return true
		}
	}
	return slices.ContainsFunc(strings.Split(path, "/"), func(element string) bool {
		return ours(path) && strings.HasSuffix(element, "test")
	})
}

func ours(path string) bool { return path == "" || strings.HasPrefix(path, "/") }

func within(path, tree string) bool { return path == tree || strings.HasPrefix(path, tree+"/") }

// standard reports whether a package is of the standard library: its path begins
// with no host name.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !ours(path) && !strings.Contains(first, ".")
}

func TestImportsRunOneWay(t *testing.T) {
	packages := list(t, "./...")
	if len(packages) < 10 {
		t.Fatalf("go list tells of %d packages only", len(packages))
	}
	for _, p := range packages {
		for _, imported := range p.Imports {
			for _, wall := range broken(p.ImportPath, imported) {
				t.Errorf("%s imports %s: %s (%s)", p.ImportPath, imported, wall.why, wall.name)
			}
		}
	}
}

// What the shipped binary links, through others as well.
func TestNothingForTestsIsShipped(t *testing.T) {
	packages := list(t, "-deps", "./cmd/anycert")
	if len(packages) < 100 {
		t.Fatalf("go list tells of %d packages only", len(packages))
	}
	for _, p := range packages {
		if forTests(short(p.ImportPath)) || strings.HasPrefix(p.ImportPath, "github.com/letsencrypt/pebble") {
			t.Errorf("cmd/anycert links %s: stand-ins and rigs have no business in what is shipped", p.ImportPath)
		}
	}
}

// The judge of the kill loops shares no code with the daemon that it judges, nor with
// what kills it.
func TestTheJudgeIsImpartial(t *testing.T) {
	const judge = "/internal/chaos/judge"
	packages := list(t, "-deps", "./"+strings.TrimPrefix(judge, "/"))
	if len(packages) < 50 {
		t.Fatalf("go list tells of %d packages only", len(packages))
	}
	for _, p := range packages {
		if path := short(p.ImportPath); path != judge && !standard(path) && !strings.HasPrefix(path, "vendor/") {
			t.Errorf("%s links %s: a judge has nothing in common with those who are judged", judge, p.ImportPath)
		}
	}
}

// The walls themselves: each is shown to stand.
func TestWallsStand(t *testing.T) {
	tests := []struct {
		from, to string
		broken   string // name of the wall; "" when the import is allowed
	}{
		{"", "crypto/x509", ""},
		{"", "golang.org/x/sync/errgroup", "contracts"},
		{"", "/internal/web", "contracts"},
		{"/store", "", ""},
		{"/store", "github.com/hashicorp/vault/api", ""},
		{"/store/local", "/store", ""},
		{"/store", "/reconcile", "parts"},
		{"/issuer/dns01", "/store", "parts"},
		{"/sinks", "/sinks/fly", ""},
		{"/sinks", "/store", "parts"},
		{"/sinks/fly", "/sinks/fly/api", ""},
		{"/sinks/fly", "/sinks/file", "parts"},
		{"/sinks/fly", "/sinks", "parts"},
		{"/sinks/fly", "/reconcile", "parts"},
		{"/reconcile", "/sinks/fly", "parts"},
		{"/reconcile", "k8s.io/client-go/kubernetes", "no SDK in reconcile"},
		{"/reconcile", "golang.org/x/sync/errgroup", ""},
		{"/internal/web", "/internal/config", "wiring"},
		{"/cmd/anycert", "/internal/config", ""},
		{"/internal/config", "/internal/config/strict", ""},
		{"/reconcile", "/internal/config", "wiring"},
		{"/sinks/fly", "/internal/web", "internal"},
		{"/sinks/fly", "/internal/trusted", ""},
		{"/sinks/fly", "/internal/failures", ""},
		{"/internal/trusted", "", ""},
		{"/internal/trusted", "/store", "tool"},
		{"/internal/trusted", "golang.org/x/sys/unix", "tool"},
		{"", "/internal/trusted", "contracts"},
		{"/internal/web", "/cmd/anycert", "commands"},
		{"/internal/web", "github.com/prometheus/client_golang/prometheus", ""},
		{"/internal/config", "github.com/prometheus/client_golang/prometheus", "metrics"},
		{"/sinks/fly", "/sinks/fly/flytest", "tests"},
		{"/sinks/fly", "testing", "tests"},
		{"/sinks/fly/flytest", "testing", ""},
		{"/cmd/anycert", "/internal/testenv/certs", "tests"},
		{"/cmd/anycert-demo", "/sinks/fly/flytest", ""},
		{"/store/storetest", "/internal/testenv/certs", ""},
	}
	for _, test := range tests {
		var names []string
		for _, wall := range broken(module+test.from, full(test.to)) {
			names = append(names, wall.name)
		}
		if test.broken == "" && len(names) > 0 || test.broken != "" && !slices.Contains(names, test.broken) {
			t.Errorf("%q imports %q breaks %q, want %q", test.from, test.to, names, test.broken)
		}
	}
}

func broken(from, to string) []wall {
	var found []wall
	for _, wall := range walls {
		if wall.breaks(short(from), short(to)) {
			found = append(found, wall)
		}
	}
	return found
}

// short takes the module's path from those of its packages.
func short(path string) string {
	if within(path, module) {
		return strings.TrimPrefix(path, module)
	}
	return path
}

func full(path string) string {
	if ours(path) {
		return module + path
	}
	return path
}

// list asks `go list`. Packages that do not compile are listed as well.
func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-e", "-json=ImportPath,Imports"}, args...)...)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("%s: %v\n%s", cmd, err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var packages []pkg
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := decoder.Decode(&p); err == io.EOF {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

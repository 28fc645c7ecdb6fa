// Command breaks shows that the tests of the laws can fail: each patch beside it
// breaks one law in the shipped code, and the test that it names must see it.
//
//	go run ./internal/breaks [PATCH...]
//
// A patch begins with lines that say which law it breaks and who must notice:
//
//	Law: 7
//	Breaks: an unchanged pass pushes again
//	Test: ./reconcile TestLaw7ASecondPassWritesNothing
//
// and goes on as `git diff` prints it. Nothing in the work tree is changed: the
// patched files are laid over it with the -overlay flag of go test.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/anycert/anycert/internal/breaks/overlay"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "breaks:", err)
		os.Exit(1)
	}
}

func run(patches []string) error {
	if len(patches) == 0 {
		var err error
		if patches, err = filepath.Glob("internal/breaks/*.patch"); err != nil || len(patches) == 0 {
			return errors.New("no patches under internal/breaks: run it from the top of the project")
		}
	}
	var unseen []string
	for _, path := range patches {
		start := time.Now()
		p, err := read(path)
		if err == nil {
			err = p.mustBeSeen()
		}
		if err != nil {
			unseen = append(unseen, path)
			fmt.Printf("NOT SEEN  %s: %v\n", filepath.Base(path), err)
			continue
		}
		fmt.Printf("seen      law %-2s  %s: by %s (%.1fs)\n", p.law, p.breaks, p.test, time.Since(start).Seconds())
	}
	if len(unseen) > 0 {
		return fmt.Errorf("%d of %d breaks were not seen", len(unseen), len(patches))
	}
	fmt.Printf("all %d breaks were seen by their tests\n", len(patches))
	return nil
}

// patch is one way to break a law.
type patch struct {
	path      string
	law       string
	breaks    string
	pkg, test string
}

func read(path string) (*patch, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p := &patch{path: path}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch {
		case key == "Law" && p.law == "":
			p.law = value
		case key == "Breaks" && p.breaks == "":
			p.breaks = value
		case key == "Test" && p.test == "":
			p.pkg, p.test, _ = strings.Cut(value, " ")
		}
	}
	if p.law == "" || p.breaks == "" || p.test == "" || len(overlay.Files(text)) == 0 {
		return nil, errors.New("it needs the lines Law, Breaks and Test (package, then the name of a test), and a diff")
	}
	return p, nil
}

// mustBeSeen runs the named test over the broken code. That the code does not
// compile, or that another test fails, does not count.
func (p *patch) mustBeSeen() error {
	dir, err := os.MkdirTemp("", "anycert-breaks-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	laid, err := overlay.Write(dir, ".", p.path)
	if err != nil {
		return err
	}
	name, _, _ := strings.Cut(p.test, "/")
	cmd := exec.Command("go", "test", "-overlay", laid, "-count=1", "-timeout=5m", "-v", "-run", "^"+strings.ReplaceAll(p.test, "/", "$/^")+"$", p.pkg)
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil && !strings.Contains(string(out), "--- PASS: "+name):
		return fmt.Errorf("%s has no test %s", p.pkg, p.test)
	case err == nil:
		return fmt.Errorf("%s passes although %s", p.test, p.breaks)
	case !strings.Contains(string(out), "--- FAIL: "+name) && !panicked.Match(out):
		return fmt.Errorf("%s did not fail as a test does:\n%s", p.test, tail(out))
	}
	return nil
}

// panicked finds a test that the broken code took down: go test then prints no FAIL
// line for it.
var panicked = regexp.MustCompile(`(?m)^panic: `)

func tail(out []byte) string {
	const most = 2000
	if len(out) > most {
		out = out[len(out)-most:]
	}
	return strings.TrimSpace(string(out))
}

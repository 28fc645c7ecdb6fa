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
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
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
	files     []string // that it changes, from the top of the project
}

var changed = regexp.MustCompile(`^\+\+\+ b/(\S+)`)

func read(path string) (*patch, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	p := &patch{path: path}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line := lines.Text()
		key, value, _ := strings.Cut(line, ": ")
		switch {
		case changed.MatchString(line):
			p.files = append(p.files, changed.FindStringSubmatch(line)[1])
		case key == "Law" && p.law == "":
			p.law = value
		case key == "Breaks" && p.breaks == "":
			p.breaks = value
		case key == "Test" && p.test == "":
			p.pkg, p.test, _ = strings.Cut(value, " ")
		}
	}
	if p.law == "" || p.breaks == "" || p.test == "" || len(p.files) == 0 {
		return nil, errors.New("it needs the lines Law, Breaks and Test (package, then the name of a test), and a diff")
	}
	return p, lines.Err()
}

// mustBeSeen runs the named test over the broken code. That the code does not
// compile, or that another test fails, does not count.
func (p *patch) mustBeSeen() error {
	dir, err := os.MkdirTemp("", "anycert-breaks-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	overlay, err := p.overlay(dir)
	if err != nil {
		return err
	}
	name, _, _ := strings.Cut(p.test, "/")
	cmd := exec.Command("go", "test", "-overlay", overlay, "-count=1", "-timeout=5m", "-v", "-run", "^"+strings.ReplaceAll(p.test, "/", "$/^")+"$", p.pkg)
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

// overlay applies the patch to copies and describes them to go test.
func (p *patch) overlay(dir string) (string, error) {
	replace := make(map[string]string)
	for _, file := range p.files {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		copied := filepath.Join(dir, filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(copied), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(copied, text, 0o644); err != nil {
			return "", err
		}
		original, err := filepath.Abs(file)
		if err != nil {
			return "", err
		}
		replace[original] = copied
	}
	path, err := filepath.Abs(p.path)
	if err != nil {
		return "", err
	}
	apply := exec.Command("git", "apply", path)
	apply.Dir = dir
	apply.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir))
	if out, err := apply.CombinedOutput(); err != nil {
		return "", fmt.Errorf("it does not apply any more:\n%s", tail(out))
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, text, 0o644)
}

func tail(out []byte) string {
	const most = 2000
	if len(out) > most {
		out = out[len(out)-most:]
	}
	return strings.TrimSpace(string(out))
}

package docs_test

import (
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// repository is where links that leave the checkout for the project's own pages lead.
const repository = "https://github.com/anycert/anycert/blob/main/"

var (
	link        = regexp.MustCompile(`\]\(<?([^)\s>]+)>?\)`)
	bareLink    = regexp.MustCompile(regexp.QuoteMeta(repository) + `[A-Za-z0-9._/#-]+`)
	heading     = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *#*$`)
	makeCommand = regexp.MustCompile("(?m)(?:^|`)make ([a-z]+)")
	code        = regexp.MustCompile("`[^`\n]+`")
)

// Every page of the repository names make targets that there are, and every link in it
// leads to a file and a heading that there are. Whether the pages of others are still
// there is not asked.
func TestPagesTellTheTruth(t *testing.T) {
	makefile := read(t, "../Makefile")
	pages := pagesBelow(t, "..")
	if len(pages) < 20 {
		t.Fatalf("there are %d pages", len(pages))
	}
	for _, page := range pages {
		text := read(t, page)
		for _, match := range makeCommand.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(makefile, "\n"+match[1]+":") {
				t.Errorf("%s names `make %s`, which is no target", page, match[1])
			}
		}
		for _, match := range link.FindAllStringSubmatch(code.ReplaceAllString(fence.ReplaceAllString(text, ""), ""), -1) {
			if err := leadsSomewhere(t, page, match[1]); err != "" {
				t.Errorf("%s links to %s: %s", page, match[1], err)
			}
		}
	}
}

// Alerts, charts and units lead to pages by their address on the web.
func TestLinksFromElsewhere(t *testing.T) {
	found := 0
	for _, dir := range []string{"../deploy", "../cmd", "../reconcile", "../internal/config", "../internal/web"} {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			for _, address := range bareLink.FindAllString(read(t, path), -1) {
				found++
				if err := leadsSomewhere(t, path, strings.TrimRight(address, ".")); err != "" {
					t.Errorf("%s links to %s: %s", path, address, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if found == 0 {
		t.Error("no alert leads to the runbook")
	}
}

func pagesBelow(t *testing.T, root string) (pages []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata" || entry.Name() == "bin"):
			return fs.SkipDir
		case filepath.Ext(path) == ".md":
			pages = append(pages, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return pages
}

// leadsSomewhere tells what is wrong with a link, or "".
func leadsSomewhere(t *testing.T, page, to string) string {
	t.Helper()
	base := filepath.Dir(page)
	if ours, ok := strings.CutPrefix(to, repository); ok {
		base, to = "..", ours
	}
	u, err := url.Parse(to)
	switch {
	case err != nil:
		return err.Error()
	case u.Scheme == "https" && u.Host != "" || u.Scheme == "mailto":
		return ""
	case u.Scheme != "":
		return "it is no https address"
	}
	file := page
	if u.Path != "" {
		file = filepath.Join(base, u.Path)
	}
	if _, err := os.Stat(file); err != nil {
		return "there is no such file"
	}
	if u.Fragment != "" && filepath.Ext(file) == ".md" && !anchors(t, file)[u.Fragment] {
		return "there is no such heading"
	}
	return ""
}

// anchors are those that GitHub makes of a page's headings: lower case, blanks become
// hyphens, and of all else letters, digits, hyphens and underscores stay; a heading
// that is there again gets a number.
func anchors(t *testing.T, page string) map[string]bool {
	t.Helper()
	seen := map[string]bool{}
	for _, match := range heading.FindAllStringSubmatch(fence.ReplaceAllString(read(t, page), ""), -1) {
		text := link.ReplaceAllString(match[1], "")
		anchor := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, text)
		for n := 0; ; n++ {
			candidate := anchor
			if n > 0 {
				candidate += "-" + string(rune('0'+n))
			}
			if !seen[candidate] {
				seen[candidate] = true
				break
			}
		}
	}
	return seen
}

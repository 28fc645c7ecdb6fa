package docs_test

import (
	"regexp"
	"strings"
	"testing"
)

// fence is a fenced block, which may stand within a list.
var fence = regexp.MustCompile("(?ms)^( *)```([^`\n]*)\n(.*?)^ *```$")

// sections are the sh blocks of a page by the heading of second order that they stand
// under, without the indentation of the list that they are in.
func sections(t *testing.T, page string) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for _, section := range strings.Split("\n"+read(t, page), "\n## ")[1:] {
		title, text, _ := strings.Cut(section, "\n")
		for _, block := range fence.FindAllStringSubmatch(text, -1) {
			if block[2] != "sh" {
				t.Errorf("%s, %s: a block of %q is not run", page, title, block[2])
			}
			found[title] = append(found[title], unindent(block[3], block[1]))
		}
	}
	return found
}

func unindent(text, by string) string {
	lines := strings.SplitAfter(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, by)
	}
	return strings.Join(lines, "")
}

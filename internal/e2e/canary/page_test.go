package canary

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/tabwriter"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what was printed into docs/canary.md")

// block is an output in docs/canary.md: a comment that names it, and a fence.
var block = regexp.MustCompile("(?s)(<!-- printed: ([a-z]+) -->\n```\n(?:\\$ [^\n]+\n)+)(.*?)```\n")

// page holds docs/canary.md to what was printed, without what differs from run to run.
func (s *scene) page(printed map[string]string) {
	s.T.Helper()
	path := filepath.Join(s.Checkout, "docs", "canary.md")
	text, err := os.ReadFile(path)
	s.Must(err)
	found := 0
	page := block.ReplaceAllStringFunc(string(text), func(all string) string {
		found++
		match := block.FindStringSubmatch(all)
		want := s.usual(printed[match[2]])
		if diff := cmp.Diff(match[3], want); diff != "" && !*update {
			s.T.Errorf("docs/canary.md, %s (-page +printed): go test ./internal/e2e/canary -run TestABrokenChainStopsAtTheCanary -update\n%s", match[2], diff)
		}
		return match[1] + want + "```\n"
	})
	if found != len(printed) {
		s.T.Errorf("docs/canary.md shows %d outputs of %d", found, len(printed))
	}
	if *update && !s.T.Failed() {
		s.Must(os.WriteFile(path, []byte(page), 0o644))
	}
}

var (
	moments = regexp.MustCompile(`\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?Z`)
	blanks  = regexp.MustCompile(`\b {2,}`)
)

// usual is a text as people see it who have no test rig, with columns as wide as that.
func (s *scene) usual(text string) string {
	text = strings.NewReplacer(s.Canary.Addr, "192.0.2.7:443", s.Files+"/first", "/etc/ssl/anycert", s.Files+"/second", "/srv/tls").Replace(text)
	text = moments.ReplaceAllString(text, "2027-01-01 00:00:00Z")
	var set strings.Builder
	columns := tabwriter.NewWriter(&set, 0, 0, 3, ' ', 0)
	for line := range strings.Lines(text) {
		fmt.Fprint(columns, blanks.ReplaceAllString(line, "\t"))
	}
	s.Must(columns.Flush())
	return strings.ReplaceAll(set.String(), "VERDICT   ", "VERDICT")
}

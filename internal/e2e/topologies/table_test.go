package topologies

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table into docs/dns.md")

const (
	page  = "../../../docs/dns.md"
	begin = "<!-- written by: go test ./internal/e2e/topologies -run TestTable -update -->\n"
	end   = "<!-- end -->\n"
)

// TestTable holds the table of docs/dns.md to what TestTopologies sees.
func TestTable(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, ended := strings.Cut(rest, end)
	if !ok || !ended {
		t.Fatalf("%s has no place for the table: %s%s", page, begin, end)
	}
	want := before + begin + table() + end + after
	switch {
	case want == string(text):
	case *update:
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the table of %s is not that of the test: go test ./internal/e2e/topologies -run TestTable -update", filepath.Base(page))
	}
}

func table() string {
	var b strings.Builder
	b.WriteString("| the DNS | asked for | what comes of it |\n|---|---|---|\n")
	for _, topology := range all() {
		for i, ask := range topology.asks {
			shape := topology.shape
			if i > 0 {
				shape = ""
			}
			seen := ask.seen
			if seen != issued {
				seen = "`" + seen + "`"
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", shape, cell(strings.Join(ask.domains, ", ")), cell(seen))
		}
	}
	return b.String()
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

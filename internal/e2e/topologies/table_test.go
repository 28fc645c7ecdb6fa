package topologies

import (
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/anycert/anycert/internal/testenv/table"
)

var update = flag.Bool("update", false, "write the table into docs/dns.md")

// TestTable holds the table of docs/dns.md to what TestTopologies sees.
func TestTable(t *testing.T) {
	table.Stands(t, "../../../docs/dns.md", "./internal/e2e/topologies", rows(), *update)
}

func rows() string {
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
			fmt.Fprintf(&b, "| %s | %s | %s |\n", shape, table.Cell(strings.Join(ask.domains, ", ")), table.Cell(seen))
		}
	}
	return b.String()
}

// Package attacks does to anycert what docs/security.md says that it withstands:
// each row of the table there is an attack that is made here, on the shipped binary,
// between the real Vault, a real kube-apiserver, Pebble and servers that were made to
// be hostile. What was seen must be, to the letter, what the table promises.
//
// The table is written by
//
//	go test ./internal/e2e/attacks -run TestTable -update
package attacks

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/anycert/anycert/internal/testenv/table"
	"github.com/anycert/anycert/internal/testenv/world"
)

func TestMain(m *testing.M) { world.Main(m) }

var update = flag.Bool("update", false, "write the table into docs/security.md")

// attack is one row of the table.
type attack struct {
	id   string // names the row, and the subtest
	does string // what the attacker does
	seen string // what happens then
	try  func(s *scene) (seen string)
}

func all() []attack {
	return slices.Concat(names(), configurations(), entries(), vaults(), clusters(), kubeconfigs(), providers(), cas(),
		directories(), reloads(), daemons(), neighbours())
}

func TestAttacks(t *testing.T) {
	w := world.New(t, world.Options{Clusters: []string{"prod"}})
	w.Must(w.Clusters["prod"].CreateNamespaces(t.Context(), "web"))
	for _, a := range all() {
		t.Run(a.id, func(t *testing.T) {
			t.Parallel()
			if seen := a.try(newScene(t, w, a.id)); seen != a.seen {
				t.Errorf("%s\nseen: %s\nwant: %s", a.does, seen, a.seen)
			}
		})
	}
}

func TestTable(t *testing.T) {
	table.Stands(t, "../../../docs/security.md", "./internal/e2e/attacks", rows(), *update)
}

func rows() string {
	var b strings.Builder
	b.WriteString("| | the attack | what happens |\n|---|---|---|\n")
	known := map[string]bool{}
	for _, a := range all() {
		if known[a.id] || a.does == "" || a.seen == "" {
			panic("the row " + a.id + " stands twice, or is not told")
		}
		known[a.id] = true
		fmt.Fprintf(&b, "| %s | %s | %s |\n", a.id, table.Cell(a.does), table.Cell(a.seen))
	}
	return b.String()
}

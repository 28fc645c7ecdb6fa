// Package moving tests the ways in and out: what a cluster holds is imported, or taken
// over as another tool renews it; clusters come and go; and the commands of
// docs/migrate.md are run against two real clusters.
package moving

import (
	"testing"

	"github.com/anycert/anycert/internal/testenv/world"
)

func TestMain(m *testing.M) { world.Main(m) }

// Package truth shows what becomes of the places when something is wrong with the
// store, or with one of them: nothing is deleted, nothing is downgraded, nobody is
// restarted, and everything is mended when the trouble is over. The shipped binary
// stands between a real Vault and a real kube-apiserver.
package truth

import (
	"flag"
	"testing"

	"github.com/anycert/anycert/internal/testenv/world"
)

func TestMain(m *testing.M) {
	// These tests wait more than they work: more may run at once than there are cores.
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	world.Main(m)
}

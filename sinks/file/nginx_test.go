package file

import (
	"path/filepath"
	"testing"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/sinks/sinktest"
)

// A real nginx serves what was pushed after the pass, and not before; a pass that is
// killed between swap and reload is mended by the next one.
func TestNginx(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certificates")
	pairs := sinktest.Issue(t, "example", []string{"example.com"}, 1, 2, 3)
	doPass(t, open(t, Config{Dir: dir}, sinktest.Owner, nil), pairs[0])
	server := testenv.Nginx(t, filepath.Join(dir, "example"))
	serves := func(pair sinktest.Pair) {
		t.Helper()
		must(t, server.WaitServing(t.Context(), pair.Bundle.Leaf()))
	}
	serves(pairs[0])

	config := Config{Dir: dir, Reload: server.ReloadCommand()}
	s := open(t, config, sinktest.Owner, nil)
	must(t, s.Push(t.Context(), targetOf(s, "example"), pairs[1].Entry, pairs[1].Bundle))
	serves(pairs[0])
	must(t, s.Finish(t.Context()))
	serves(pairs[1])
	agree(t, s, pairs[1])

	output, err := child(t, order{Config: config, KillBefore: "reload"}, pairs[2])
	if !killed(err) {
		t.Fatalf("the child ended with %v\n%s", err, output)
	}
	link, err := served(s.path("example"))
	must(t, err)
	if string(link.ChainPEM) != string(pairs[2].Bundle.FullChainPEM()) {
		t.Fatal("the child was killed before the swap")
	}
	serves(pairs[1])
	fresh := open(t, config, sinktest.Owner, nil)
	observed, err := fresh.Observe(t.Context(), targetOf(fresh, "example"))
	must(t, err)
	if sinktest.Agrees(pairs[2].Entry, observed) == nil {
		t.Error("the target looks as promised, though nginx was not told")
	}
	doPass(t, fresh, pairs[2])
	serves(pairs[2])
	agree(t, fresh, pairs[2])
}

package canary

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/world"
)

// A cluster that is away makes no dozen of targets a handful: what the brake holds while
// all can be seen, it holds then as well.
func TestTheBrakeHoldsWhileAClusterIsAway(t *testing.T) {
	t.Parallel()
	b := newBraked(t)
	old := b.Stored("example")
	b.Clusters["prod"].Close()
	b.Put("example", b.another())
	for _, p := range b.Report(1, b.config, "sync").Promises {
		switch {
		case p.Sink == "prod" && p.Verdict == "unknown":
		case p.Sink != "prod" && p.Verdict == "held" && bytes.Equal(b.lies(p), old.Chain):
		default:
			t.Errorf("%v", p)
		}
	}
}

// All domains of a certificate share one object at Fastly. To activate one that somebody
// deactivated with the new version would be to have all serve that: so it waits with them.
func TestDomainsAtFastlyGoTogether(t *testing.T) {
	t.Parallel()
	e := &estate{World: world.New(t, world.Options{})}
	e.config = e.Config("hub.yaml", `version: 1
owner: hub
store: {{.Store .Root}}
certificates: [{name: shop, domains: [example.com, www.example.com]}]
sinks:
  - {name: edge, type: fastly, certificates: [shop], config: { {{.AtFastly}} }}
  - {name: first, type: file, certificates: [shop], canary: true, config: {dir: {{.Files}}}}
reconcile: {soak: 0s}
`, e.World)
	old, fresh := e.issue(0, 90*day, "example.com", "www.example.com"), e.issue(0, 90*day, "example.com", "www.example.com")
	e.Put("shop", old)
	e.Kept(e.Report(0, e.config, "sync"))
	e.Must(os.RemoveAll(e.Files))
	e.Must(os.WriteFile(e.Files, nil, 0o600)) // the canary is away
	e.Put("shop", fresh)
	e.Fastly.Deactivate(world.TLSConfiguration, "www.example.com")
	for _, p := range e.Report(1, e.config, "sync").Promises {
		if p.Sink == "edge" && p.Verdict != "waiting" {
			t.Errorf("%v", p)
		}
	}
	if chain, _ := e.Fastly.Served(world.TLSConfiguration, "example.com"); !bytes.Equal(chain, old.ChainPEM) {
		t.Error("example.com does not serve the old one")
	}
	e.Must(os.Remove(e.Files))
	e.Kept(e.Report(0, e.config, "sync"))
	for _, domain := range []string{"example.com", "www.example.com"} {
		if chain, _ := e.Fastly.Served(world.TLSConfiguration, domain); !bytes.Equal(chain, fresh.ChainPEM) {
			t.Errorf("%s does not serve the new one", domain)
		}
	}
}

// Where the world is served a certificate, whichever sink is behind that, says nothing of
// the canary: it is behind until the others have followed.
func TestACanaryDoesNotWaitForTheOthers(t *testing.T) {
	t.Parallel()
	e := &estate{World: world.New(t, world.Options{})}
	first := filepath.Join(e.Files, "first")
	e.Must(os.MkdirAll(first, 0o700))
	e.config = e.Config("before.yaml", open, map[string]any{"World": e.World, "Verify": "false", "Reload": []string{"true"}})
	e.Put("shop", e.issue(0, 90*day, "example.com"))
	e.Kept(e.Report(0, e.config, "sync"))
	nginx := testenv.Nginx(t, filepath.Join(e.Files, "second", "shop"))
	e.config = e.Config("hub.yaml", open, map[string]any{"World": e.World, "Reload": nginx.ReloadCommand(),
		"Verify": fmt.Sprintf("[{address: %q, server_name: example.com}]", nginx.Addr)})
	fresh := e.issue(0, 90*day, "example.com")
	e.Put("shop", fresh)
	e.Report(0, e.config, "sync")
	e.Kept(e.Report(0, e.config, "sync"))
	e.Must(nginx.WaitServing(t.Context(), fresh.Leaf()))
}

const open = `version: 1
owner: hub
store: {{.World.Store .World.Root}}
certificates: [{name: shop, domains: [example.com], verify: {{.Verify}}}]
sinks:
  - {name: first, type: file, certificates: [shop], canary: true, config: {dir: {{.World.Files}}/first}}
  - {name: second, type: file, certificates: [shop], config: {dir: {{.World.Files}}/second, reload: {{json .Reload}}}}
reconcile: {soak: 0s}
`

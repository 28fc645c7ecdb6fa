package past

import (
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/leak"
	"github.com/anycert/anycert/internal/testenv/world"
)

const buying = `version: 1
owner: hub
store: {{.Store .Root}}
issuers: [{{.Issuer "pebble"}}]
certificates:
  - {name: other, domains: [other.example.com], issuer: pebble}
  - {name: shop, domains: [shop.example.com, "*.shop.example.com"]}
sinks:
  - {name: files, type: file, certificates: ["*"], config: {dir: {{.Files}}}}
reconcile: {schedule: "@every 5s"}
http: {listen: "127.0.0.1:0"}
`

// The key of a request is born in Vault, is shown by nobody, bothers no daemon, and is
// in Vault once its certificate is there: with the certificate.
func TestBoughtByARequest(t *testing.T) {
	t.Parallel()
	w := world.New(t, world.Options{})
	config := w.Config("hub.yaml", buying, w)
	daemon := w.Daemon(config)
	request := w.Run(config, "--log-level", "debug", "csr", "shop")
	if request.Code != 0 || !request.Says("anycert import shop --cert FILE") {
		t.Fatal(request)
	}
	if block, rest := pem.Decode([]byte(request.Stdout)); block == nil || block.Type != "CERTIFICATE REQUEST" || len(rest) > 0 {
		t.Errorf("it printed %s", request.Stdout)
	}
	key := waiting(w)
	if got := found(w, key); fmt.Sprint(got) != "[orders/shop 1]" {
		t.Errorf("the key is in %v", got)
	}
	daemon.AwaitReady()
	m := w.Now()
	if got := w.Report(0, config, "sync"); len(got.Notes) > 0 {
		t.Errorf("a pass complains: %v", got.Notes)
	}
	for _, r := range w.VaultSince(m) {
		if strings.Contains(r.Path, "orders/shop") {
			t.Errorf("a pass asks Vault to %s %s", r.Operation, r.Path)
		}
	}
	if strings.Contains(string(daemon.Logged()), "orders/shop") {
		t.Error("the daemon speaks of what waits")
	}

	chain, err := w.Strangers.Sign([]byte(request.Stdout))
	w.Must(err)
	imported := w.Run(config, "--log-level", "debug", "import", "shop", "--cert", w.File("shop.crt", string(certs.ChainPEM(chain...))))
	if imported.Code != 0 || !imported.Says("shop: version 1 in the store") {
		t.Fatal(imported)
	}
	if got := found(w, key); fmt.Sprint(got) != "[certs/shop 1]" {
		t.Errorf("the key is in %v", got)
	}
	if stored := w.Stored("shop"); !stored.Leaf.Equal(chain[0]) || string(stored.Key) != string(key) {
		t.Error("Vault has something else than was bought")
	}
	daemon.Await("pushes what was bought", func() error { return w.Stored("shop").Same(w.InFiles(w.Files, "shop")) })
	daemon.End()
	search, err := leak.New(leak.Secret{Name: "the key", PEM: key})
	w.Must(err)
	for _, said := range []string{request.Stdout, request.Stderr, imported.Stdout, imported.Stderr, string(daemon.Logged())} {
		for _, finding := range search.Bytes("what was said", []byte(said)) {
			t.Error(finding)
		}
	}
}

// Whoever gives the certificate an issuer does not wait any longer: its order takes the
// journal over, and the key that waited is nowhere.
func TestARequestThatAnIssuerTakesOver(t *testing.T) {
	t.Parallel()
	w := world.New(t, world.Options{})
	config := w.Config("hub.yaml", buying, w)
	if got := w.Run(config, "csr", "shop"); got.Code != 0 {
		t.Fatal(got)
	}
	key := waiting(w)
	ordering := w.Config("ordering.yaml", strings.Replace(buying, `"*.shop.example.com"]`, `"*.shop.example.com"], issuer: pebble`, 1), w)
	w.Kept(w.Report(0, ordering, "sync"))
	if got := found(w, key); len(got) != 0 {
		t.Errorf("the key is in %v", got)
	}
	if got := entries(w, "anycert/orders"); len(got) != 0 {
		t.Errorf("journals are left: %v", got)
	}
	if len(w.ACME.Orders()) != 2 {
		t.Errorf("%d orders were made, want one for each certificate", len(w.ACME.Orders()))
	}
}

// waiting is the key that waits for the certificate of shop.
func waiting(w *world.World) []byte {
	w.T.Helper()
	held, err := w.Vault.Client().KVv2("secret").Get(w.T.Context(), "anycert/orders/shop")
	w.Must(err)
	_, text, _ := strings.Cut(fmt.Sprint(held.Data["value"]), `"key":"`)
	text, _, _ = strings.Cut(text, `"`)
	key := strings.ReplaceAll(text, `\n`, "\n")
	if block, _ := pem.Decode([]byte(key)); block == nil {
		w.T.Fatal("no key waits")
	}
	return []byte(key)
}

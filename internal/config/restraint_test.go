package config_test

import (
	"testing"
	"time"

	"github.com/anycert/anycert/internal/config"
	"github.com/anycert/anycert/reconcile"
)

// What is not said holds as documented, and a certificate has a canary where another sink
// can follow.
func TestCanaryAndBrake(t *testing.T) {
	const file = `version: 1
owner: example
store: {local: {path: anycert.db}}
certificates:
  - {name: example, domains: [example.com]}
  - {name: shop, domains: [shop.example.com]}
sinks:
  - {name: first, type: file, canary: true, certificates: ["*"], config: {dir: first}}
  - {name: others, type: file, certificates: [example], config: {dir: others}}
`
	for more, want := range map[string]reconcile.Parts{
		"": {Soak: 10 * time.Minute, Brake: reconcile.Brake{Percent: 30, Targets: 10}},
		"reconcile: {soak: 0s, brake: {percent: 100}}\n":            {Brake: reconcile.Brake{Percent: 100, Targets: 10}},
		"reconcile: {soak: 2h, brake: {percent: 5, targets: 50}}\n": {Soak: 2 * time.Hour, Brake: reconcile.Brake{Percent: 5, Targets: 50}},
	} {
		graph, err := config.Open(read(t, file+more), config.Options{Getenv: environment(nil)})
		if err != nil {
			t.Fatal(err)
		}
		got := graph.Parts()
		if got.Soak != want.Soak || got.Brake != want.Brake {
			t.Errorf("%q: %v and %v, want %v and %v", more, got.Soak, got.Brake, want.Soak, want.Brake)
		}
		if !got.Agents[0].Canary || got.Agents[1].Canary {
			t.Errorf("canaries: %t %t", got.Agents[0].Canary, got.Agents[1].Canary)
		}
		if !got.Certificates[0].Canary || got.Certificates[1].Canary {
			t.Errorf("with a canary: %t %t", got.Certificates[0].Canary, got.Certificates[1].Canary)
		}
		if err := graph.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

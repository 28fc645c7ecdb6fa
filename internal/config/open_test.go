package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/config"
)

// environment is one with nothing but what it lists.
func environment(variables map[string]string) func(string) string {
	return func(name string) string { return variables[name] }
}

func read(t *testing.T, text string) *config.Config {
	t.Helper()
	loaded, err := config.Read("config.yaml", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

const hub = `version: 1
owner: example
store: {local: {path: anycert.db}}
issuers:
  - name: letsencrypt
    directory: letsencrypt-staging
    dns: {provider: cloudflare, settings: {CF_DNS_API_TOKEN: {env: CF_DNS_API_TOKEN}}}
certificates:
  - {name: example, domains: [example.com], issuer: letsencrypt, owner: web team}
  - {name: shop, domains: [shop.example.com], key_type: rsa2048, suspend: true}
sinks:
  - {name: some, type: file, certificates: [shop], config: {dir: /etc/ssl/some}}
  - {name: every, type: file, certificates: ["*"], suspend: true, config: {dir: /etc/ssl/every}}
`

func TestOpenWiresAll(t *testing.T) {
	graph, err := config.Open(read(t, hub), config.Options{Getenv: environment(nil)})
	if err != nil {
		t.Fatal(err)
	}
	parts := graph.Parts()
	example := anycert.Certificate{Name: "example", Owner: "web team", Domains: []string{"example.com"}, Issuer: "letsencrypt", KeyType: anycert.EC256}
	shop := anycert.Certificate{Name: "shop", Domains: []string{"shop.example.com"}, KeyType: anycert.RSA2048, Suspended: true}
	if diff := cmp.Diff([]anycert.Certificate{example, shop}, parts.Certificates); diff != "" {
		t.Error(diff)
	}
	if parts.Owner != "example" || parts.Store == nil || graph.Records == nil || parts.Issuer == nil || !graph.Trial {
		t.Errorf("not wired: %+v", graph)
	}
	if len(parts.Agents) != 2 {
		t.Fatalf("%d sinks, want two", len(parts.Agents))
	}
	some, every := parts.Agents[0], parts.Agents[1]
	if diff := cmp.Diff([]anycert.Certificate{shop}, some.Certificates); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(parts.Certificates, every.Certificates); diff != "" {
		t.Error(diff)
	}
	if some.Name != "some" || some.Type != "file" || some.Suspended || !every.Suspended {
		t.Errorf("%+v, %+v", some, every)
	}
	if err := graph.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// A follower must not be handed an Issuer that is not nil and holds nil.
func TestFollowerHasNoIssuer(t *testing.T) {
	graph, err := config.Open(read(t, "version: 1\nowner: example\nstore: {vault: {address: https://vault.example.com}}\n"), config.Options{Getenv: environment(nil)})
	if err != nil {
		t.Fatal(err)
	}
	if graph.Issuer != nil || graph.Trial || graph.Agents == nil {
		t.Errorf("%+v", graph)
	}
}

func TestListen(t *testing.T) {
	const file = "version: 1\nowner: example\nstore: {local: {path: anycert.db}}\n"
	tests := []struct{ name, text, port, want string }{
		{"nothing said", file, "", "127.0.0.1:8080"},
		{"the file", file + "http: {listen: \":9402\"}\n", "", ":9402"},
		{"the platform", file + "http: {listen: \"127.0.0.1:9402\"}\n", "8081", ":8081"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			graph, err := config.Open(read(t, test.text), config.Options{Getenv: environment(map[string]string{"PORT": test.port})})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := graph.Listen(); err != nil || got != test.want {
				t.Errorf("%s, %v, want %s", got, err, test.want)
			}
		})
	}
}

// A PORT that is none stops the daemon with its name, and no other verb.
func TestListenWrongPort(t *testing.T) {
	for _, port := range []string{"abc", "0", "-1", "65536", "80 ", "127.0.0.1:8080"} {
		graph, err := config.Open(read(t, hub), config.Options{Getenv: environment(map[string]string{"PORT": port})})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := graph.Listen(); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("PORT is %q", port)) {
			t.Errorf("PORT=%s: %s, %v", port, got, err)
		}
	}
}

func TestStoreFromEnvironment(t *testing.T) {
	if _, err := config.StoreFromEnvironment(config.Options{Getenv: environment(nil)}); err == nil || !strings.Contains(err.Error(), "VAULT_ADDR is not set") {
		t.Errorf("without VAULT_ADDR: %v", err)
	}
	variables := map[string]string{"VAULT_ADDR": "https://vault.example.com:8200", "VAULT_TOKEN": "x"}
	store, err := config.StoreFromEnvironment(config.Options{Getenv: environment(variables)})
	if err != nil || store == nil {
		t.Errorf("with VAULT_ADDR: %v, %v", store, err)
	}
	variables["VAULT_SKIP_VERIFY"] = "1"
	if store, err := config.StoreFromEnvironment(config.Options{Getenv: environment(variables)}); err == nil || store != nil {
		t.Errorf("with VAULT_SKIP_VERIFY: %v, %v", store, err)
	}
}

// What the environment makes wrong is told with the file's name.
func TestOpenStoreNamesTheFile(t *testing.T) {
	loaded := read(t, "version: 1\nowner: example\nstore: {vault: {}}\n")
	store, err := config.OpenStore(loaded, config.Options{Getenv: environment(nil)})
	if err == nil || store != nil || !strings.HasPrefix(err.Error(), "config.yaml: store.vault: ") {
		t.Errorf("%v, %v", store, err)
	}
}

func TestLoadNamesTheFile(t *testing.T) {
	if _, err := config.Load("testdata/absent.yaml"); err == nil || !strings.Contains(err.Error(), "testdata/absent.yaml") {
		t.Error(err)
	}
	if _, err := config.Load("testdata"); err == nil || !strings.Contains(err.Error(), "testdata") {
		t.Error(err)
	}
}

package store

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/vaultserver"
	"github.com/anycert/anycert/store/storetest"
)

// environment is what a test's process would have.
type environment map[string]string

// env has nobody's home and nobody's VAULT_ variables but those of the test.
func (e environment) env(t testing.TB) Env {
	return Env{
		Getenv:     func(name string) string { return e[name] },
		Home:       t.TempDir(),
		UserAgent:  "anycert/test",
		Credential: func(r anycert.Reference) anycert.Credential { return reader{r, e} },
	}
}

// reader reads a reference each time it is asked.
type reader struct {
	reference   anycert.Reference
	environment environment
}

func (r reader) Refused() {}

func (r reader) Secret(context.Context) (anycert.Secret, error) {
	if r.reference.Env != "" {
		return anycert.NewSecret(r.environment[r.reference.Env]), nil
	}
	text, err := os.ReadFile(r.reference.File)
	return anycert.NewSecret(strings.TrimSpace(string(text))), err
}

// open makes a store of a server, with a token.
func open(t testing.TB, server *vaultserver.Server, token string) *Store {
	t.Helper()
	return openConfig(t, Config{Address: server.Addr, CACert: server.CAFile}, environment{"VAULT_TOKEN": token})
}

func openConfig(t testing.TB, config Config, e environment) *Store {
	t.Helper()
	store, err := config.Open(e.env(t))
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// TestConformance runs the suite on a prefix of one Vault for each law.
func TestConformance(t *testing.T) {
	server := testenv.Vault(t)
	laws := 0
	storetest.Run(t, func(t *testing.T) storetest.Subject {
		laws++
		prefix := "law-" + string(rune('a'+laws/26)) + string(rune('a'+laws%26))
		config := Config{Address: server.Addr, Prefix: prefix}
		store := openConfig(t, config, environment{"VAULT_TOKEN": server.RootToken})
		other := openConfig(t, config, environment{"VAULT_TOKEN": server.RootToken})
		kv := hands{server: server, prefix: prefix + "/certs/"}
		return storetest.Subject{
			Store: store, Records: store, History: store, Other: other, OtherRecords: other,
			WriteByHand: kv.write, SoftDelete: kv.delete, ForgeIndex: kv.forge, NewerIndex: kv.newer,
			WithoutKeys: func(t testing.TB) anycert.EntryReader {
				return openConfig(t, config, environment{"VAULT_TOKEN": token(t, server, "auditor-"+prefix,
					`path "secret/metadata/`+prefix+`/certs/*" { capabilities = ["read"] }`)})
			},
			Writes: func(t testing.TB) int {
				accepted := 0
				for _, request := range vaultserver.Writes(requests(t, server)) {
					if request.Error == "" && strings.Contains(request.Path, "/"+prefix+"/") {
						accepted++
					}
				}
				return accepted
			},
		}
	})
}

// hands do to Vault what the vault command does for people.
type hands struct {
	server *vaultserver.Server
	prefix string
}

func (h hands) kv() *api.KVv2 { return h.server.Client().KVv2("secret") }

func (h hands) write(t testing.TB, name, certificatePEM, keyPEM string) {
	t.Helper()
	_, err := h.kv().Put(t.Context(), h.prefix+name, map[string]any{"tls.crt": certificatePEM, "tls.key": keyPEM})
	check(t, err)
}

func (h hands) delete(t testing.TB, name string) {
	t.Helper()
	check(t, h.kv().Delete(t.Context(), h.prefix+name))
}

func (h hands) forge(t testing.TB, name string, entry anycert.Entry) {
	t.Helper()
	found, err := h.kv().GetMetadata(t.Context(), h.prefix+name)
	check(t, err)
	custom, err := encodeIndex(index{version: found.CurrentVersion, digest: entry.Digest, leaf: entry.Leaf, origin: entry.Origin})
	check(t, err)
	h.patch(t, name, replacing(map[string]string{keyOrigin: ""}, custom))
}

func (h hands) newer(t testing.TB, name string) {
	t.Helper()
	h.patch(t, name, map[string]any{keySchema: "2"})
}

func (h hands) patch(t testing.TB, name string, custom map[string]any) {
	t.Helper()
	check(t, h.kv().PatchMetadata(t.Context(), h.prefix+name, api.KVMetadataPatchInput{CustomMetadata: custom}))
}

// token makes a token with a policy of its own.
func token(t testing.TB, server *vaultserver.Server, name, policy string) string {
	t.Helper()
	check(t, server.WritePolicy(t.Context(), name, policy))
	token, err := server.Token(t.Context(), name)
	check(t, err)
	return token
}

// requests are all that a server has answered.
func requests(t testing.TB, server *vaultserver.Server) []vaultserver.Request {
	t.Helper()
	all, err := server.Requests(0)
	check(t, err)
	return all
}

// since are those that it has answered while f ran.
func since(t testing.TB, server *vaultserver.Server, f func()) []vaultserver.Request {
	t.Helper()
	mark, err := server.Mark()
	check(t, err)
	f()
	all, err := server.Requests(mark)
	check(t, err)
	return all
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// bundle makes a bundle for names.
func bundle(t testing.TB, names ...string) *anycert.Bundle {
	t.Helper()
	pair := testenv.Issue(t, certs.Options{Names: names})
	bundle, err := anycert.ParseBundle(pair.ChainPEM, pair.KeyPEM)
	check(t, err)
	return bundle
}

var origin = anycert.Origin{Issuer: "example-ca", Directory: "https://ca.example.com/directory"}

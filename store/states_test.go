package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/vault/api"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/vaultserver"
)

// isError expects a kind of error whose text holds all of parts.
func isError(t testing.TB, err, want error, parts ...string) {
	t.Helper()
	if err == nil || !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error %q does not say %q", err, part)
		}
	}
}

func TestStatIsOneReadOfMetadata(t *testing.T) {
	server := testenv.Vault(t)
	store := open(t, server, server.RootToken)
	_, err := store.Put(t.Context(), "example", 0, bundle(t), origin)
	check(t, err)
	got := vaultserver.Count(since(t, server, func() {
		for range 10 {
			_, err := store.Stat(t.Context(), "example")
			check(t, err)
		}
	}))
	if diff := cmp.Diff(map[string]int{"read secret/metadata/anycert/certs/example": 10}, got); diff != "" {
		t.Errorf("what Vault was asked (-want +got):\n%s", diff)
	}
}

func TestAnEntryHoldsCertificateAndKeyAlone(t *testing.T) {
	server := testenv.Vault(t)
	store, bundle := open(t, server, server.RootToken), bundle(t)
	_, err := store.Put(t.Context(), "example", 0, bundle, origin)
	check(t, err)
	found, err := server.Client().KVv2("secret").Get(t.Context(), "anycert/certs/example")
	check(t, err)
	want := map[string]any{"tls.crt": string(bundle.FullChainPEM()), "tls.key": bundle.KeyPEM().Reveal()}
	if !cmp.Equal(want, found.Data) {
		t.Error("the entry holds something else than tls.crt and tls.key")
	}
	if found.CustomMetadata[keyDigest] != bundle.Digest().String() || found.CustomMetadata[keyVersion] != "1" {
		t.Errorf("the metadata says %v of version %v", found.CustomMetadata[keyDigest], found.CustomMetadata[keyVersion])
	}
}

// A policy for each of those who come: see deploy.
const (
	issuerPolicy = `
path "secret/metadata/anycert/certs/*"    { capabilities = ["read", "list", "patch"] }
path "secret/data/anycert/certs/*"        { capabilities = ["read", "create", "update"] }
path "secret/metadata/anycert/orders/*"   { capabilities = ["list", "delete"] }
path "secret/data/anycert/orders/*"       { capabilities = ["read", "create", "update"] }
path "secret/metadata/anycert/accounts/*" { capabilities = ["list", "delete"] }
path "secret/data/anycert/accounts/*"     { capabilities = ["read", "create", "update"] }
path "secret/data/anycert/renewals/*"     { capabilities = ["read", "create", "update"] }
path "secret/data/anycert/budgets/*"      { capabilities = ["read", "create", "update"] }
path "secret/metadata/anycert/requests/*" { capabilities = ["list", "delete"] }
path "secret/data/anycert/requests/*"     { capabilities = ["read", "create", "update"] }
path "secret/destroy/anycert/certs/*"     { capabilities = ["update"] }`
	syncerPolicy = `
path "secret/metadata/anycert/certs/*" { capabilities = ["read", "list"] }
path "secret/data/anycert/certs/*"     { capabilities = ["read"] }`
	auditorPolicy = `
path "secret/metadata/anycert/certs/*" { capabilities = ["read", "list"] }`
	laptopPolicy = `
path "secret/metadata/dev/certs/*" { capabilities = ["read", "list"] }
path "secret/data/dev/certs/*"     { capabilities = ["read"] }`
)

func TestTheIssuersPolicyIsEnough(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	store := open(t, server, token(t, server, "issuer", issuerPolicy))
	_, err := store.Put(ctx, "example", 0, bundle(t), origin)
	check(t, err)
	second := bundle(t)
	_, err = store.Put(ctx, "example", 1, second, origin)
	check(t, err)
	entry, err := store.Stat(ctx, "example")
	check(t, err)
	if entry.Version != 2 || entry.Digest != second.Digest() || entry.Origin != origin {
		t.Errorf("Stat tells of version %d, %v, %v", entry.Version, entry.Digest, entry.Origin)
	}
	hands{server, "anycert/certs/"}.write(t, "shop", string(second.FullChainPEM()), second.KeyPEM().Reveal())
	_, err = store.Index(ctx, "shop")
	check(t, err)
	names, err := store.Names(ctx)
	check(t, err)
	if diff := cmp.Diff([]string{"example", "shop"}, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	for _, kind := range []string{anycert.KindOrder, anycert.KindAccount} {
		_, err = store.Save(ctx, kind, "example", 0, anycert.NewSecret("{}"))
		check(t, err)
		_, _, err = store.Load(ctx, kind, "example")
		check(t, err)
		_, err = store.Keys(ctx, kind)
		check(t, err)
		check(t, store.Delete(ctx, kind, "example"))
	}
}

func TestForbiddenNamesPathAndCapability(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	bundle := bundle(t)
	_, err := open(t, server, server.RootToken).Put(ctx, "example", 0, bundle, origin)
	check(t, err)
	hands{server, "anycert/certs/"}.write(t, "shop", string(bundle.FullChainPEM()), bundle.KeyPEM().Reveal())

	auditor := open(t, server, token(t, server, "auditor", auditorPolicy))
	entry, err := auditor.Stat(ctx, "example")
	check(t, err)
	if entry.Digest != bundle.Digest() {
		t.Errorf("Stat tells of %v, want %v", entry.Digest, bundle)
	}
	_, err = auditor.Get(ctx, "example", 1)
	isError(t, err, anycert.ErrForbidden, "certificate example", "read", "secret/data/anycert/certs/example")
	_, err = auditor.Stat(ctx, "shop")
	isError(t, err, anycert.ErrUnindexed, "sync")
	_, err = auditor.Index(ctx, "shop")
	isError(t, err, anycert.ErrForbidden, "secret/data/anycert/certs/shop")

	syncer := open(t, server, token(t, server, "syncer", syncerPolicy))
	_, err = syncer.Get(ctx, "example", 1)
	check(t, err)
	_, err = syncer.Put(ctx, "example", 1, bundle, origin)
	isError(t, err, anycert.ErrForbidden, "update", "secret/data/anycert/certs/example")
	entry, err = syncer.Index(ctx, "shop")
	isError(t, err, anycert.ErrForbidden, "patch", "secret/metadata/anycert/certs/shop")
	if entry.Digest != bundle.Digest() || entry.Leaf == nil {
		t.Error("Index without the right to write brings no entry")
	}
	_, _, err = syncer.Load(ctx, anycert.KindAccount, "ca")
	isError(t, err, anycert.ErrForbidden, "accounts/ca")

	laptop := open(t, server, token(t, server, "laptop", laptopPolicy))
	for name, call := range map[string]func() error{
		"Stat":  func() error { _, err := laptop.Stat(ctx, "example"); return err },
		"Get":   func() error { _, err := laptop.Get(ctx, "example", 1); return err },
		"Names": func() error { _, err := laptop.Names(ctx); return err },
		"Field": func() error { _, err := laptop.ReadField(ctx, "secret/anycert/certs/example#tls.key"); return err },
	} {
		if err := call(); !errors.Is(err, anycert.ErrForbidden) {
			t.Errorf("%s of production with a token of the dev path: %v, want ErrForbidden", name, err)
		}
	}
}

// When the index cannot be written the certificate is in the store nevertheless.
func TestPutWithoutTheRightToIndex(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	store := open(t, server, token(t, server, "issuer", strings.ReplaceAll(issuerPolicy, `, "patch"`, "")))
	bundle := bundle(t)
	entry, err := store.Put(ctx, "example", 0, bundle, origin)
	check(t, err)
	if entry.Version != 1 || entry.Digest != bundle.Digest() {
		t.Errorf("Put says version %d, %v", entry.Version, entry.Digest)
	}
	_, err = store.Stat(ctx, "example")
	isError(t, err, anycert.ErrUnindexed, "example")
	again, err := store.Put(ctx, "example", 0, bundle, origin)
	check(t, err)
	if again.Version != 1 {
		t.Errorf("the same Put again made version %d", again.Version)
	}
}

func TestPolicyTakenAway(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	store := open(t, server, token(t, server, "issuer", issuerPolicy))
	_, err := store.Put(ctx, "example", 0, bundle(t), origin)
	check(t, err)
	check(t, server.WritePolicy(ctx, "issuer", `path "secret/metadata/other" { capabilities = ["read"] }`))
	_, err = store.Stat(ctx, "example")
	isError(t, err, anycert.ErrForbidden, "example")
	check(t, server.WritePolicy(ctx, "issuer", issuerPolicy))
	_, err = store.Stat(ctx, "example")
	check(t, err)
}

func TestMountWiped(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	store := open(t, server, server.RootToken)
	_, err := store.Put(ctx, "example", 0, bundle(t), origin)
	check(t, err)
	check(t, server.Client().Sys().UnmountWithContext(ctx, "secret"))
	_, err = store.Stat(ctx, "example")
	isError(t, err, anycert.ErrUnavailable, "mount", "secret/metadata/anycert/certs/example")
	_, err = store.Names(ctx)
	isError(t, err, anycert.ErrUnavailable, "mount")

	mountKV(t, server, "secret", "2")
	_, err = store.Stat(ctx, "example")
	isError(t, err, anycert.ErrNotFound)
	_, err = store.Put(ctx, "example", 0, bundle(t), origin)
	check(t, err)
}

// mountKV mounts a KV secrets engine, which is busy with itself for a moment.
func mountKV(t testing.TB, server *vaultserver.Server, path, version string) {
	t.Helper()
	check(t, server.Client().Sys().MountWithContext(t.Context(), path, &api.MountInput{Type: "kv", Options: map[string]string{"version": version}}))
	deadline := time.Now().Add(30 * time.Second)
	for {
		_, err := server.Client().Logical().ListWithContext(t.Context(), path+"/metadata/")
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestKV1IsRefused(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	mountKV(t, server, "old", "1")
	store := openConfig(t, Config{Address: server.Addr, Mount: "old"}, environment{"VAULT_TOKEN": server.RootToken})
	_, err := store.Put(ctx, "example", 0, bundle(t), origin)
	isError(t, err, anycert.ErrMalformed, "KV version 2")
	_, err = store.Probe(ctx, nil)
	isError(t, err, anycert.ErrMalformed, "old/ is not a KV version 2", "vault secrets enable")
}

func TestDestroyedRemovedRestored(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	store, kv := open(t, server, server.RootToken), server.Client().KVv2("secret")
	const path = "anycert/certs/example"
	_, err := store.Put(ctx, "example", 0, bundle(t), origin)
	check(t, err)
	put, err := store.Put(ctx, "example", 1, bundle(t), origin)
	check(t, err)

	check(t, kv.Delete(ctx, path))
	_, err = store.Stat(ctx, "example")
	isError(t, err, anycert.ErrDeleted)
	check(t, kv.Undelete(ctx, path, []int{2}))
	entry, err := store.Stat(ctx, "example")
	check(t, err)
	if entry.Digest != put.Digest {
		t.Error("after undelete Stat tells of something else")
	}
	check(t, kv.Destroy(ctx, path, []int{2}))
	_, err = store.Stat(ctx, "example")
	isError(t, err, anycert.ErrDeleted)
	_, err = store.Get(ctx, "example", 2)
	isError(t, err, anycert.ErrDeleted)

	_, err = kv.Rollback(ctx, path, 1)
	check(t, err)
	_, err = store.Stat(ctx, "example")
	isError(t, err, anycert.ErrUnindexed)
	entry, err = store.Index(ctx, "example")
	check(t, err)
	if entry.Version != 3 {
		t.Errorf("after a rollback Index tells of version %d, want 3", entry.Version)
	}
	check(t, kv.DeleteMetadata(ctx, path))
	_, err = store.Stat(ctx, "example")
	isError(t, err, anycert.ErrNotFound)
}

func TestDeletionToCome(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	store, kv := open(t, server, server.RootToken), server.Client().KVv2("secret")
	check(t, kv.PutMetadata(ctx, "anycert/certs/example", api.KVMetadataPutInput{DeleteVersionAfter: time.Hour}))
	_, err := store.Stat(ctx, "example")
	isError(t, err, anycert.ErrNotFound)
	_, err = store.Put(ctx, "example", 0, bundle(t), origin)
	check(t, err)
	_, err = store.Stat(ctx, "example")
	check(t, err)
}

func TestOthersMetadataStays(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	store := open(t, server, server.RootToken)
	big := make([]string, 60)
	for i := range big {
		big[i] = fmt.Sprintf("a-rather-long-name-for-a-host-%d.example.com", i)
	}
	_, err := store.Put(ctx, "example", 0, bundle(t, big...), origin)
	check(t, err)
	hands{server, "anycert/certs/"}.patch(t, "example", map[string]any{"team": "web"})
	_, err = store.Put(ctx, "example", 1, bundle(t), anycert.Origin{})
	check(t, err)
	found, err := server.Client().KVv2("secret").GetMetadata(ctx, "anycert/certs/example")
	check(t, err)
	if found.CustomMetadata["team"] != "web" {
		t.Error("metadata that is not ours is gone")
	}
	for _, gone := range []string{keyOrigin, pieceKey(3)} {
		if _, there := found.CustomMetadata[gone]; there {
			t.Errorf("%s of the version before is still there", gone)
		}
	}
}

func TestWhatDoesNotFitIsRefusedBeforeItIsWritten(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	store := open(t, server, server.RootToken)
	names := make([]string, 400)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%d.example.com", strings.Repeat("a", 50), i)
	}
	pair := testenv.Issue(t, certs.Options{Names: names})
	large, err := anycert.ParseBundle(pair.ChainPEM, pair.KeyPEM)
	check(t, err)
	_, err = store.Put(ctx, "example", 0, large, origin)
	isError(t, err, anycert.ErrMalformed, "bytes", "fewer names")
	_, err = store.Put(ctx, "example", 0, bundle(t), anycert.Origin{Directory: strings.Repeat("a", 600)})
	isError(t, err, anycert.ErrMalformed, "directory")
	_, err = store.Stat(ctx, "example")
	isError(t, err, anycert.ErrNotFound)
	hands{server, "anycert/certs/"}.write(t, "example", string(pair.ChainPEM), string(pair.KeyPEM))
	_, err = store.Index(ctx, "example")
	isError(t, err, anycert.ErrMalformed, "fewer names")
}

func TestFieldsThatAreMissingOrNoText(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	store := open(t, server, server.RootToken)
	for name, data := range map[string]map[string]any{
		"number": {"tls.crt": 1, "tls.key": "x"}, "list": {"tls.crt": []string{"x"}, "tls.key": "x"},
		"missing": {"crt": "x"}, "empty": {}, "null": {"tls.crt": nil, "tls.key": nil},
	} {
		_, err := server.Client().KVv2("secret").Put(ctx, "anycert/certs/"+name, data)
		check(t, err)
		_, err = store.Get(ctx, name, 1)
		isError(t, err, anycert.ErrMalformed, name)
		_, err = store.Index(ctx, name)
		isError(t, err, anycert.ErrMalformed, name)
	}
}

func TestDeleteDestroysEveryVersion(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	store := open(t, server, server.RootToken)
	for version := range 3 {
		_, err := store.Save(ctx, anycert.KindOrder, "example", version, anycert.NewSecret("key"))
		check(t, err)
	}
	check(t, store.Delete(ctx, anycert.KindOrder, "example"))
	if found, err := server.Client().KVv2("secret").GetMetadata(ctx, "anycert/orders/example"); !errors.Is(err, api.ErrSecretNotFound) {
		t.Errorf("after Delete there is %v, %v", found, err)
	}
}

func TestReadField(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	_, err := server.Client().KVv2("secret").Put(ctx, "credentials/dns", map[string]any{"token": "t0ken", "ttl": 60})
	check(t, err)
	mountKV(t, server, "team/kv", "2")
	_, err = server.Client().KVv2("team/kv").Put(ctx, "dns", map[string]any{"token": "another"})
	check(t, err)
	store := openConfig(t, Config{Address: server.Addr, Mount: "team/kv"}, environment{"VAULT_TOKEN": server.RootToken})
	for text, want := range map[string]string{"secret/credentials/dns#token": "t0ken", "team/kv/dns#token": "another"} {
		got, err := store.ReadField(ctx, text)
		check(t, err)
		if got.Reveal() != want {
			t.Errorf("%s holds another value", text)
		}
	}
	for text, want := range map[string]error{
		"secret/credentials/dns#ttl": anycert.ErrMalformed, "secret/credentials/dns#user": anycert.ErrMalformed,
		"secret/credentials/absent#token": anycert.ErrNotFound, "nothing/here#token": anycert.ErrUnavailable,
		"secret/credentials/dns": anycert.ErrMalformed, "secret#token": anycert.ErrMalformed, "secret/../sys#x": anycert.ErrMalformed,
		"secret/data/credentials/dns#token": anycert.ErrMalformed, "#": anycert.ErrMalformed, "secret//dns#token": anycert.ErrMalformed,
	} {
		_, err := store.ReadField(ctx, text)
		isError(t, err, want)
	}
}

func TestProbe(t *testing.T) {
	ctx, server := t.Context(), testenv.Vault(t)
	rights, err := Config{}.Policy(Need{Role: anycert.Hub, Orders: true, Ordered: []string{"example"}, Accounts: []string{"ca"},
		Certificates: []anycert.Certificate{{Name: "example", Issuer: "ca"}}})
	check(t, err)
	records := []string{"create,read,update secret/data/anycert/orders/example", "delete secret/metadata/anycert/orders/example",
		"create,read,update secret/data/anycert/renewals/example", "create,read,update secret/data/anycert/requests/example",
		"delete secret/metadata/anycert/requests/example", "update secret/destroy/anycert/certs/example",
		"list secret/metadata/anycert/orders/", "list secret/metadata/anycert/requests/",
		"create,read,update secret/data/anycert/accounts/ca", "create,read,update secret/data/anycert/budgets/ca"}
	tests := map[string]struct {
		token string
		want  []string
	}{
		"root":   {server.RootToken, nil},
		"issuer": {token(t, server, "issuer", issuerPolicy), nil},
		"syncer": {token(t, server, "syncer", syncerPolicy), append([]string{
			"patch secret/metadata/anycert/certs/example", "create,update secret/data/anycert/certs/example"}, records...)},
		"auditor": {token(t, server, "auditor", auditorPolicy), append([]string{
			"patch secret/metadata/anycert/certs/example", "create,read,update secret/data/anycert/certs/example"}, records...)},
		"laptop": {token(t, server, "laptop", laptopPolicy), append([]string{
			"patch,read secret/metadata/anycert/certs/example", "create,read,update secret/data/anycert/certs/example",
			"list secret/metadata/anycert/certs/"}, records...)},
		"the policy itself": {token(t, server, "printed", HCL(rights)), nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := open(t, server, test.token).Probe(ctx, rights)
			check(t, err)
			if !strings.HasPrefix(got.Server, "1.") {
				t.Errorf("the server has version %q", got.Server)
			}
			if (got.Life == 0) != (name == "root") {
				t.Errorf("the token lives for %v", got.Life)
			}
			if diff := cmp.Diff(test.want, short(got.Missing)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	_, err = open(t, server, "hvs.not-a-token-of-this-vault").Probe(ctx, nil)
	isError(t, err, anycert.ErrForbidden)
}

package vaultpki

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/anycert/anycert/internal/testenv/parts"
	"github.com/anycert/anycert/internal/testenv/world"
)

// office is a world whose Vault is a CA as well.
type office struct {
	*world.World
	env  []string // of the administrator's shell
	root string   // file with what clients trust
	kid  string   // of the binding that the page made
}

// open starts a world and follows the page.
func open(t *testing.T) *office {
	t.Helper()
	o := &office{World: world.New(t, world.Options{Raft: true})}
	vault, err := parts.Find(parts.Vault)
	o.Must(err)
	tools := t.TempDir()
	o.Must(os.Symlink(vault, filepath.Join(tools, "vault")))
	o.env = []string{"PATH=" + tools + ":/usr/bin:/bin", "HOME=" + o.Dir, "TMPDIR=" + o.Dir, "LC_ALL=C",
		"VAULT_ADDR=" + o.Vault.Addr, "VAULT_TOKEN=" + o.Vault.RootToken, "VAULT_CACERT=" + o.Vault.CAFile, "DNS_RESOLVER=" + o.DNS.Addr}
	o.root = o.Path("root.pem")
	printed := strings.Fields(o.shell(strings.Join(page(t).shell, "") + "cp root.pem ~/\n"))
	o.kid = printed[len(printed)-1]
	return o
}

// shell runs commands as the administrator of Vault. The first that fails ends the test.
func (o *office) shell(script string) (printed string) {
	o.T.Helper()
	cmd := o.Program("/bin/bash", o.File("page.sh", "set -euo pipefail\ntrap 'echo \"failed: $BASH_COMMAND\" >&2' ERR\n"+script))
	cmd.Env = o.env
	got := o.Do(cmd)
	if got.Code != 0 {
		o.T.Fatal(got)
	}
	return got.Stdout
}

// issuer is one at Vault's PKI, by a role and with what else it needs.
func (o *office) issuer(name, role, more string) string {
	o.T.Helper()
	return fmt.Sprintf(`{name: %s, directory: "%s/v1/pki/roles/%s/acme/directory", ca_bundle: %s, dns: %s%s}`,
		name, o.Vault.Addr, role, o.Vault.CAFile, o.Challenges(), more)
}

// hub writes the configuration of one whose certificates go into Vault's KV and a
// directory.
func (o *office) hub(name, certificate, issuer string, issuers ...string) (path string) {
	o.T.Helper()
	return o.Config(name+".yaml", `version: 1
owner: hub
store: {{.World.Store .World.Root}}
issuers:
{{- range .Issuers}}
  - {{.}}
{{- end}}
certificates:
  - {name: {{.Certificate}}, domains: [example.com, "*.example.com"], issuer: {{.Issuer}}}
sinks:
  - {name: nginx, type: file, certificates: ["*"], config: {dir: {{.World.Files}}}}
reconcile: {schedule: "@every 5s"}
http: {listen: "127.0.0.1:0"}
`, map[string]any{"World": o.World, "Certificate": certificate, "Issuer": issuer, "Issuers": issuers})
}

// blocks of docs/vault-pki.md, in their order.
type blocks struct{ shell, yaml []string }

var fence = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")

func page(t *testing.T) (found blocks) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(world.DependOnSources(t), "docs", "vault-pki.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range fence.FindAllStringSubmatch(string(text), -1) {
		switch block[1] {
		case "sh":
			found.shell = append(found.shell, block[2])
		case "yaml":
			found.yaml = append(found.yaml, block[2])
		default:
			t.Errorf("docs/vault-pki.md: a block of %q is not tried", block[1])
		}
	}
	return found
}

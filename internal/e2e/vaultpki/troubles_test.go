package vaultpki

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// trouble is a row of the page's last table, and how one gets into it.
type trouble struct {
	says   string // the row's first column
	script string // by the administrator of Vault
	role   string // default: servers
	more   string // of the issuer
	issuer string // one that has an account; default: a new one
}

// In their order: what a script changes stays changed.
var troubles = []trouble{
	{says: "this CA wants an external account binding"},
	{says: "unauthorized: The client lacks sufficient authorization: failed to verify eab",
		more: `, eab: {kid: 9d3a1c52-6f0e-4b57-8d9e-2f1b7c4a5e60, hmac: {vault: "secret/credentials/vault-pki#hmac"}}`},
	{says: "role requires keys of type rsa", role: "rsa",
		script: `vault write pki/config/acme eab_policy=not-required allowed_roles='*'
vault write pki/roles/rsa allowed_domains=example.com allow_bare_domains=true allow_subdomains=true allow_wildcard_certificates=true`},
	{says: "will not issue certificate for name *.example.com", role: "narrow",
		script: `vault write pki/roles/narrow key_type=any allowed_domains=example.com allow_bare_domains=true allow_subdomains=true allow_wildcard_certificates=false`},
	{says: "will not issue certificate for name example.com", role: "bare",
		script: `vault write pki/roles/bare key_type=any allowed_domains=example.com allow_subdomains=true`},
	{says: "role does not exist", role: "unheard-of"},
	{says: "specified role not allowed by ACME policy", role: "bare", script: "vault write pki/config/acme allowed_roles=servers"},
	{says: "the CA offers no profiles", issuer: "profile", more: ", profile: servers"},
	{says: "externalAccountRequired", issuer: "profile", script: "vault write pki/config/acme eab_policy=always-required"},
	{says: "404", script: "vault write pki/config/acme enabled=false eab_policy=not-required"},
	{says: "server did not respond with a proper nonce header",
		script: "vault write pki/config/acme enabled=true; vault secrets tune -allowed-response-headers=Last-Modified pki"},
	{says: "HTTPS is required",
		script: `vault secrets tune -allowed-response-headers=Location -allowed-response-headers=Replay-Nonce pki
vault write pki/config/cluster path=http://127.0.0.1:8200/v1/pki`},
}

var saysColumn = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|")

// Whoever forgets a step of the page is told so in the words of its table, whose rows
// are all here.
func TestTroubles(t *testing.T) {
	t.Parallel()
	o := open(t)
	text, err := os.ReadFile(filepath.Join(o.Checkout, "docs", "vault-pki.md"))
	o.Must(err)
	_, table, _ := strings.Cut(string(text), "\n## Troubles\n")
	unseen := map[string]bool{}
	for _, row := range saysColumn.FindAllStringSubmatch(table, -1) {
		unseen[row[1]] = true
	}
	for i, trouble := range troubles {
		if !unseen[trouble.says] {
			t.Errorf("the page has no row %q", trouble.says)
		}
		delete(unseen, trouble.says)
		name := fmt.Sprintf("trouble-%d", i)
		o.meets(name, trouble)
		if trouble.says == "externalAccountRequired" {
			o.bindsAgain(name, trouble.issuer)
		}
	}
	for _, says := range slices.Sorted(maps.Keys(unseen)) {
		t.Errorf("the page's row %q was not seen", says)
	}
}

// meets gets a certificate of this name into trouble, and expects to be told.
func (o *office) meets(name string, trouble trouble) {
	o.T.Helper()
	o.shell(trouble.script)
	issuer := cmp.Or(trouble.issuer, name)
	got := o.Run(o.hub(name, name, issuer, o.issuer(issuer, cmp.Or(trouble.role, "servers"), trouble.more)), "sync")
	if got.Code != 1 || !got.Says(trouble.says) {
		o.T.Errorf("want %q: %v", trouble.says, got)
	}
}

// bindsAgain does what the page says about an account that was made without a binding.
func (o *office) bindsAgain(certificate, issuer string) {
	o.T.Helper()
	steps := page(o.T).shell
	printed := strings.Fields(o.shell(steps[len(steps)-1] + "vault kv metadata delete secret/anycert/accounts/" + issuer + " >&2\n"))
	eab := fmt.Sprintf(`, eab: {kid: %s, hmac: {vault: "secret/credentials/vault-pki#hmac"}}`, printed[len(printed)-1])
	o.Kept(o.Report(0, o.hub(certificate, certificate, issuer, o.issuer(issuer, "servers", eab)), "sync"))
}

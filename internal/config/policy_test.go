package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/sinks"
)

// A sink of a new type is to tell its rights as well.
func TestEverySinkTellsItsRights(t *testing.T) {
	for name, create := range sinks.Types() {
		if _, ok := create().(anycert.Grantor); !ok {
			t.Errorf("the type %s is no anycert.Grantor", name)
		}
	}
}

func policyOf(t *testing.T, text string, options PolicyOptions) []Section {
	t.Helper()
	loaded, err := Read("config.yaml", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	sections, err := loaded.Policy(options)
	if err != nil {
		t.Fatal(err)
	}
	return sections
}

const bothIssuers = `version: 1
owner: hub-of-all
store: {vault: {address: "https://vault.example.com:8200"}}
issuers:
  - {name: ca, directory: letsencrypt, dns: {provider: cloudflare, settings: {CF_DNS_API_TOKEN: {vault: "secret/credentials/dns#token"}}}}
  - {name: unused, directory: letsencrypt, dns: {provider: cloudflare, settings: {CF_DNS_API_TOKEN: {env: TOKEN}}}}
  - {name: before, type: kubernetes, config: {context: old, secret: "web/{{ .Name }}-tls"}}
notify: [{name: team, webhook: {url: "https://hooks.example.com", secret: {vault: "secret/credentials/hook#secret"}}}]
certificates:
  - {name: example, domains: [example.com], issuer: ca}
  - {name: fetched, domains: [a.example.com], issuer: before}
  - {name: bought, domains: [b.example.com]}
sinks:
  - {name: prod, type: kubernetes, certificates: [example, bought], config: {context: prod, namespaces: [web]}}
`

func TestPolicyListsPartsByRole(t *testing.T) {
	titles := func(options PolicyOptions) (all []string) {
		for _, section := range policyOf(t, bothIssuers, options) {
			all = append(all, section.Title)
		}
		return all
	}
	tests := map[string]struct {
		options PolicyOptions
		want    []string
	}{
		"all": {PolicyOptions{}, []string{"Vault: hub", "DNS: issuer ca: hub", "kubernetes: issuer before: hub", "Vault: follower", "Vault: auditor", "Vault: laptop",
			"kubernetes: sink prod: hub, follower", "kubernetes: sink prod: auditor"}},
		"one role":         {PolicyOptions{Roles: []anycert.Role{anycert.Auditor}}, []string{"Vault: auditor", "kubernetes: sink prod: auditor"}},
		"one type":         {PolicyOptions{Roles: []anycert.Role{anycert.Hub}, Only: []string{"kubernetes"}}, []string{"kubernetes: issuer before: hub", "kubernetes: sink prod: hub"}},
		"parts by name":    {PolicyOptions{Roles: []anycert.Role{anycert.Hub}, Only: []string{"before", "vault"}}, []string{"Vault: hub", "kubernetes: issuer before: hub"}},
		"another delegate": {PolicyOptions{Only: []string{"dns"}, Delegate: "acme.example.net"}, []string{"DNS: issuer ca: hub"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, titles(test.options)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What orders nothing keeps no journal and no account; what is fetched is written all
// the same.
func TestPolicyOfAHubWithBothKindsOfIssuers(t *testing.T) {
	text := string(policyOf(t, bothIssuers, PolicyOptions{Roles: []anycert.Role{anycert.Hub}, Only: []string{"vault"}})[0].Text)
	for path, capabilities := range map[string]string{
		"secret/data/anycert/certs/example":     `"create", "read", "update"`,
		"secret/data/anycert/certs/fetched":     `"create", "read", "update"`,
		"secret/data/anycert/certs/bought":      `"read"`,
		"secret/data/anycert/orders/example":    `"create", "read", "update"`,
		"secret/data/anycert/accounts/ca":       `"create", "read", "update"`,
		"secret/metadata/anycert/orders/":       `"list"`,
		"secret/data/anycert/budgets/ca":        `"create", "read", "update"`,
		"secret/data/anycert/renewals/example":  `"create", "read", "update"`,
		"secret/destroy/anycert/certs/example":  `"update"`,
		"secret/data/anycert/alarms/hub-of-all": `"create", "read", "update"`,
		"secret/data/credentials/hook":          `"read"`,
		"secret/data/credentials/dns":           `"read"`,
		"secret/metadata/anycert/certs/bought":  `"patch", "read"`,
	} {
		if want := "path \"" + path + "\" {\n  capabilities = [" + capabilities + "]\n}\n"; !strings.Contains(text, want) {
			t.Errorf("it does not allow %s on %s:\n%s", capabilities, path, text)
		}
	}
	for _, path := range []string{"orders/fetched", "orders/bought", "accounts/before", "accounts/unused", "budgets/unused", "renewals/bought", "renewals/fetched", "destroy/anycert/certs/bought"} {
		if strings.Contains(text, path) {
			t.Errorf("it allows %s", path)
		}
	}
}

// Whoever only compares tells nobody of alarms, and whoever follows does.
func TestPolicyOfThoseWhoTell(t *testing.T) {
	for role, want := range map[anycert.Role]bool{anycert.Hub: true, anycert.Follower: true, anycert.Auditor: false, anycert.Laptop: false} {
		text := string(policyOf(t, bothIssuers, PolicyOptions{Roles: []anycert.Role{role}, Only: []string{"vault"}})[0].Text)
		for _, path := range []string{"alarms/hub-of-all", "credentials/hook"} {
			if strings.Contains(text, path) != want {
				t.Errorf("%s: %s is allowed: %t", role, path, !want)
			}
		}
	}
}

func TestLockSaysWhereTheTruthIs(t *testing.T) {
	for store, want := range map[string]string{
		`{vault: {address: "https://vault.example.com", mount: kv, prefix: tls}}`: "which is kept in Vault at kv/tls/certs/'",
		`{local: {path: anycert.db}}`: "which is kept in the file anycert.db under the name '",
	} {
		loaded, err := Read("config.yaml", strings.NewReader("version: 1\nowner: hub\nstore: "+store+`
certificates: [{name: example, domains: [example.com]}]
sinks: [{name: prod, type: kubernetes, certificates: ["*"], config: {context: prod, namespaces: [web]}}]
`))
		if err != nil {
			t.Fatal(err)
		}
		sections, err := loaded.Lock(PolicyOptions{})
		if err != nil || len(sections) != 1 || !strings.Contains(string(sections[0].Text), want) {
			t.Errorf("%v, %v", sections, err)
		}
	}
}

// What the configuration names stands on its own line, whatever it is: it is neither
// run by who pipes the output to where it belongs, nor read as more rights.
func TestPolicyKeepsNamesInTheirPlace(t *testing.T) {
	const evil = `x\nEVIL`
	loaded, err := Read("config.yaml", strings.NewReader(strings.ReplaceAll(`version: 1
owner: hub
store: {local: {path: "/ODD"}}
issuers:
  - {name: one, directory: letsencrypt, dns: {provider: gcloud, settings: {GCE_PROJECT: "ODD", GCE_ZONE_ID: "ODD"}}}
  - {name: two, directory: letsencrypt, dns: {provider: azuredns, settings: {AZURE_ZONE_NAME: "ODD", AZURE_SUBSCRIPTION_ID: "ODD"}}}
  - {name: three, directory: letsencrypt, dns: {provider: rfc2136, settings: {DNSUPDATE_NAMESERVER: 192.0.2.53, DNSUPDATE_TSIG_KEY: "ODD", DNSUPDATE_TSIG_SECRET: {env: X}}}}
  - {name: four, type: kubernetes, config: {context: "ODD", secret: "web/{{ .Name }}"}}
certificates:
  - {name: a, domains: [a.example.com], issuer: one}
  - {name: b, domains: [b.example.com], issuer: two}
  - {name: c, domains: [c.example.com], issuer: three}
  - {name: d, domains: [d.example.com], issuer: four}
sinks:
  - {name: prod, type: kubernetes, certificates: ["*"], config: {context: "ODD", kubeconfig: "/ODD", namespaces: [web]}}
  - {name: disk, type: file, certificates: ["*"], config: {dir: "/ODD", owner: "ODD", group: "ODD", reload: ["ODD", "ODD"]}}
  - {name: shared, type: file, certificates: ["*"], config: {dir: "/2ODD", group: "ODD"}}
  - {name: app, type: fly, certificates: [a], config: {app: x, hostnames: [a.example.com], token: {env: TOKEN}}}
  - {name: edge, type: fastly, certificates: [a], config: {configurations: [x], token: {env: TOKEN}}}
`, "ODD", evil)))
	if err != nil {
		t.Fatal(err)
	}
	sections, err := loaded.Policy(PolicyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	locks, err := loaded.Lock(PolicyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, section := range append(sections, locks...) {
		for line := range strings.Lines(string(section.Text)) {
			if strings.HasPrefix(line, "EVIL") {
				t.Errorf("%s:\n%s", section.Title, section.Text)
				break
			}
		}
	}
}

// In a namespace of Vault Enterprise, the policy has to be written there.
func TestPolicyNamesTheNamespace(t *testing.T) {
	const text = "version: 1\nowner: hub\nstore: {vault: {address: \"https://vault.example.com:8200\", namespace: team-a/}}\ncertificates: [{name: example, domains: [example.com]}]\n"
	got := string(policyOf(t, text, PolicyOptions{Roles: []anycert.Role{anycert.Follower}})[0].Text)
	if want := "# anycert policy follower --only vault | vault policy write -namespace=team-a anycert-follower -\n"; !strings.HasPrefix(got, want) {
		t.Errorf("it begins:\n%s", got)
	}
}

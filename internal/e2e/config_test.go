package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template"
)

// settings are what the configuration is made of.
type settings struct {
	Vault, Auth         string
	Directory, CA       string
	DNS, TSIG           string
	KeyType             string
	Cluster             *clusterSettings // nil: no such sink
	Fastly, FastlyToken string
	Fly, FlyToken       string
	Files               string
	Reload              []string
}

type clusterSettings struct {
	Server, CA, Token string
	Labels            map[string]string
}

// configuration is what a person would write.
var configuration = template.Must(template.New("config.yaml").Funcs(template.FuncMap{"json": toJSON}).Parse(`version: 1
owner: e2e
store:
  vault:
    address: {{.Vault}}
    auth: {{.Auth}}
issuers:
  - name: pebble
    directory: {{.Directory}}
    email: ops@example.com
    profile: default
    ca_bundle: {{.CA}}
    dns:
      provider: rfc2136
      settings:
        DNSUPDATE_POLLING_INTERVAL: 1s
        DNSUPDATE_NAMESERVER: {{.DNS}}
        DNSUPDATE_TSIG_KEY: acme.
        DNSUPDATE_TSIG_ALGORITHM: hmac-sha256.
        DNSUPDATE_TSIG_SECRET: {file: {{.TSIG}}}
      resolvers: ["{{.DNS}}"]
      propagation: resolvers
certificates:
  - name: example
    description: the site, and everything below it
    domains: [example.com, "*.example.com"]
    issuer: pebble
    key_type: {{.KeyType}}
  - name: api
    domains: [api.example.com]
    issuer: pebble
    key_type: {{.KeyType}}
sinks:
{{- with .Cluster}}
  - name: prod
    type: kubernetes
    certificates: ["*"]
    config: {server: "{{.Server}}", ca: {{.CA}}, token: {file: {{.Token}}}, namespaces: [web, api], labels: {{json .Labels}}}
{{- end}}
  - name: edge
    type: fastly
    certificates: [example, api]
    config: {token: {file: {{.FastlyToken}}}, configurations: [` + tlsConfiguration + `], endpoint: {{.Fastly}}}
  - name: app
    type: fly
    certificates: [example]
    config: {app: ` + flyApp + `, token: {file: {{.FlyToken}}}, hostnames: [example.com, "*.example.com"], endpoint: {{.Fly}}}
  - name: app-api
    type: fly
    certificates: [api]
    config: {app: ` + flyAPIApp + `, token: {file: {{.FlyToken}}}, hostnames: [api.example.com], endpoint: {{.Fly}}}
  - name: nginx
    type: file
    certificates: ["*"]
    config: {dir: {{.Files}}, reload: {{json .Reload}}}
reconcile: {schedule: "@every 5s"}
http: {listen: "127.0.0.1:0"}
`))

// toJSON writes flow style YAML.
func toJSON(value any) (string, error) {
	text, err := json.Marshal(value)
	return string(text), err
}

// hubPolicy is what the hub may do in Vault.
const hubPolicy = `
path "secret/data/anycert/*"     { capabilities = ["create", "read", "update"] }
path "secret/metadata/anycert/*" { capabilities = ["read", "list", "patch", "delete"] }
`

// appRole makes a role of Vault with a policy of its own, and tells how to log in.
func (w *world) appRole(name, policy string) (auth string) {
	w.t.Helper()
	w.must(w.vault.WritePolicy(w.t.Context(), name, policy))
	role, err := w.vault.EnableAppRole(w.t.Context(), name, "1h", name)
	w.must(err)
	return fmt.Sprintf("{method: approle, role_id: %s, secret_id: {file: %s}}", role.RoleID, w.file(name+"-secret-id", role.SecretID))
}

// newSettings are those of a world's own parts. Secrets are in files.
func (w *world) newSettings() settings {
	w.t.Helper()
	return settings{
		Vault: w.vault.Addr, Auth: w.appRole("hub", hubPolicy),
		Directory: w.acme.URL, CA: w.file("acme-ca.pem", string(w.acme.CAPEM)),
		DNS: w.dns.Addr, TSIG: w.file("tsig", w.dns.Secret),
		KeyType: "ec256",
		Fastly:  w.fastly.URL, FastlyToken: w.file("fastly-token", fastlyToken),
		Fly: w.fly.URL, FlyToken: w.file("fly-token", flyToken),
		Files:  w.files,
		Reload: []string{"true"},
	}
}

// writeConfig writes config.yaml anew from the settings.
func (w *world) writeConfig() { w.writeConfigAs("config.yaml", w.settings) }

func (w *world) writeConfigAs(name string, s settings) (path string) {
	w.t.Helper()
	var text strings.Builder
	w.must(configuration.Execute(&text, s))
	return w.file(name, text.String())
}

// place is one target as a report names it.
type place struct{ certificate, sink, target string }

// domains of the certificates.
var domains = map[string][]string{
	"example": {"example.com", "*.example.com"},
	"api":     {"api.example.com"},
}

// places are all the targets that the configuration promises.
func (w *world) places() []place {
	var all []place
	for _, certificate := range slices.Sorted(maps.Keys(domains)) {
		app := map[string]string{"example": "app", "api": "app-api"}[certificate]
		for _, domain := range domains[certificate] {
			all = append(all, place{certificate, "edge", tlsConfiguration + "/" + domain}, place{certificate, app, domain})
		}
		if w.kube != nil {
			all = append(all, place{certificate, "prod", "web/" + certificate + "-tls"}, place{certificate, "prod", "api/" + certificate + "-tls"})
		}
		all = append(all, place{certificate, "nginx", w.files + "/" + certificate})
	}
	return all
}

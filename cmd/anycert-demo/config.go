package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// configuration of the demo, as a person would write it.
var configTemplate = template.Must(template.New("config.yaml").Parse(`version: 1
owner: demo
store:
{{- if .Vault}}
  vault:
    address: {{.Vault}}
    auth: {method: token, token: {file: {{.Secrets}}/vault}}
{{- else}}
  local: {path: {{.Dir}}/anycert.db}
{{- end}}
issuers:
  - name: pebble
    directory: {{.Directory}}
    email: ops@example.com
    profile: default
    ca_bundle: {{.Dir}}/ca.pem
    dns:
      provider: rfc2136
      settings:
        DNSUPDATE_NAMESERVER: {{.DNS}}
        DNSUPDATE_TSIG_KEY: acme.
        DNSUPDATE_TSIG_ALGORITHM: hmac-sha256.
        DNSUPDATE_TSIG_SECRET: {file: {{.Secrets}}/tsig}
      resolvers: ["{{.DNS}}"]
      propagation: resolvers
certificates:
  - name: example
    description: the site, and everything below it
    domains: [example.com, "*.example.com"]
    issuer: pebble
  - name: api
    domains: [api.example.com]
    issuer: pebble
sinks:
{{- if .Kubeconfig}}
  - name: prod
    type: kubernetes
    certificates: [example, api]
    config: {kubeconfig: {{.Kubeconfig}}, context: admin, namespaces: [web, api]}
{{- end}}
  - name: edge
    type: fastly
    certificates: [example, api]
    config: {token: {file: {{.Secrets}}/fastly}, configurations: [{{.Configuration}}], endpoint: {{.Fastly}}}
  - name: app
    type: fly
    certificates: [example]
    config: {app: {{.App}}, token: {file: {{.Secrets}}/fly}, hostnames: [example.com, "*.example.com"], endpoint: {{.Fly}}}
  - name: app-api
    type: fly
    certificates: [api]
    config: {app: {{.API}}, token: {file: {{.Secrets}}/fly}, hostnames: [api.example.com], endpoint: {{.Fly}}}
  - name: nginx
    type: file
    certificates: [example, api]
    config: {dir: {{.Files}}, reload: [touch, {{.Dir}}/reloaded]}
reconcile: {schedule: "@every 10s"}
http: {listen: "127.0.0.1:0"}
`))

func (w *world) writeConfig() error {
	secrets := filepath.Join(w.dir, "secrets")
	if err := os.Mkdir(secrets, 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(w.files, 0o755); err != nil {
		return err
	}
	values := map[string]string{
		"Dir": w.dir, "Secrets": secrets, "Files": w.files, "Directory": w.ca.URL, "DNS": w.dns.Addr,
		"Fastly": w.fastly.URL, "Configuration": configuration, "Fly": w.fly.URL, "App": app, "API": apiApp,
	}
	private := map[string]string{"tsig": w.dns.Secret, "fastly": fastlyToken, "fly": flyToken}
	if w.vault != nil {
		values["Vault"] = w.vault.Addr
		private["vault"] = w.vault.RootToken
	}
	if w.kube != nil {
		values["Kubeconfig"] = w.kube.Kubeconfig
	}
	for name, text := range private {
		if err := os.WriteFile(filepath.Join(secrets, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(w.dir, "ca.pem"), w.ca.CAPEM, 0o644); err != nil {
		return err
	}
	var text strings.Builder
	if err := configTemplate.Execute(&text, values); err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	return os.WriteFile(w.config, []byte(text.String()), 0o600)
}

//go:build linux

package leaks

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"text/template"
)

// settings are what the configuration is made of.
type settings struct {
	Issued []string // names of certificates that are ordered
	ByAPI  []string // those whose challenges are set by a DNS provider's API
	Sinks  bool     // all of them, else the files alone
}

var configuration = template.Must(template.New("config.yaml").Parse(`version: 1
owner: leaks
store:
  vault:
    address: {{.Vault}}
    ca_cert: {{.Dir}}/trust.pem
    auth: {method: token, token: {file: {{.Dir}}/vault-token}}
issuers:
  - name: pebble
    directory: {{.Directory}}
    email: ops@example.com
    profile: default
    ca_bundle: {{.Dir}}/trust.pem
    dns:
      provider: rfc2136
      settings:
        DNSUPDATE_NAMESERVER: {{.DNS}}
        DNSUPDATE_TSIG_KEY: acme.
        DNSUPDATE_TSIG_ALGORITHM: hmac-sha256.
        DNSUPDATE_TSIG_SECRET: {file: {{.Dir}}/tsig-secret}
      resolvers: ["{{.DNS}}"]
      propagation: resolvers
  - name: pebble-by-api
    directory: {{.Directory}}
    email: ops@example.com
    profile: default
    ca_bundle: {{.Dir}}/trust.pem
    dns:
      provider: httpreq
      settings:
        HTTPREQ_ENDPOINT: {{.API}}
        HTTPREQ_USERNAME: anycert
        HTTPREQ_PASSWORD: {file: {{.Dir}}/dns-password}
      resolvers: ["{{.DNS}}"]
      propagation: resolvers
certificates:
  - {name: planted-ec, domains: [ec.example.com]}
  - {name: planted-rsa, domains: [rsa.example.com]}
{{- range .Issued}}
{{- $domain := "example.com"}}{{if ne . "example"}}{{$domain = printf "%s.example.com" .}}{{end}}
  - {name: {{.}}, domains: ["{{$domain}}", "*.{{$domain}}"], issuer: pebble}
{{- end}}
{{- range .ByAPI}}
  - {name: {{.}}, domains: ["{{.}}.example.com"], issuer: pebble-by-api}
{{- end}}
sinks:
{{- if .Sinks}}
  - name: prod
    type: kubernetes
    certificates: ["*"]
    config: {server: "{{.Cluster}}", ca: {{.Dir}}/trust.pem, token: {file: {{.Dir}}/cluster-token}, namespaces: [web], list: true}
  - name: edge
    type: fastly
    certificates: ["*"]
    config: {token: {env: ` + fastlyEnv + `}, configurations: [` + tlsConfiguration + `], endpoint: {{.Fastly}}}
{{- range $certificate, $hostname := .Hostnames}}
  - name: app-{{$certificate}}
    type: fly
    certificates: [{{$certificate}}]
    config: {app: ` + flyApp + `, token: {file: {{$.Dir}}/fly-token}, hostnames: [{{$hostname}}], endpoint: {{$.Fly}}}
{{- end}}
{{- end}}
  - name: nginx
    type: file
    certificates: ["*"]
    config: {dir: {{.Dir}}/files, reload: [{{.Dir}}/reload.sh]}
reconcile: {schedule: "@every 5s"}
http: {listen: "127.0.0.1:0"}
`))

// configure writes a configuration and returns its path.
func (w *world) configure(s settings) (path string) {
	w.t.Helper()
	var text strings.Builder
	must(w.t, configuration.Execute(&text, map[string]any{
		"Dir": w.dir, "Vault": w.vault.URL, "Directory": w.acme.URL, "DNS": w.dns.Addr, "Cluster": w.cluster.URL,
		"Fastly": w.fastly.URL, "Fly": w.fly.URL, "API": w.api.URL, "Issued": s.Issued, "ByAPI": s.ByAPI, "Sinks": s.Sinks, "Hostnames": hostnames,
	}))
	w.runs++
	name := fmt.Sprintf("config-%d.yaml", w.runs)
	w.file(name, text.String())
	return w.path(name)
}

// command prepares a run with every debug switch on.
func (w *world) command(config string, args ...string) (cmd *exec.Cmd, environment []string) {
	w.runs++
	format := []string{"text", "json"}[w.runs%2]
	args = append([]string{"--config", config, "--log-level", "debug", "--log-format", format}, args...)
	environment = append(environmentOf(switches), "SSL_CERT_FILE="+w.path("trust.pem"), fastlyEnv+"="+fastlyToken)
	return exec.CommandContext(w.t.Context(), anycert, args...), environment
}

// run runs anycert to its end, with one of the exit codes.
func (w *world) run(config string, codes []int, args ...string) {
	w.t.Helper()
	cmd, environment := w.command(config, args...)
	p := w.start(fmt.Sprintf("anycert %s (run %d)", strings.Join(args, " "), w.runs), cmd, environment...)
	if code := w.wait(p); !slices.Contains(codes, code) {
		w.t.Errorf("anycert %v ended with exit code %d, want one of %v\n%s%s", args, code, codes, &p.stdout, &p.stderr)
	}
}
